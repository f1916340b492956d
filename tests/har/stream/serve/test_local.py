"""In a browser the model says what `predict` says, and nothing is sent."""

import dataclasses
import json

import numpy as np
import pytest

from har.data import inputs
from har.errors import UserError
from har.stream import predict, result
from har.stream.events import Detector
from har.stream.exported import open_model
from har.stream.options import Options, Rule
from har.stream.preprocess import Clip, run
from har.stream.serve import local, offers
from tests import fakes
from tests.har.stream import exports
from tests.har.stream.serve import browsing, serving
from tests.har.stream.serve.test_page import text, wait

OPTIONS = Options(seconds=1.0, step=0.25)
# Gives every sample and waits for what is said of it.
RUN = """
const [samples, done] = arguments;
const told = [];
(async () => {
  const { Local } = await import('./local.js');
  const { offers } = await (await fetch('offers')).json();
  const one = new Local(offers[0]);
  await one.open({}, (message) => told.push(message), (reason) => reason && told.push({ reason }));
  for (const [time, ...values] of samples) {
    one.sample(1000 + time, values);
    while (one.busy) await new Promise((go) => setTimeout(go));
  }
  one.stop();
  done(told);
})().catch((error) => done([{ reason: `${error}` }]));
"""


@pytest.fixture(scope='module', params=['resample', 'pad', 'anomaly', 'changes', 'between'])
def exported(request, tmp_path_factory):
  """Models as a browser takes them."""
  folder = tmp_path_factory.mktemp(request.param) / 'run'
  both = {'formats': ('tflite', 'onnx')}
  inputs, encoders = {'imu': {'length': 40}}, {'imu': exports.CNN}
  data = fakes.FakeDataset(metadata=exports.FACTS)
  if request.param == 'between':
    inputs['imu'].update(length=24, fit='pad', rates=(50, 50), rate=25, smooth=0.1)
    head = {'kind': 'between', 'features': (8,), 'kernel': 3, 'hidden': 8, 'skip': 2}
    both['objective'] = {'kind': 'familiar'}
    data = fakes.SilentDataset(metadata=exports.FACTS)
    return exports.write(folder, inputs, {'imu': {'kind': 'samples'}}, data, head, **both)
  if request.param in ('anomaly', 'changes'):
    told = request.param == 'changes'  # By the model itself.
    head = {'kind': 'changes' if told else 'decoder', 'bottleneck': 4}
    both['objective'] = {'kind': 'familiar' if told else 'reconstruct'}
    return exports.write(folder, inputs, encoders, data, head, **both)
  inputs['imu']['fit'] = request.param
  return exports.write(folder, inputs, encoders, **both)


def between_scores(model, path):
  """Options with a threshold that rounding moves no score over, and the several events it makes."""
  scores = result.plain(*predict.analyse(model, [str(path)], OPTIONS))['windows']
  told = np.sort([one['score'] for one in scores])
  gaps = np.diff(told)
  for i in np.argsort(-gaps):
    options = Options(seconds=1.0, step=0.25, threshold=float(told[i : i + 2].mean()))
    wanted = result.plain(*predict.analyse(model, [str(path)], options))
    if len(wanted['events']) > 1:
      assert gaps[i] > 1e-3 * told[i]
      return options, wanted
  raise AssertionError('no threshold makes several events')


@pytest.mark.skipif(
  not (browsing.BROWSER and browsing.DRIVER and browsing.RUNTIME),
  reason='needs Chromium, its driver, and ONNXRUNTIME_WEB=package/dist of onnxruntime-web',
)
def test_a_browser_says_what_predict_says(exported, tmp_path):
  path = exports.table(tmp_path / 'a.csv', exports.movement(20.0))
  rows = np.loadtxt(path, delimiter=',', skiprows=1)
  model = open_model(exported)
  if model.labels and 'logits' in model.about['outputs']:
    options = exports.lively(model, path, OPTIONS)
    wanted = result.plain(*predict.analyse(model, [str(path)], options))
  else:
    options, wanted = between_scores(model, path)
  assert len(wanted['events']) > 1
  runtime = browsing.RUNTIME
  with (
    serving.Served(exported, options, runtime=runtime) as served,
    browsing.browser(tmp_path) as d,
  ):
    d.get(f'http://{served.address}/')
    d.set_script_timeout(120)
    told = d.execute_async_script(RUN, rows.tolist())
    assert [one for one in told if 'reason' in one] == []
    windows = [one for one in told if one['state'] == 'window']
    assert len(windows) == len(wanted['windows'])
    for one, other in zip(windows, wanted['windows'], strict=True):
      assert one['start'] == pytest.approx(other['start'])
      if 'score' in other:
        assert one['score'] == pytest.approx(other['score'], rel=1e-3)
      else:
        assert one['confidence'] == pytest.approx(other['confidence'], abs=1e-3)
    ended = [one for one in told if one['state'] == 'ended']
    assert [one['name'] for one in ended] == [one['name'] for one in wanted['events']]
    for name in ('start', 'end', 'peak', 'raised'):
      assert [one[name] for one in ended] == pytest.approx([e[name] for e in wanted['events']])
    # And by the switch on the page, without a stream to the server.
    wait(d, lambda: d.find_element('id', 'local').is_displayed())
    d.find_element('id', 'local').click()
    d.execute_script(browsing.MOVE, 1.0)
    d.find_element('id', 'start').click()
    wait(d, lambda: int(text(d, 'windows')) >= 4)
    assert text(d, 'state') == 'live, on this device'
    assert served.site.totals.open == 0
    assert [one for one in d.get_log('browser') if one['level'] == 'SEVERE'] == []


