"""Timelines: the same by JAX and by exported files; and one line if there can be none."""

import csv
import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from configs.baselines import cmc
from har.errors import UserError
from har.export import predict as by_workdir
from har.stream import predict
from har.stream.exported import open_model
from har.stream.options import Options, Rule
from tests import fakes
from tests.har.stream import exports
from tests.launching import ROOT

OPTIONS = Options(seconds=1.0, step=0.25, rule=Rule(on=0.45, off=0.35, cool_down=0.5))


def written(folder):
  text = (folder / 'timeline.csv').read_text()
  return text, json.loads((folder / 'timeline.json').read_text())


def check_picture(path):
  """That it can be read, is as wide as a page and no wider, and that much is drawn."""
  with Image.open(path) as image:
    assert image.format == 'PNG'
    image.load()
    width, height = image.size
    assert 1000 < width < 3000
    assert 200 < height < 2000
    assert len(image.convert('RGB').getcolors(1 << 20)) > 50
  assert 5_000 < path.stat().st_size < 1_000_000


def test_a_timeline_of_samples(resampled, tmp_path, capsys):
  path = exports.table(tmp_path / 'a.csv', exports.movement(30.0))
  out = tmp_path / 'new' / 'out'
  options = exports.lively(open_model(resampled), path, OPTIONS)
  files = predict.predict(open_model(resampled), [str(path)], out, options)
  assert [file.name for file in files] == ['timeline.csv', 'timeline.json', 'timeline.png']
  text, found = written(out)
  rows = list(csv.DictReader(text.splitlines()))
  assert len(rows) == len(found['windows']) == 117
  assert list(rows[0]) == [
    *('start', 'end', 'class', 'confidence'),
    *(f'p({name})' for name in fakes.CLASSES),
    'lacking',
  ]
  for row, window in zip(rows, found['windows'], strict=True):
    p = {name: float(row[f'p({name})']) for name in fakes.CLASSES}
    assert sum(p.values()) == pytest.approx(1, abs=2e-4)
    assert row['class'] == window['class'] == max(p, key=p.get)
    assert float(row['confidence']) == window['confidence'] == max(p.values())
  assert (found['seconds'], found['step'], found['inputs']) == (1.0, 0.25, ['a.csv'])
  assert len(found['events']) >= 2
  for event in found['events']:
    inside = [
      window[f'p({event["name"]})']
      for window in found['windows']
      if event['start'] < (window['start'] + window['end']) / 2 < event['end']
    ]
    assert event['confidence'] == max(inside) >= options.rule.on - 1e-4
    assert min(inside) >= options.rule.off - 1e-4
  check_picture(out / 'timeline.png')
  assert f'117 windows, {len(found["events"])} events: {out}' in capsys.readouterr().out


def test_a_stage_that_only_pretrains_is_none_that_predicts(tmp_path):
  config = cmc.get_config()
  with pytest.raises(UserError, match=r'has no stage contrast, but fusion'):
    by_workdir.run(config, tmp_path, ['a.csv'], OPTIONS, pytest.fail, stages=['contrast'])


def test_a_workdir_predicts_in_jax_as_its_exported_files_do(tmp_path):
  """And a workdir with files needs no data set."""
  path = str(exports.table(tmp_path / 'a.csv', exports.movement(5.0)))
  inputs, encoders = {'imu': {'length': 40}}, {'imu': exports.CNN}
  folder = tmp_path / 'run'
  with exports.opened(folder, inputs, encoders) as found:
    arguments = (found.config, folder, [path], OPTIONS)
    by_workdir.run(*arguments, lambda: found, output=str(tmp_path / 'jax'))
    exports.write(folder, inputs, encoders)
    files = by_workdir.run(*arguments, pytest.fail)
    with pytest.raises(UserError, match=r'--stages=imu,x: one stage predicts'):
      by_workdir.run(*arguments, pytest.fail, stages=['imu', 'x'])
    with pytest.raises(UserError, match=r'has no stage x, but imu'):
      by_workdir.run(*arguments, pytest.fail, stages=['x'])
  assert files == [folder / 'predictions' / f'timeline.{kind}' for kind in ('csv', 'json', 'png')]
  assert sorted((folder / 'predictions').iterdir()) == sorted(files)
  check_picture(files[2])
  text, facts = written(folder / 'predictions')
  other, others = written(tmp_path / 'jax')
  assert text == other
  assert facts.pop('sha256')
  assert not others.pop('sha256')
  assert facts == others


def test_a_pair(both, tmp_path):
  model = open_model(both)
  samples = str(exports.table(tmp_path / 'a.csv', exports.movement(8.0)))
  pictures = np.random.default_rng(0).integers(0, 255, (90, 24, 32, 3), np.uint8)
  video = str(exports.film(tmp_path / 'a.mkv', pictures))
  predict.predict(model, [samples, video], tmp_path / 'pair', OPTIONS)
  _, found = written(tmp_path / 'pair')
  assert len(found['windows']) == 21  # The video ends after 6 s.
  assert {window['lacking'] for window in found['windows']} == {None}
  predict.predict(model, [samples], tmp_path / 'alone', OPTIONS)
  _, alone = written(tmp_path / 'alone')
  assert len(alone['windows']) == 29
  assert alone['windows'][0]['confidence'] != found['windows'][0]['confidence']
  assert found['abnormal'] == ['swipe_left', 'swipe_right']


