"""Hidden classes: nothing that trains or chooses a model can read what is hidden."""

import numpy as np
import pytest

from configs import base
from har.data import hidden, loader, windows
from har.data.protocols import PARTS, SplitOptions, Splits, make_splits
from har.errors import UserError
from tests import fakes

ALL = ('imu', 'rgb', 'skeleton')
INPUTS = {name: {'optional': True} for name in ALL}


def config(**changes):
  return {**base.experiment('fake', ALL).dataset.to_dict(), **changes}


def split(dataset):
  options = SplitOptions(validation_subjects=(3,))
  return make_splits(dataset.index, dataset.metadata, options)


def hide(dataset=None, inputs=None, seed=0, **changes):
  dataset = dataset or fakes.FakeDataset()
  splits = split(dataset)
  return hidden.hide(dataset, splits, config(**changes), inputs or INPUTS, seed), splits


def lengths(dataset, field):
  records = dataset.records((field,))
  return np.array([len(records[i][field]) for i in range(len(records))])


def test_fields_are_empty_wherever_they_are_not_tested():
  dataset, splits = hide(hidden_from=('imu', 'rgb'), hidden=('swipe_left',))
  whole, own = fakes.FakeDataset(), dataset.index.label == 1
  tested = np.isin(np.arange(len(own)), splits.test)
  assert own[splits.validation].any()
  for field in ALL:
    gone = own & ~tested & (field in ('imu', 'rgb'))
    expected = np.where(gone, 0, lengths(whole, field))
    np.testing.assert_array_equal(lengths(dataset, field), expected)
  assert dataset.hidden == {'imu': ('swipe_left',), 'rgb': ('swipe_left',)}
  assert dataset.unknown(['imu']).tolist() == [False, True, False]
  assert not dataset.unknown(['imu', 'skeleton']).any()
  assert whole.hidden == {}


@pytest.mark.parametrize('field', ALL)
def test_what_is_hidden_is_neither_trained_on_nor_present(field):
  dataset, splits = hide(hidden_from=(field,), hidden=('wave',))
  label = dataset.index.label
  alone = fakes.inputs_of({field: INPUTS[field]})
  records = dataset.records((field,))
  learnt = loader.recorded(records, splits.train, alone)
  np.testing.assert_array_equal(learnt, splits.train[label[splits.train] > 0])
  tested = loader.recorded(records, splits.test, alone)
  np.testing.assert_array_equal(tested, splits.test)
  both = fakes.inputs_of({name: INPUTS[name] for name in ('imu', 'rgb', 'skeleton')})
  records = dataset.records(ALL)
  for part in ('train', 'test'):
    positions = getattr(splits, part)
    (batch,) = loader.eval_batches(records, positions, both, batch_size=len(positions))
    for name in ALL:
      gone = (batch['label'] == 0) & (name == field) & (part == 'train')
      np.testing.assert_array_equal(batch[f'{name}_present'], ~gone)
      assert not batch[name][gone].any()


def test_what_tells_when_a_sensor_was_heard_is_hidden_too():
  dataset, splits = hide(fakes.SilentDataset(), hidden_from=('imu',), hidden=('wave',))
  inputs = fakes.inputs_of({'imu': {'rates': (50.0, 50.0), 'length': 80}})
  records = dataset.records(('imu',))
  hidden_ones = splits.train[dataset.index.label[splits.train] == 0]
  assert all(records[i]['imu_mask'].shape == (0, 2) for i in hidden_ones)
  assert not len(loader.recorded(records, hidden_ones, inputs))


def test_windows_of_what_is_hidden_are_empty():
  dataset, splits = hide(hidden_from=('imu',), hidden=('wave',))
  config = {'seconds': 0.5, 'step': 0.5}
  inputs = {'imu': {'optional': True, 'length': 25}, 'skeleton': {'length': 15}}
  windowed, parts = windows.cut(dataset, splits, config, inputs)
  assert windowed.hidden == dataset.hidden
  records, label = windowed.records(('imu', 'skeleton')), windowed.index.label
  for part in PARTS[:3]:
    for i in getattr(parts, part):
      assert len(records[i]['imu']) == (0 if label[i] == 0 and part != 'test' else 25)
      assert len(records[i]['skeleton']) == 15


def test_numbers_of_classes_are_drawn_by_the_seed_and_nested():
  index = fakes.FakeDataset(class_names=tuple('abcdefghi')).index
  splits = make_splits(index, fakes.METADATA, SplitOptions())
  found = {
    (seed, count): hidden.draw(index, splits, 9, count, seed)
    for seed in range(4)
    for count in (1, 3, 5)
  }
  for (seed, count), drawn in found.items():
    assert drawn.sum() == count
    assert not (drawn & ~found[seed, 5]).any()
    np.testing.assert_array_equal(drawn, hidden.draw(index, splits, 9, count, seed))
  assert len({found[seed, 3].tobytes() for seed in range(4)}) > 1
  # A class that is not tested is not worth hiding.
  lacking = Splits(splits.train, splits.validation, splits.test[index.label[splits.test] < 8], [])
  assert not any(hidden.draw(index, lacking, 9, 7, seed)[8] for seed in range(9))


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    ({'hidden_from': ('imu',)}, r"hidden_from=\('imu',\): needs config.dataset.hidden"),
    ({'hidden': 1}, r'hidden_from=\(\): needs config.dataset.hidden, and the other way round'),
    ({'hidden_from': ('depth',), 'hidden': 1}, "no input reads 'depth'; there are imu, rgb"),
    ({'hidden_from': ('imu',), 'hidden': 3}, 'hidden=3: must be below 3, the classes that have'),
    ({'hidden_from': ('imu',), 'hidden': ('jump',)}, "hidden: 'jump' is no class of fake: wave"),
  ],
)
def test_wrong_options_are_told(changes, message):
  with pytest.raises(UserError, match=message):
    hide(**changes)


def test_an_input_that_takes_no_empty_field_is_named():
  inputs = {'coarse': {'kind': 'signal', 'field': 'imu'}}
  with pytest.raises(UserError, match=r'needs --config\.inputs\.coarse\.optional=True'):
    hide(inputs=inputs, hidden_from=('imu',), hidden=1)


def test_without_the_options_nothing_is_changed():
  dataset = fakes.FakeDataset()
  assert hidden.hide(dataset, split(dataset), config(), INPUTS, 0) is dataset