@pytest.mark.skipif(
  not (browsing.BROWSER and browsing.DRIVER), reason='Chromium and its driver are not installed'
)
def test_at_the_threshold_is_no_alarm_as_here(resampled, tmp_path):
  scores, rule = [2.0, 3.0, 2.0, 3.0, 2.0], Rule(on=0.6, off=0.6, cool_down=0.0)
  detector = Detector(dataclasses.replace(rule, on=1.0, off=1.0), 1.0)
  here = []
  for k, score in enumerate(scores):
    here += detector.push(k, k + 2, {'anomaly': (score / 2, 'anomaly')})
  assert [what for what, _ in here] == ['raised', 'ended'] * 2
  offer = {'local': {'inputs': []}, 'rule': vars(rule), 'threshold': 2.0, 'step': 1.0}
  with serving.Served(resampled, OPTIONS) as served, browsing.browser(tmp_path) as d:
    d.get(f'http://{served.address}/')
    told, shown = d.execute_async_script(
      """const [given, scores, done] = arguments;
      (async () => {
        const { Local } = await import('./local.js');
        const { View } = await import('./view.js');
        const offer = { ...given, abnormal: [], labels: [] };
        const [one, view] = [new Local(offer), new View(offer)];
        const windows = scores.map((score, k) => ({ start: k, end: k + 2, score }));
        done([windows.flatMap((window) => one.events(window)), windows.map((window) => {
          view.verdict(window);
          return document.getElementById('class').textContent;
        })]);
      })().catch((error) => done([`${error}`, []]));""",
      offer,
      scores,
    )
  assert told == [[what, event.plain()] for what, event in here]
  assert shown == ['normal', 'anomaly', 'normal', 'anomaly', 'normal']


@pytest.mark.skipif(
  not (browsing.BROWSER and browsing.DRIVER), reason='Chromium and its driver are not installed'
)
def test_pictures_are_prepared_as_here(film, resampled, tmp_path):
  """Squares, of which the browser's canvas makes those that it gives to this function."""
  about = open_model(film).recorded['rgb']
  pictures = np.random.default_rng(0).integers(0, 255, (15, 20, 20, 3), np.uint8)
  clip = Clip(pictures, np.ones(len(pictures), bool))
  wanted = run(clip, about['steps']).x
  opaque = np.full((15, 20, 20, 1), 255, np.uint8)
  shown = np.concatenate([pictures, opaque], -1).reshape(15, -1).tolist()
  with serving.Served(resampled, OPTIONS) as served, browsing.browser(tmp_path) as d:
    d.get(f'http://{served.address}/')
    found = d.execute_async_script(
      """const [input, rows, done] = arguments;
      import('./prepare.js').then(({ prepareFrames }) => done([...prepareFrames(input, rows)]));""",
      {'shape': about['shape'][1:], 'steps': list(about['steps'])},
      shown,
    )
  assert wanted.shape == (4, 16, 16, 3)
  np.testing.assert_allclose(np.reshape(found, wanted.shape), wanted, atol=1e-5)


@pytest.mark.skipif(
  not (browsing.BROWSER and browsing.DRIVER), reason='Chromium and its driver are not installed'
)
@pytest.mark.parametrize('options', [{'rate': 25}, {'rate': 40}, {'fit': 'resample'}])
def test_silent_samples_are_prepared_as_here(options, resampled, tmp_path):
  given = {'length': 30, 'fit': 'pad', 'rates': (50, 50), 'smooth': 0.15, 'std': 2.0} | options
  built = inputs.build('imu', {'kind': 'signal', **given})
  about = {'shape': [30, 6], 'steps': built.steps()}
  rows, heard = exports.movement(1.4).astype(np.float32), np.ones(70, bool)
  heard[[*range(5), 20, 21, 22, 24, *range(60, 70)]] = False
  clip = run(Clip(rows * heard[:, None], np.repeat(heard[:, None], 2, 1)), about['steps'])
  told = [row.tolist() if there else None for row, there in zip(rows, heard, strict=True)]
  with serving.Served(resampled, OPTIONS) as served, browsing.browser(tmp_path) as d:
    d.get(f'http://{served.address}/')
    data, mask = d.execute_async_script(
      """const [input, rows, done] = arguments;
      import('./prepare.js').then(({ prepareSignal }) => done(
        prepareSignal(input, rows).map((one) => [...one])));""",
      about,
      told,
    )
  np.testing.assert_allclose(np.reshape(data, (30, 6)), clip.x, rtol=1e-4, atol=1e-5)
  np.testing.assert_array_equal(mask, clip.mask)
  assert 0 < np.count_nonzero((np.reshape(data, (30, 6)) == 0).all(1)) < 15


def test_what_a_browser_cannot_run_is_told(resampled, tmp_path):
  found = offers.find(str(resampled), 'float32', '', 1, OPTIONS)
  with pytest.raises(UserError, match=r'has no ort.wasm.min.mjs; npm pack onnxruntime-web'):
    local.add(found, str(tmp_path))
  for name in local.RUNTIME:
    (tmp_path / name).write_text('')
  with pytest.raises(UserError, match=r'no \.onnx file beside the others'):
    local.add(found, str(tmp_path))
  assert 'local' not in json.dumps([one.about for one in found.values()])
