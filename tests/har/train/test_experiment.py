"""What a config's `dataset` section asks for is what an experiment gets, and whose a workdir is."""

import dataclasses
import json
import os
import pathlib
import re

import numpy as np
import pytest

from configs import base
from har import schema
from har.data import dataset as dataset_lib
from har.data.protocols import SplitOptions
from har.errors import UserError
from har.train import experiment
from tests import fakes


@pytest.fixture(autouse=True)
def fake_dataset(monkeypatch):
  people = fakes.FakeDataset(subjects=(0, 1, 2, 3), trials=4)
  monkeypatch.setattr(dataset_lib, 'load', lambda *_, **__: people)
  return people


def config(**changes):
  c = base.experiment('fake', ['imu'])
  c.dataset.update(changes)
  c.runtime.devices = 1
  return c


def stages(**changes):
  c = config(**changes)
  c.order = ('imu',)
  c.stages.imu = base.stage(['imu'], learning_rate=0.1)
  c.inputs.imu = {'length': 20}
  c.encoders.imu = {'kind': 'cnn1d_bn'}
  return c


def claimed(c, workdir):
  """As after a first checkpoint."""
  opened = experiment.open_experiment(c, workdir, defaults=schema.defaults(c))
  opened.context.claim()
  return opened


def people(opened):
  index, splits = opened.context.dataset.index, opened.context.splits
  subject = index.columns['subject']
  return {
    part: sorted(set(subject[positions].tolist())) for part, positions in vars(splits).items()
  }


def test_the_config_has_every_option_of_the_splits():
  assert SplitOptions.of(config().dataset) == SplitOptions()


def test_subject_0_is_left_out(tmp_path):
  c = config(protocol='leave_one_subject_out', test_subject=0, validation_subjects=(3,))
  opened = experiment.open_experiment(c, tmp_path)
  assert people(opened) == {'train': [1, 2], 'validation': [3], 'test': [0], 'unused': []}


def test_folds(tmp_path):
  c = config(protocol='folds', fold=2, folds=4)
  opened = experiment.open_experiment(c, tmp_path)
  assert people(opened)['test'] == [1]


def test_a_fraction_is_drawn_by_the_experiment_s_seed(tmp_path):
  def train(seed):
    c = config(train_fraction=0.5)
    c.seed = seed
    return experiment.open_experiment(c, tmp_path / str(seed)).context.splits.train

  first, second = train(0), train(1)
  assert len(first) == len(second) == 12
  assert not np.array_equal(first, second)


def test_what_was_refused_does_not_claim_the_workdir(tmp_path):
  with pytest.raises(UserError, match=r'validation_subjects: \[9\]'):
    experiment.open_experiment(config(validation_subjects=(9,)), tmp_path)
  bad = config()
  bad.order = ('imu',)
  bad.stages.imu = base.stage(['imu'], learning_rate=0.1)
  bad.inputs.imu = {'length': 20}
  bad.encoders.imu = {'kind': 'cnn9d'}
  with pytest.raises(UserError, match='cnn9d'):
    experiment.open_experiment(bad, tmp_path)
  experiment.open_experiment(config(validation_subjects=(1,)), tmp_path)
  assert list(tmp_path.iterdir()) == []
  claimed(config(validation_subjects=(3,)), tmp_path)
  kept = json.loads((tmp_path / 'config.json').read_text())
  assert kept['dataset']['validation_subjects'] == [3]
  with pytest.raises(UserError, match=r'validation_subjects is \[3\] there and \[1\] here'):
    experiment.open_experiment(config(validation_subjects=(1,)), tmp_path)


def test_a_workdir_is_known_before_data_are_prepared(tmp_path, monkeypatch):
  claimed(config(), tmp_path)
  monkeypatch.setattr(dataset_lib, 'load', None)
  with pytest.raises(UserError, match='folds is 5 there and 6 here'):
    experiment.open_experiment(config(folds=6), tmp_path)


def test_abnormal_classes_may_change_after_training(tmp_path):
  claimed(config(), tmp_path)
  claimed(config(abnormal=('wave',)), tmp_path)


def test_abnormal_classes_that_were_left_out_of_training_stay(tmp_path, fake_dataset, monkeypatch):
  def opened(*abnormal):
    metadata = fakes.METADATA | {'abnormal': abnormal}
    changed = dataclasses.replace(fake_dataset, metadata=metadata)
    monkeypatch.setattr(dataset_lib, 'load', lambda *_, **__: changed)
    c = config(abnormal=abnormal)
    c.order = ('imu',)
    c.stages.imu = base.stage(
      ['imu'],
      learning_rate=0.1,
      objective={'kind': 'reconstruct', 'normal_only': True},
      head={'kind': 'decoder'},
    )
    c.inputs.imu = {'length': 20}
    c.encoders.imu = {'kind': 'cnn1d_bn'}
    return claimed(c, tmp_path)

  opened('wave')
  opened('wave')
  with pytest.raises(UserError, match=r"left out of imu is \['wave'\] there and \['swipe_left'\]"):
    opened('swipe_left')


