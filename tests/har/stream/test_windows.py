"""Windows of a stream: what is said of each, and when nothing can be."""

import dataclasses

import numpy as np
import pytest

from har.errors import UserError
from har.stream import causal as causal_lib
from har.stream.exported import open_model
from har.stream.windows import Windows, judge
from tests import fakes
from tests.har.stream import exports


def decisions(windows, samples, rate=50.0):
  found = []
  for t, one in enumerate(samples):
    found += windows.push('imu', t / rate, one)
  return found + windows.end()


def test_a_recording_is_cut_from_its_first_instant_on(resampled):
  model = open_model(resampled)
  samples = exports.movement(6.0)
  windows = Windows(model, {'imu': 50.0}, seconds=1.28, step=0.5)
  found = decisions(windows, samples)
  assert [one.start for one in found] == [0.5 * k for k in range(10)]
  assert all(one.end == pytest.approx(one.start + 1.28) for one in found)
  for one in found:
    first = round(one.start * 50)
    inputs = Windows(model, {'imu': 50.0}, seconds=1.28).inputs['imu']
    for t, x in enumerate(samples[first : first + 64]):
      inputs.push(t / 50, x)
    logits = model.run(inputs.window(0.0, 1.28))['logits'][0]
    powers = np.exp(logits - logits.max())
    np.testing.assert_allclose(one.probabilities, powers / powers.sum(), atol=1e-6)


def test_without_a_length_a_window_is_as_long_as_recordings_were(resampled):
  windows = Windows(open_model(resampled), {'imu': 50.0})
  assert windows.seconds == pytest.approx(74 / 50)  # of 66 to 82 samples
  assert windows.step == pytest.approx(74 / 200)


def test_a_short_recording_is_one_window(resampled):
  windows = Windows(open_model(resampled), {'imu': 50.0}, seconds=2.0)
  (one,) = decisions(windows, exports.movement(0.5))
  assert one.known
  assert (one.start, one.end) == (0.0, 2.0)


@pytest.mark.parametrize('seconds', [0.6, 1.28])
def test_row_by_row_gives_what_whole_windows_give(causal, seconds):
  model = open_model(causal)
  samples = exports.movement(5.0)
  streamed = Windows(model, {'imu': 50.0}, seconds=seconds, step=0.25)
  whole = Windows(dataclasses.replace(model, step=None), {'imu': 50.0}, seconds=seconds, step=0.25)
  assert streamed._causal is not None
  assert whole._causal is None
  pairs = list(zip(decisions(streamed, samples), decisions(whole, samples), strict=True))
  assert len(pairs) > 10
  for one, other in pairs:
    np.testing.assert_allclose(one.probabilities, other.probabilities, atol=1e-5)
  assert np.ptp([one.probabilities[0] for one, _ in pairs]) > 1e-3


def test_only_the_last_row_is_left_when_a_window_ends(causal):
  model, calls = open_model(causal), []

  def counted(inputs):
    calls.append(1)
    return model.step.run(inputs)

  step = dataclasses.replace(model.step, run=counted)
  windows = Windows(dataclasses.replace(model, step=step), {'imu': 50.0}, seconds=0.6, step=0.2)
  at_end = []
  for t, one in enumerate(exports.movement(3.0)):
    before = len(calls)
    if windows.push('imu', t / 50, one):
      at_end.append(len(calls) - before)
  assert len(at_end) == 13
  assert max(at_end) <= 3  # windows that are open


def test_after_a_gap_live_windows_are_looked_at_as_a_whole(causal):
  model, calls = open_model(causal), []

  def counted(kind):
    run = (model if kind == 'whole' else model.step).run

    def call(inputs):
      calls.append(kind)
      return run(inputs)

    return call

  step = dataclasses.replace(model.step, run=counted('step'))
  samples = exports.movement(4.0)
  left = [t for t in range(200) if not 70 <= t < 90]
  found = {}
  for live in (True, False):
    calls.clear()
    windows = Windows(
      dataclasses.replace(model, run=counted('whole'), step=step),
      {'imu': 50.0},
      seconds=0.6,
      step=0.2,
      live=live,
    )
    found[live] = [d for t in left for d in windows.push('imu', t / 50, samples[t])]
    # At 1.8 s windows 5 and 6 have ended at once; those that begin in the gap go on.
    assert calls.count('whole') == (1 if live else 0)
    assert windows.passed_over == (1 if live else 0)
  by_start = {one.start: one.probabilities for one in found[False]}
  for one in found[True]:
    np.testing.assert_allclose(one.probabilities, by_start[one.start], atol=1e-5)


def test_frames_go_in_one_by_one(film, tmp_path):
  from har.stream import recordings

  model = open_model(film)
  pictures = np.random.default_rng(0).integers(0, 255, (60, 36, 48, 3), np.uint8)
  path = exports.film(tmp_path / 'a.mkv', pictures)
  (recording,) = recordings.open_files([str(path)], model)
  found = {}
  for kind in ('step', 'whole'):
    one = model if kind == 'step' else dataclasses.replace(model, step=None)
    windows = Windows(one, {'video': recording.rate}, seconds=1.0, step=0.25)
    assert (windows._causal is not None) == (kind == 'step')
    found[kind] = [d for item in recording.items() for d in windows.push(*item)] + windows.end()
  assert len(found['step']) == len(found['whole']) == 13
  for one, other in zip(found['step'], found['whole'], strict=True):
    assert one.start == other.start
    np.testing.assert_allclose(one.probabilities, other.probabilities, atol=1e-5)


