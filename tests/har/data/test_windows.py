import pickle

import numpy as np
import pytest

from har.data import inputs, loader, protocols, windows
from har.errors import UserError
from tests import fakes

# Of 66 to 82 samples at 50 Hz: 1.32 to 1.64 s.
HALVES = {'seconds': 0.5, 'step': 0.25}
INPUTS = {'imu': {'length': 25, 'fit': 'pad'}}


def cut(dataset, config, given=INPUTS, **options):
  options = protocols.SplitOptions(**options)
  splits = protocols.make_splits(dataset.index, dataset.metadata, options)
  return windows.cut(dataset, splits, config, given)


def test_without_a_length_nothing_changes():
  dataset = fakes.FakeDataset()
  splits = protocols.make_splits(dataset.index, dataset.metadata)
  for config in ({}, {'seconds': 0.0, 'step': 0.0, 'evaluate': 'window'}):
    assert windows.cut(dataset, splits, config, INPUTS) == (dataset, splits)


@pytest.mark.parametrize('config', [{'step': 1.0}, {'evaluate': 'recording'}])
def test_options_of_no_windows_are_an_error(config):
  with pytest.raises(UserError, match=r'dataset\.windows: without seconds'):
    cut(fakes.FakeDataset(), config)


@pytest.mark.parametrize(
  ('config', 'message'),
  [
    ({'seconds': -1}, r'dataset\.windows\.seconds=-1: must be a finite number, at least 0'),
    ({'seconds': 1, 'evaluate': 'all'}, r"dataset\.windows\.evaluate='all': must be one of"),
    ({'length': 1}, r'dataset\.windows\.length=1: no such option'),
  ],
)
def test_wrong_options_are_an_error(config, message):
  with pytest.raises(UserError, match=message):
    cut(fakes.FakeDataset(), config)


@pytest.mark.parametrize(
  ('given', 'rows'),
  [
    ({'length': 24, 'fit': 'pad'}, 25),
    ({'length': 24, 'fit': 'pad', 'rates': (50.0, 25.0)}, 25),
    ({'length': 12, 'fit': 'pad', 'rates': (50.0, 25.0), 'rate': 26.0}, 13),
  ],
)
def test_windows_of_which_an_input_sees_a_part_are_an_error(given, rows):
  message = rf'seconds=0\.5 are {rows} samples, and inputs\.imu takes the middle {rows - 1} of them'
  with pytest.raises(UserError, match=message):
    cut(fakes.SilentDataset(), HALVES, {'imu': given})
  assert cut(fakes.SilentDataset(), HALVES, {'imu': given | {'length': rows}})[0].step == 0.25
  assert cut(fakes.FakeDataset(), HALVES, {'imu': {'length': 7, 'fit': 'resample'}})[0].step == 0.25


def test_a_rate_that_is_not_known_is_an_error():
  dataset = fakes.FakeDataset(metadata=fakes.METADATA | {'rates': {'rgb': 15.0}})
  with pytest.raises(UserError, match=r'fake does not tell the rate of imu'):
    cut(dataset, HALVES)


def test_a_column_that_would_be_replaced_is_an_error():
  class Own(fakes.FakeDataset):
    @property
    def index(self):
      index = super().index
      return protocols.Index({**index.columns, 'recording': index.trial})

  with pytest.raises(UserError, match="have a column 'recording' of their own"):
    cut(Own(), HALVES)


