"""The suite holds what it should, and is drawn from seed, corruption and key alone."""

import pickle

import numpy as np
import pytest

from har.data.corrupt import suite
from har.data.corrupt.suite import Case, Corrupted
from tests import fakes

INPUTS = fakes.inputs_of({'imu': {'length': 20}, 'rgb': {'frames': 4, 'resize': 20, 'size': 16}})


@pytest.fixture(scope='module')
def fields():
  return suite.fields_of(fakes.FakeDataset(), INPUTS.values(), np.arange(12))


def test_the_suite_of_imu_and_video(fields):
  cases, notes = suite.cases(fields)
  assert notes == []
  kinds = {(c.group, c.what) for c in cases if c.group in fields}
  assert {w for g, w in kinds if g == 'imu'} >= {
    *('noise', 'bias', 'scale', 'rotation', 'dropped samples', 'lower rate'),
    *('clipped range', 'silent axis'),
  }
  assert {w for g, w in kinds if g == 'rgb'} >= {
    *('dark', 'noise', 'blur', 'frozen', 'dropped frames', 'late frames', 'occlusion'),
    'lower resolution',
  }
  shifts = sorted(c.severity for c in cases if c.group == suite.SHIFT)
  assert shifts == [-1, -0.5, -0.25, -0.1, 0.1, 0.25, 0.5, 1]
  assert {c.field for c in cases if c.group == suite.SHIFT} == {'imu'}
  assert [c.what for c in cases if c.group == suite.MISSING] == ['imu', 'rgb']
  assert len(kinds) + 8 + 2 >= 25
  assert len({(c.group, c.what, c.severity) for c in cases}) == len(cases)


def test_without_a_rate_nothing_is_said_to_be_shifted():
  data = fakes.FakeDataset(metadata={**fakes.METADATA, 'rates': {}})
  cases, notes = suite.cases(suite.fields_of(data, INPUTS.values(), np.arange(12)))
  assert not any(c.group == suite.SHIFT or c.what == 'late frames' for c in cases)
  assert [note.split(':')[0] for note in notes] == [
    'late frames of rgb are not tried',
    'imu is not shifted',
  ]


def corrupted(fields, case, seed=0, positions=range(24)):
  data = fakes.FakeDataset()
  records = data.records(tuple(fields))
  read = Corrupted(records, data.index.key, case, fields[case.field], seed)
  return {i: read[i] for i in positions}


@pytest.mark.parametrize('name', ['imu', 'rgb'])
def test_what_is_drawn_depends_on_seed_and_key(fields, name):
  case = Case(name, 'noise', name, 0.3 if name == 'imu' else 25.0)
  one, other = corrupted(fields, case), corrupted(fields, case, positions=[7, 3])
  for i in (3, 7):
    a, b = INPUTS[name].read(one[i], None)[name], INPUTS[name].read(other[i], None)[name]
    np.testing.assert_array_equal(a, b)
  again = INPUTS[name].read(corrupted(fields, case, seed=1, positions=[3])[3], None)[name]
  assert (again != INPUTS[name].read(one[3], None)[name]).mean() > 0.5
  plain = fakes.FakeDataset().records(('imu', 'rgb'))[3]
  untouched = 'rgb' if name == 'imu' else 'imu'
  assert len(one[3][untouched]) == len(plain[untouched])
  assert np.array_equal(one[3][untouched], plain[untouched])


def test_worker_processes_can_have_it(fields):
  data, case = fakes.FakeDataset(), Case('rgb', 'dark', 'rgb', 0.5)
  read = Corrupted(data.records(('rgb',)), data.index.key, case, fields['rgb'], 0)
  copy = pickle.loads(pickle.dumps(read))
  a, b = (INPUTS['rgb'].read(one[5], None)['rgb'] for one in (read, copy))
  np.testing.assert_array_equal(a, b)
  bright = INPUTS['rgb'].read(data.records(('rgb',))[5], None)['rgb']
  assert np.abs(a - bright * 0.5).max() <= 1


def test_the_wrong_recording_is_of_another_class(fields):
  data, case = fakes.FakeDataset(), Case(suite.WRONG, 'imu', 'imu')
  labels, keys, test = data.index.label, data.index.key, np.arange(12, 24)
  others = suite.draw_others(test, labels, keys, [13], seed=0)
  assert set(others) == set(test.tolist())
  assert 13 not in others.values()
  assert all(labels[i] != labels[j] for i, j in others.items())
  assert others == suite.draw_others(test[::-1], labels, keys, [13], seed=0)
  records = data.records(('imu', 'rgb'))
  read = Corrupted(records, keys, case, fields['imu'], 0, others=others)[14]
  np.testing.assert_array_equal(read['imu'], records[others[14]]['imu'])
  assert read['rgb'] == records[14]['rgb']
  kept = Corrupted(records, keys, case, fields['imu'], 0, others=others, keep_length=True)[14]
  assert len(kept['imu']) == len(records[14]['imu'])