def test_what_looks_ahead_is_not_streamed(resampled, film):
  model = open_model(resampled)
  windows = Windows(model, {'imu': 50.0})
  assert not causal_lib.fits(model, windows.inputs['imu'])
  moving = open_model(film)
  one = Windows(moving, {'video': 15.0}).inputs['rgb']
  assert causal_lib.fits(moving, one)
  one.steps = [*one.steps[:1], {'operation': 'neighbours'}, *one.steps[1:]]
  assert not causal_lib.fits(moving, one)


def test_silence_is_no_decision_unless_the_model_can_do_without(resampled, both):
  samples = exports.movement(9.0)
  windows = Windows(open_model(resampled), {'imu': 50.0}, seconds=1.0, step=0.5)
  found = []
  for t in (*range(200), *range(350, 450)):
    found += windows.push('imu', t / 50, samples[t])
  known = [one.start for one in found if one.known]
  silent = [one for one in found if not one.known]
  assert known == [0.5 * k for k in (*range(8), *range(13, 17))]
  assert all(one.lacking == ('imu',) for one in silent)

  alone = Windows(open_model(both), {'imu': 50.0}, seconds=1.0, step=0.5)
  one = decisions(alone, samples[:100])
  assert all(d.known and not d.lacking for d in one)


def test_a_source_that_is_late_is_not_waited_for_for_ever(both):
  samples = exports.movement(6.0)
  windows = Windows(
    open_model(both), {'imu': 50.0, 'video': 15.0}, seconds=1.0, step=0.5, live=True
  )
  found = [d for t, x in enumerate(samples) for d in windows.push('imu', t / 50, x)]
  assert [one.start for one in found] == [0.5 * k for k in range(8)]
  assert all(one.known and one.lacking == ('rgb',) for one in found)


def test_a_source_that_is_needed_is_asked_for(resampled, film):
  with pytest.raises(UserError, match='the model needs imu for its input imu'):
    Windows(open_model(resampled), {'video': 15.0})
  with pytest.raises(UserError, match='the model needs video for its input rgb'):
    Windows(open_model(film), {'imu': 50.0})


def test_an_error_is_that_of_training(anomaly):
  model = open_model(anomaly)
  windows = Windows(model, {'imu': 50.0}, seconds=1.0, step=0.5)
  samples = exports.movement(1.0)
  (one,) = decisions(windows, samples)
  assert one.probabilities is None
  inputs = Windows(model, {'imu': 50.0}).inputs['imu']
  for t, x in enumerate(samples):
    inputs.push(t / 50, x)
  given = inputs.window(0.0, 1.0)
  back = model.run(given)['reconstruction_imu']
  assert one.score == pytest.approx(np.square(back - given['imu']).mean(), rel=1e-5)
  # Padding does not count.
  masked = {'imu': np.ones((1, 4, 2)), 'imu_mask': np.array([[1.0, 1.0, 0.0, 0.0]])}
  outputs = {'reconstruction_imu': np.array([[[1, 2], [1, 1], [9, 9], [9, 9]]], float)}
  assert judge(outputs, masked) == (None, pytest.approx(0.25))


@pytest.mark.parametrize(
  ('encoder', 'head'),
  [
    (exports.CNN, {'kind': 'changes', 'bottleneck': 4, 'features': 8}),
    ({'kind': 'samples'}, {'kind': 'between', 'features': (8,), 'kernel': 3, 'hidden': 8}),
  ],
)
def test_a_model_may_tell_its_anomaly_itself(encoder, head, tmp_path):
  data = fakes.FakeDataset(metadata=exports.FACTS | {'abnormal': ('wave',)})
  inputs, encoders, objective = {'imu': {'length': 40}}, {'imu': encoder}, {'kind': 'familiar'}
  folder = exports.write(tmp_path / 'run', inputs, encoders, data, head, objective=objective)
  model = open_model(folder)
  told = model.about['outputs']['anomaly']['meaning']
  assert told == 'how unlike the example is to what was trained on'
  windows = Windows(model, {'imu': 50.0}, seconds=1.0, step=0.5)
  samples = exports.movement(1.0)
  (one,) = decisions(windows, samples)
  assert one.probabilities is None
  other = Windows(model, {'imu': 50.0}).inputs['imu']
  for t, x in enumerate(samples):
    other.push(t / 50, x)
  assert one.score == float(model.run(other.window(0.0, 1.0))['anomaly'][0]) > 0


def test_what_tells_nothing_of_a_window_is_refused(anomaly):
  model = open_model(anomaly)
  told = {'embedding_imu': model.about['outputs']['reconstruction_imu']}
  other = dataclasses.replace(model, about={**model.about, 'outputs': told})
  with pytest.raises(UserError, match='gives embedding_imu, which is neither a class nor a score'):
    Windows(other, {'imu': 50.0})
