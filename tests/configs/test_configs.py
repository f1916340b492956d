"""Every experiment in `configs/` goes from raw files to a report in two steps a stage."""

import dataclasses
import importlib
import json
import pathlib

import flax.traverse_util
import numpy as np
import pytest

from configs import base
from data_builders.layout import Trial
from data_builders.mmact import generate as mmact
from data_builders.stickman import generate
from data_builders.utd_mhad import utd_mhad_dataset_builder as utd_mhad
from har.evaluate import run as evaluation
from har.models import imu, mobilenet, registry, s3d, skeleton
from har.models.mode import matches
from har.objectives.classify import Classifier
from har.objectives.registry import OBJECTIVES
from har.train import experiment
from har.train import mesh as mesh_lib
from har.train import stage as stage_lib
from tests.data_builders import raw_trees

# The demo of IMU and skeletons runs in `tests/test_launch.py`, with the same assertions.
EXPERIMENTS = [
  ('demo', None),
  ('demo_anomaly', None),
  ('edge_anomaly', None),
  ('edge_anomaly', 'size=full'),
  ('video_anomaly', None),
  ('anomaly', 'model=cnn_gru+between+lstm_ae+cnn_gru_ae+forecast'),
  ('light_video', None),
  ('mmact', None),
  ('mmact', 'modalities=imu'),
  ('utd_mhad', 'modalities=imu+skeleton'),
  ('utd_mhad', 'modalities=imu+depth'),
  ('utd_mhad', 'modalities=imu+skeleton,recipe=paper'),
  ('utd_mhad', 'recipe=paper'),
  ('table', 'title=toy,rate=20,channels=3,seconds=1,units=g'),
  ('weda_fall', None),
  ('clips', 'title=toy,show=motion'),
  ('two_stream', None),
  ('video_baselines', 'model=c3d'),
  ('video_baselines', 'model=i3d'),
  ('video_baselines', 'model=cnn_bilstm'),
  ('video_baselines', 'model=s3d'),
  ('baselines.hamlet', 'modalities=imu+skeleton'),
  ('baselines.mumu', 'modalities=imu+skeleton'),
  ('baselines.cmc', 'modalities=imu+skeleton'),
  ('baselines.cmc', 'mining=none,classifier=fine_tuned'),
  ('baselines.vskd', 'modalities=imu+skeleton'),
  ('baselines.hamlet', 'modalities=imu+rgb,dataset=mmact'),
  ('baselines.mumu', 'modalities=imu+rgb,dataset=mmact'),
  ('baselines.cmc', 'modalities=imu+rgb,dataset=mmact,classifier=mlp'),
  ('baselines.vskd', 'modalities=imu+rgb,dataset=mmact'),
]
MMACT = ('walking', 'waving_hand')


def test_every_config_is_among_the_experiments():
  folder = pathlib.Path(base.__file__).parent
  files = [p.relative_to(folder).with_suffix('') for p in folder.rglob('*.py')]
  names = {'.'.join(p.parts) for p in files if p.stem not in ('base', '__init__')}
  assert names == {e[0] for e in EXPERIMENTS}


@pytest.fixture(scope='module')
def raw_dirs(tmp_path_factory):
  """Raw files of few trials for each dataset."""
  raw = tmp_path_factory.mktemp('raw')
  trials = [Trial(a, s, t) for a in (1, 2, 3) for s in (1, 2, 3) for t in (1, 2)]
  for modality in base.MODALITIES:
    raw_trees.write_folder(raw / 'utd_mhad', modality, trials)
  generate.write_raw(raw / 'stickman', subjects=(1, 2, 3), trials=(1,))
  rows = [f'{s},1,1,{i},{a},30' for s in (1, 16, 17) for i in (1, 2) for a in ('fall', *MMACT)]
  manifest = raw / 'clips.csv'
  manifest.write_text('\n'.join(['subject,cam,scene,session,action,openpose_frames', *rows]))
  mmact.write_raw(raw / 'mmact', manifest, clips=18, defects=False)
  for i in range(18):
    write_recording(raw, i)
  # Of one event of each split nothing was felt.
  for path in (raw / 'mmact').glob('*_clip/subject1[67]/scene1/session1/fall.csv'):
    path.write_bytes(b'')
  return raw