def test_a_split_without_examples(tmp_path):
  for protocol in ({}, {'protocol': 'official'}):
    with pytest.raises(UserError, match='--split=validation: no trial is in it'):
      experiment.open_experiment(config(**protocol), tmp_path, split='validation')
  assert not (tmp_path / 'config.json').exists()


ALL = '12 examples that it was trained on are evaluated on now (a1_s1_t1 was trained on and is now'
DATA = {
  'trial added': ({'trials': 5}, '12 examples are new (a1_s1_t5 in train; '),
  'trial gone': ({'trials': 3}, '12 examples are gone (a1_s1_t4 in train; '),
  'person added': ({'subjects': (0, 1, 2, 3, 4)}, '12 examples are new (a1_s4_t1 in test; '),
  'person gone': ({'subjects': (0, 1, 3)}, '12 examples are gone (a1_s2_t1 in test; '),
  'parts': ({'metadata': fakes.METADATA | {'train_subjects': (2, 3)}}, ALL),
  'renamed class': (
    {'class_names': ('greet', 'swipe_left', 'swipe_right')},
    "16 examples are of another class (a1_s1_t1: 'wave' there, 'greet' here; ",
  ),
  'class order': (
    {'class_names': ('swipe_left', 'wave', 'swipe_right')},
    "32 examples are of another class (a1_s1_t1: 'wave' there, 'swipe_left' here; ",
  ),
  'order': ({'subjects': (3, 2, 1, 0)}, 'the examples are in another order'),
}


@pytest.mark.parametrize('lists', [True, False])
@pytest.mark.parametrize('change', DATA)
def test_a_workdir_remembers_its_data(change, lists, tmp_path, fake_dataset, monkeypatch):
  claimed(config(), tmp_path)
  claimed(config(), tmp_path)
  files = {path: path.read_bytes() for path in tmp_path.iterdir()}
  assert len(files) == 4
  if not lists:
    files.pop(tmp_path / 'examples.json.gz')
    (tmp_path / 'examples.json.gz').unlink()
  changes, message = DATA[change]
  changed = dataclasses.replace(fake_dataset, **changes)
  monkeypatch.setattr(dataset_lib, 'load', lambda *_, **__: changed)
  with pytest.raises(
    UserError, match=r'was trained with other data: .*another --workdir'
  ) as caught:
    experiment.open_experiment(config(), tmp_path)
  assert not lists or message in str(caught.value)
  assert lists or "is '" in str(caught.value)
  assert {path: path.read_bytes() for path in tmp_path.iterdir()} == files


def _with(index, **columns):
  return dataclasses.replace(index, columns={**index.columns, **columns})


def test_people_and_classes_that_were_numbered_anew_are_noticed(
  tmp_path, fake_dataset, monkeypatch
):
  claimed(config(), tmp_path)

  class Renumbered(fakes.FakeDataset):
    @property
    def index(self):
      index = super().index
      return _with(index, **{name: change(index) for name, change in self.channels.items()})

  def load(**changes):
    fields = {f.name: getattr(fake_dataset, f.name) for f in dataclasses.fields(fake_dataset)}
    data = Renumbered(**fields | changes)
    monkeypatch.setattr(dataset_lib, 'load', lambda *_, **__: data)

  load(channels={'subject': lambda index: np.where(index.subject == 1, 3, index.subject)})
  with pytest.raises(UserError, match=r'12 examples are of another person \(a1_s1_t1: 1 there, 3'):
    experiment.open_experiment(config(), tmp_path)
  # Of every example the class is as before, but not its number, which a model gives out.
  load(channels={'label': lambda i: 2 - i.label}, class_names=fakes.CLASSES[::-1])
  with pytest.raises(UserError, match=r'the classes are wave, .* there and swipe_right, .* here'):
    experiment.open_experiment(config(), tmp_path)


def test_a_workdir_of_before_there_were_lists(tmp_path):
  claimed(config(), tmp_path)
  path = tmp_path / 'data.json'
  facts = json.loads(path.read_text())
  old = {part: facts[part] for part in ('train', 'validation', 'test', 'unused')}
  assert old['train'] == '24 examples (aa7b1733ca1f)'
  path.write_text(json.dumps(old))
  for name in ('defaults.json', 'examples.json.gz'):
    (tmp_path / name).unlink()
  claimed(config(), tmp_path)
  assert json.loads(path.read_text()) == old