def test_the_offset_of_a_pair_is_told_and_nothing_is_shifted(both, tmp_path, capsys):
  model = open_model(both)
  rng = np.random.default_rng(0)
  t, at = np.arange(400) / 50, rng.uniform(1, 6, 5)
  signal = np.zeros((400, 6))
  signal[:, 3] = 100 * np.exp(-(((t[:, None] - at - 0.7) / 0.15) ** 2)).sum(1)
  frames = np.zeros((105, 24, 32, 3), np.uint8)
  motion = np.exp(-(((np.arange(105)[:, None] / 15 - at) / 0.15) ** 2)).sum(1)
  frames += (100 + 80 * motion * (-1) ** np.arange(105)).astype(np.uint8)[:, None, None, None]
  files = [exports.table(tmp_path / 'a.csv', signal), exports.film(tmp_path / 'a.mkv', frames)]
  predict.predict(model, [str(file) for file in files], tmp_path / 'pair', OPTIONS)
  _, found = written(tmp_path / 'pair')
  offset = found['offset']
  assert offset['seconds'] == pytest.approx(0.7, abs=0.06)
  assert (offset['harmless'], offset['exceeds']) == (0.25, True)
  assert 's late (confidence' in capsys.readouterr().err
  model.about['harmless_shift'] = 1.0
  predict.predict(model, [str(file) for file in files], tmp_path / 'again', OPTIONS)
  _, again = written(tmp_path / 'again')
  assert (again['offset']['harmless'], again['offset']['exceeds']) == (1.0, False)
  assert again['windows'] == found['windows']
  predict.predict(model, [str(files[0])], tmp_path / 'alone', OPTIONS)
  assert 'offset' not in written(tmp_path / 'alone')[1]


def test_a_score_has_the_threshold_of_the_export(anomaly, tmp_path):
  path = str(exports.table(tmp_path / 'a.csv', exports.movement(12.0)))
  model = open_model(anomaly)
  predict.predict(model, [path], tmp_path / 'a', OPTIONS)
  _, found = written(tmp_path / 'a')
  scores = np.array([window['score'] for window in found['windows']])
  assert found['threshold'] is None
  assert found['events'] == []
  # That of a window, which as in evaluation is no alarm.
  _, decisions, _, _ = predict.analyse(model, [path], OPTIONS)
  exact = np.array([one.score for one in decisions])
  threshold = float(np.sort(exact)[len(exact) // 2])
  model.about['alarm'] = {'value': threshold}
  predict.predict(model, [path], tmp_path / 'b', OPTIONS)
  _, found = written(tmp_path / 'b')
  assert found['threshold'] == threshold
  assert [w['over_threshold'] for w in found['windows']] == (exact > threshold).tolist()
  assert {event['name'] for event in found['events']} == {'anomaly'}
  best = max(event['confidence'] for event in found['events'])
  assert best == pytest.approx(scores.max() / threshold, rel=1e-3)


def test_nothing_is_written_of_what_is_refused(resampled, tmp_path):
  four = exports.table(tmp_path / 'four.csv', exports.movement(3.0)[:, :4])
  with pytest.raises(UserError, match='has 4 channels'):
    predict.predict(open_model(resampled), [str(four)], tmp_path / 'out', OPTIONS)
  assert not (tmp_path / 'out').exists()
  (tmp_path / 'file').write_text('')
  good = str(exports.table(tmp_path / 'a.csv', exports.movement(3.0)))
  with pytest.raises(UserError, match='cannot write'):
    predict.predict(open_model(resampled), [good], tmp_path / 'file' / 'out', OPTIONS)


def command(*args):
  return subprocess.run(
    [sys.executable, '-m', *map(str, args)], cwd=ROOT, capture_output=True, text=True, timeout=300
  )


def test_the_command_line_ends_with_a_line_and_status_2(resampled, tmp_path):
  args = 'har.stream.predict', f'--model={resampled}', f'--output={tmp_path / "out"}'
  done = command(*args, f'--input={tmp_path / "none.csv"}')
  assert done.returncode == 2
  assert done.stdout == ''
  assert done.stderr.splitlines()[-1] == f'error: --input={tmp_path}/none.csv: no such file'
  assert not (tmp_path / 'out').exists()


def test_no_jax_is_imported():
  text = (
    'import sys; import har.stream.predict, har.stream.__main__, har.stream.picture;'
    'print(sorted({m.partition(".")[0] for m in sys.modules}))'
  )
  done = subprocess.run(
    [sys.executable, '-c', text], cwd=ROOT, capture_output=True, text=True, check=True
  )
  found = set(eval(done.stdout))
  assert {'har', 'numpy', 'av'} <= found
  assert not found & {'jax', 'jaxlib', 'flax', 'optax', 'absl', 'ml_collections', 'scipy', 'etils'}
  assert not found & {'tensorflow', 'tensorflow_datasets', 'grain', 'zstandard', 'sklearn'}