def write_recording(raw, i):
  """One of 18 CSV recordings and videos by people 1 to 5; a fold tests the first, who has 6."""
  person, label = (1, 2, 3, 1, 4, 5)[i % 6], ('D01', 'F01')[i // 9]
  for sensor in ('accel', 'gyro'):
    path = raw / 'table' / label / f'U{person}_R{i}_{sensor}.csv'
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = (f'{t / 20},{t},{i},{-t}' for t in range(30))
    path.write_text('\n'.join(['time,x,y,z', *rows]))
  video = raw / 'clips' / label / f'{i}.avi'
  video.parent.mkdir(parents=True, exist_ok=True)
  video.write_bytes(raw_trees.avi([np.full((36, 36, 3), 9 * t + i, np.uint8) for t in range(8)]))
  for folder, file in (('table', f'{label}/U{person}_R{i}_accel.csv'), ('clips', f'{i}.avi')):
    names = {'table': 'subject', 'clips': 'group'}
    path = raw / folder / 'labels.csv'
    path.write_text(path.read_text() if path.exists() else f'file,label,{names[folder]}\n')
    with path.open('a') as labels:
      labels.write(f'{file},{label},{person}\n')


@pytest.fixture
def small_pictures(monkeypatch):
  """UTD-MHAD's files, but for the size of their pictures, which `raw_trees` writes small.

  And an image network of two groups of blocks.
  """
  size = {'rgb_size': raw_trees.LAYOUT.rgb_size, 'depth_size': raw_trees.LAYOUT.depth_size}
  layout = dataclasses.replace(utd_mhad.Builder.LAYOUT, **size)
  monkeypatch.setattr(utd_mhad.Builder, 'LAYOUT', layout)
  monkeypatch.setattr(mobilenet, 'STAGES', mobilenet.STAGES[:2])


def few_blocks(config, monkeypatch):
  """S3D with one block, or with the two of a second stage's that train; the stem stays frozen."""
  names = s3d.S3D.fine_tuned if 'fusion' in config.stages else ('Mixed_3b',)
  monkeypatch.setattr(s3d, 'MIXED', {name: s3d.MIXED[name] for name in names})


def few_layers(encoder):
  """The first two blocks of a convolutional network over time."""
  network = registry.ENCODERS[encoder.kind]
  if not issubclass(network, imu.Conv1dNet | skeleton.SkeletonCNN):
    return
  options = ('channels', 'kernels', 'strides', 'pools')
  values = {name: encoder.get(name, getattr(network, name, None)) for name in options}
  lists = {name: value for name, value in values.items() if isinstance(value, tuple)}
  assert len({len(value) for value in lists.values()}) == 1  # Which would not be noticed below.
  encoder.update({name: value[:2] for name, value in lists.items()})


def shrink(config):
  """Two steps a stage, of small clips through narrow networks."""
  config.dataset.require_complete = config.dataset.name == 'clips'  # Which has one modality.
  config.runtime.devices = 1
  config.dataset.fold_people = ()  # Not those of the published recordings.
  if 'short_side' in config.dataset.get('options', {}):
    config.dataset.options.short_side = 36
  if config.dataset.name == 'mmact':
    config.dataset.options.workers = 0
  for encoder in config.encoders.values():
    few_layers(encoder)
  for name in ('rgb', 'depth', 'flow'):
    if name in config.inputs:
      config.inputs[name].update(frames=8, resize=36, size=32)
      config.encoders[name].width = 0.125
      if config.encoders[name].kind in ('c3d', 'i3d', 's3d'):
        config.encoders[name].conv = 'plain'  # compiles quickest
  for stage in config.stages.values():
    stage.batch_size = 6
    stage.epochs = 1.0
    if config.dataset.validation_fraction:  # Which is half of 12 training examples here.
      stage.epochs = 2.0
  if config.dataset.validation_fraction:
    config.dataset.validation_fraction = 0.5
  return config


def open_small(name, arg, raw_dirs, folder, monkeypatch):
  """An experiment whose data are prepared."""
  config = shrink(importlib.import_module(f'configs.{name}').get_config(arg))
  few_blocks(config, monkeypatch)
  where = {'data_dir': str(folder), 'raw_dir': str(raw_dirs / config.dataset.name)}
  return experiment.open_experiment(config, folder / 'run', **where)


@pytest.mark.parametrize(('name', 'arg'), EXPERIMENTS)
def test_config_runs(name, arg, raw_dirs, tmp_path, small_pictures, monkeypatch):
  opened = open_small(name, arg, raw_dirs, tmp_path, monkeypatch)
  config = opened.config
  if not name.startswith(('baselines.', 'anomaly')):
    assert config.order == (*config.modalities, *['fusion'] * (len(config.modalities) > 1))
  experiment.train(opened)
  table = evaluation.run(opened, command='test')
  assert_complete(tmp_path / 'run', config, table)
  if config.dataset.validation_fraction:
    assert (tmp_path / 'run' / 'thresholds.json').exists()
  if 'fusion' in opened.stages:
    assert_only_trained_layers_moved(opened, 'fusion')


def assert_complete(workdir, config, table, *, steps=2):
  """Each stage was trained for so many steps, evaluated on the six test trials and reported."""
  stages = [n for n in config.order if OBJECTIVES[config.stages[n].objective.kind].deployed]
  assert list(table['stages']) == stages
  singles = [name for name in stages if len(config.stages[name].modalities) == 1]
  held_out = config.dataset.validation_fraction or config.dataset.validation_subjects
  kinds = [OBJECTIVES[config.stages[name].objective.kind] for name in singles]
  several = sum(issubclass(kind, Classifier) for kind in kinds) > 1
  untrained = [*['product'] * several, *['decision'] * bool(held_out)]
  assert list(table['baselines']) == (untrained if len(singles) > 1 else [])
  written = json.loads((workdir / 'results.json').read_text())
  assert written['dataset'] == config.dataset.get('options', {}).get('title', config.dataset.name)
  for stage in stages:
    assert written['stages'][stage]['float32']['examples'] == 6
    predictions = workdir / 'predictions' / f'{stage}-float32.csv'
    assert len(predictions.read_text().splitlines()) == 1 + 6
    rows = (workdir / 'metrics' / f'{stage}.jsonl').read_text().splitlines()
    # Of normal trials alone there are so few that two epochs, or one, are a batch.
    normal = config.stages[stage].objective.get('normal_only')
    assert json.loads(rows[-1])['step'] == (1 if normal else steps)
  report = (workdir / 'report.html').read_text()
  assert '<html' in report
  last = config.stages[stages[-1]]  # Whose examples are shown.
  video = {'rgb', 'depth', 'flow'} & set(last.modalities)
  looking = video and issubclass(OBJECTIVES[last.objective.kind], Classifier)
  assert ('Where the model looks' in report) == bool(looking)


def assert_only_trained_layers_moved(opened, name):
  """Each layer has left where the stage found it exactly if the stage trains it."""
  one = opened.stages[name]
  where = mesh_lib.replicated(opened.context.mesh)
  start = stage_lib.initial_variables(one, opened.stages, opened.context.workdir, where)
  found, _ = experiment.load(opened, name)
  for tree in ('params', 'batch_stats'):
    before, after = (flax.traverse_util.flatten_dict(v[tree]) for v in (start, found))
    assert before.keys() == after.keys()
    moved = {p[:2] for p in before if not np.array_equal(before[p], after[p])}
    assert moved == {p[:2] for p in before if matches(p, one.trained)}, tree