def test_an_option_that_came_later_does_not_shut_out_older_runs(tmp_path):
  claimed(stages(), tmp_path)
  path = tmp_path / 'config.json'
  old = json.loads(path.read_text())
  del (
    old['dataset']['folds'],
    old['stages']['imu']['ema'],
    old['stages']['imu']['optimizer']['final'],
  )
  path.write_text(json.dumps(old))
  (tmp_path / 'defaults.json').unlink()
  claimed(stages(), tmp_path)
  later = stages()
  later.stages.imu.ema = 0.9
  with pytest.raises(UserError, match=r'stages\.imu\.ema is None there and 0\.9 here'):
    experiment.open_experiment(later, tmp_path, defaults=schema.defaults(later))
  explicit = stages()
  explicit.inputs.imu.mean = 0.0  # The default.
  claimed(explicit, tmp_path)


def test_an_option_that_is_no_more_does_not_either(tmp_path):
  claimed(stages(), tmp_path)
  for name in ('config.json', 'defaults.json'):
    content = json.loads((tmp_path / name).read_text())
    content['stages']['imu']['sparkle'] = 0.0
    (tmp_path / name).write_text(json.dumps(content))
  claimed(stages(), tmp_path)
  content = json.loads((tmp_path / 'config.json').read_text())
  content['stages']['imu']['sparkle'] = 0.5
  (tmp_path / 'config.json').write_text(json.dumps(content))
  with pytest.raises(UserError, match=r'stages\.imu\.sparkle is 0\.5 there and None here'):
    claimed(stages(), tmp_path)


@pytest.mark.parametrize(
  'key',
  [
    'inputs.imu.std',
    'encoders.imu.dropout',
    'stages.imu.objective.label_smoothing',
    'dataset.folds',
  ],
)
def test_a_default_that_changed_is_noticed(key, tmp_path):
  claimed(stages(), tmp_path)
  for name in ('config.json', 'defaults.json'):
    content = json.loads((tmp_path / name).read_text())
    at = content
    *above, last = key.split('.')
    for part in above:
      at = at.get(part, {})
    if last in at:
      at[last] = 77
    (tmp_path / name).write_text(json.dumps(content))
  with pytest.raises(UserError, match=f'{re.escape(key)} is 77 there and'):
    claimed(stages(), tmp_path)


def test_a_refused_run_leaves_no_new_workdir(tmp_path):
  workdir = tmp_path / 'runs' / 'one'

  def run(folder):
    with pytest.raises(UserError), experiment.exclusive(folder):
      experiment.open_experiment(config(validation_subjects=(9,)), folder)

  run(workdir)
  assert list(tmp_path.iterdir()) == []
  workdir.parent.mkdir()
  run(workdir)
  assert list(workdir.parent.iterdir()) == []
  workdir.mkdir()
  run(workdir)
  assert workdir.is_dir()
  (tmp_path / 'runs' / 'two').mkdir()
  with experiment.exclusive(workdir):
    (workdir / 'kept').touch()
  assert (workdir / 'kept').exists()


def test_a_lock_that_its_holder_removed_is_not_taken(tmp_path):
  path = tmp_path / 'lock'
  opened = pathlib.Path.open
  times = []

  def open_late(self, *args):
    file = opened(self, *args)
    times.append(1)
    if len(times) == 1:
      path.unlink()
    return file

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(pathlib.Path, 'open', open_late)
    with experiment._locked(path) as file:
      assert os.path.samestat(path.stat(), os.fstat(file.fileno()))
  assert len(times) == 2


def test_a_folder_that_its_holder_removes_at_that_moment(tmp_path, monkeypatch):
  workdir = tmp_path / 'runs' / 'one'
  opened = pathlib.Path.open
  times = []

  def open_after_removal(self, *args, **kwargs):
    times.append(1)
    if len(times) == 1:
      workdir.rmdir()
      workdir.parent.rmdir()
    return opened(self, *args, **kwargs)

  monkeypatch.setattr(pathlib.Path, 'open', open_after_removal)
  with experiment.exclusive(workdir):
    monkeypatch.undo()
    (workdir / 'kept').touch()
    monkeypatch.setattr(pathlib.Path, 'read_text', lambda path: path.with_name('gone').open())
    busy = pytest.raises(UserError, match='is in use by another process: wait')
    with busy, experiment.exclusive(workdir):
      pass
  assert len(times) == 2
  assert (workdir / 'kept').exists()