def test_rows_of_a_signal_and_its_index():
  dataset = fakes.FakeDataset()
  windowed, _ = cut(dataset, HALVES)
  recordings, records = dataset.records(['imu']), windowed.records(['imu'])
  counts = [(len(one['imu']) - 25 + 0.5) // 12.5 + 1 for one in recordings]
  assert np.bincount(windowed.recording).tolist() == counts
  assert len(records) == len(windowed.index) == sum(counts)
  assert len(set(windowed.index.key)) == len(windowed.index)
  i = int(counts[0])  # the second recording's first window
  assert windowed.index.key[i : i + 2].tolist() == ['a1_s1_t2@0.00', 'a1_s1_t2@0.25']
  assert windowed.index.recording[i] == 'a1_s1_t2'
  assert windowed.index.start[i + 1] == 0.25
  for at, first in ((i, 0), (i + 1, 13), (i + 2, 25)):
    np.testing.assert_array_equal(records[at]['imu'], recordings[1]['imu'][first : first + 25])
    assert records[at]['label'] == recordings[1]['label']
    assert records[at]['key'] == windowed.index.key[at]
  assert windowed.index.subject[i] == 1
  assert windowed.modalities == dataset.modalities
  assert len(pickle.loads(pickle.dumps(records))) == len(records)


def test_no_recording_is_parted():
  dataset = fakes.FakeDataset()
  windowed, splits = cut(dataset, HALVES, validation_subjects=(3,), train_fraction=0.5)
  whole = protocols.make_splits(
    dataset.index,
    dataset.metadata,
    protocols.SplitOptions(validation_subjects=(3,), train_fraction=0.5),
  )
  found = [set(windowed.index.recording[getattr(splits, part)]) for part in protocols.PARTS]
  assert sum(map(len, found)) == len(dataset.index)
  for part, keys in zip(protocols.PARTS, found, strict=True):
    assert keys == set(dataset.index.key[getattr(whole, part)])
  every = np.concatenate([getattr(splits, part) for part in protocols.PARTS])
  assert sorted(every) == list(range(len(windowed.index)))
  # A fraction is one of recordings: 3 of 6.
  assert len(found[0]) == 3


def test_a_short_recording_is_one_window_with_its_last_row_held():
  windowed, _ = cut(fakes.FakeDataset(), {'seconds': 2.0}, {'imu': {'length': 100}})
  assert len(windowed.index) == 24
  (first, *_) = fakes.FakeDataset().records(['imu'])
  x = windowed.records(['imu'])[0]['imu']
  assert x.shape == (100, 6)
  np.testing.assert_array_equal(x[: len(first['imu'])], first['imu'])
  assert (x[len(first['imu']) :] == first['imu'][-1]).all()


def test_modalities_are_cut_at_the_same_seconds():
  # 1.32 s of the sensor and 11 frames, 0.73 s, of the shortest video.
  given = {'imu': {'length': 20}, 'rgb': {'frames': 4}, 'skeleton': {'length': 12}}
  windowed, _ = cut(fakes.FakeDataset(), {'seconds': 0.4, 'step': 0.2}, given)
  assert np.bincount(windowed.recording)[0] == 2
  recording = fakes.FakeDataset().records(['rgb', 'imu', 'skeleton'])[0]
  piece = windowed.records(['rgb', 'imu', 'skeleton'])[1]
  assert piece['rgb'] == recording['rgb'][3:9]
  np.testing.assert_array_equal(piece['imu'], recording['imu'][10:30])
  np.testing.assert_array_equal(piece['skeleton'], recording['skeleton'][6:18])


def test_sensors_with_rates_of_their_own_and_their_masks():
  class TwoRates(fakes.SilentDataset):
    def records(self, modalities):
      records = super().records(modalities)
      for one in records:
        half = len(one['imu']) // 2
        one['imu'][half:, 3:], one['imu_mask'][half:, 1] = 0, False
      return records

  given = {'imu': {'length': 25, 'fit': 'pad', 'rates': (50.0, 25.0)}}
  windowed, _ = cut(TwoRates(), HALVES, given)
  records = windowed.records(['imu'])
  second = int(np.flatnonzero(windowed.recording == 1)[1])
  whole, piece = TwoRates().records(['imu'])[1], records[second]
  np.testing.assert_array_equal(piece['imu'][:, :3], whole['imu'][13:38, :3])
  np.testing.assert_array_equal(piece['imu'][:13, 3:], whole['imu'][6:19, 3:])
  assert piece['imu_mask'].sum(0).tolist() == [25, 13]
  example = loader.ReadExample(records, fakes.inputs_of(given))(second)
  assert example['imu_streams'].sum(0).tolist() == [25, 13]
  lacking = int(np.flatnonzero(windowed.recording == 0)[0])
  assert not records[lacking]['imu_mask'].any()


def test_two_inputs_of_one_field_must_agree_on_its_rates():
  given = {
    'imu': {'rates': (50.0, 50.0)},
    'slow': {'field': 'imu', 'kind': 'signal', 'rates': (50.0, 25.0)},
  }
  with pytest.raises(UserError, match=r'inputs\.slow\.rates'):
    cut(fakes.SilentDataset(), HALVES, given)


def test_what_clients_have_to_cut():
  windowed, _ = cut(fakes.FakeDataset(), HALVES)
  (one,) = windowed.steps('imu')
  assert (one['operation'], one['seconds'], one['step'], one['rate']) == ('window', 0.5, 0.25, 50.0)


@pytest.mark.parametrize('length', [16, 20, 300, 330])
@pytest.mark.parametrize('field', ['imu', 'skeleton'])
def test_resampling_by_more_than_a_factor_is_refused_or_warned_of(field, length):
  dataset = fakes.FakeDataset()  # of 66 to 82 samples
  splits = protocols.make_splits(dataset.index, dataset.metadata)
  squeezed = length < 100
  worst, count = ('a1_s4_t2', 82) if squeezed else ('a1_s1_t1', 66)
  factor = count / length if squeezed else length / count
  text = (
    f"inputs.{field}: fit='resample' {'squeezes' if squeezed else 'stretches'} the {count} samples "
    f'of {worst} into length={length}, {factor:.3g} times'
  )

  def check(**options):
    config = {field: {'length': length, **options}}
    return inputs.check_records(dataset, splits, fakes.inputs_of(config))

  for options in ({}, {'most_resampling': factor - 0.01}):
    if squeezed:
      with pytest.raises(UserError) as error:
        check(**options)
      assert str(error.value).startswith(text)
      assert '\n' not in str(error.value)
      assert 'config.dataset.windows.seconds' in str(error.value)
    else:
      assert check(**options) == [text]
  assert check(fit='pad') == check(most_resampling=factor) == []


def test_records_that_are_not_used_may_be_of_any_length():
  dataset = fakes.FakeDataset()
  splits = protocols.make_splits(dataset.index, dataset.metadata)
  lengths = np.array([len(one['imu']) for one in dataset.records(['imu'])])
  given = fakes.inputs_of({'imu': {'length': 16, 'most_resampling': lengths.max() / 16 - 0.01}})
  longest = lengths == lengths.max()
  parts = {p: getattr(splits, p)[~longest[getattr(splits, p)]] for p in protocols.PARTS}
  with pytest.raises(UserError):
    inputs.check_records(dataset, splits, given)
  unused = np.flatnonzero(longest)
  inputs.check_records(dataset, protocols.Splits(**parts | {'unused': unused}), given)


def test_video_and_absent_sensors_are_not_checked():
  dataset = fakes.SilentDataset()
  splits = protocols.make_splits(dataset.index, dataset.metadata)
  given = fakes.inputs_of({'rgb': {'frames': 200}, 'imu': {'length': 75, 'rates': (50.0, 50.0)}})
  inputs.check_records(dataset, splits, given)
  silent = {'a': 0, 'b': 75}
  given['imu'].check_lengths(silent)
  with pytest.raises(UserError, match='of c into'):
    given['imu'].check_lengths(silent | {'c': 301})


def test_windows_are_not_resampled_by_much():
  windowed, splits = cut(fakes.FakeDataset(), HALVES)
  inputs.check_records(windowed, splits, fakes.inputs_of({'imu': {'length': 100}}))


class Struck(fakes.FakeDataset):
  """In every recording its thirty-first row is the strongest."""

  def records(self, modalities):
    records = super().records(modalities)
    for one in records:
      one['imu'][30, 1] = 50.0
    return records


def test_abnormal_recordings_train_by_their_peaks():
  dataset = Struck(metadata={**fakes.METADATA, 'abnormal': ('wave',)})
  every, whole = cut(dataset, HALVES)
  windowed, splits = cut(dataset, HALVES | {'abnormal': 'peak'})
  np.testing.assert_array_equal(splits.test, whole.test)
  abnormal = windowed.index.label == 0
  train = np.isin(np.arange(len(windowed.index)), splits.train)
  before = np.isin(np.arange(len(every.index)), whole.train)
  np.testing.assert_array_equal(train[~abnormal], before[~abnormal])
  # Of 25 rows each, those from rows 13 and 25 on hold row 30.
  assert set(windowed.index.start[train & abnormal].tolist()) == {0.25, 0.5}
  assert set(windowed.index.start[before & abnormal].tolist()) > {0.25, 0.5}
  np.testing.assert_array_equal(splits.unused, np.flatnonzero(before & ~train))


def test_peaks_need_an_abnormal_class():
  with pytest.raises(UserError, match='names no abnormal class'):
    cut(fakes.FakeDataset(), HALVES | {'abnormal': 'peak'})
