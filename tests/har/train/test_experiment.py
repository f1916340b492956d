"""What a config's `dataset` section asks for is what an experiment gets, and whose a workdir is."""

import dataclasses
import json

import numpy as np
import pytest

from configs import base
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
  experiment.open_experiment(config(validation_subjects=(3,)), tmp_path)
  kept = json.loads((tmp_path / 'config.json').read_text())
  assert kept['dataset']['validation_subjects'] == [3]
  with pytest.raises(UserError, match=r'validation_subjects is \[3\] there and \[1\] here'):
    experiment.open_experiment(config(validation_subjects=(1,)), tmp_path)


def test_a_workdir_is_known_before_data_are_prepared(tmp_path, monkeypatch):
  experiment.open_experiment(config(), tmp_path)
  monkeypatch.setattr(dataset_lib, 'load', None)
  with pytest.raises(UserError, match='folds is 5 there and 6 here'):
    experiment.open_experiment(config(folds=6), tmp_path)


def test_abnormal_classes_may_change_after_training(tmp_path):
  experiment.open_experiment(config(), tmp_path)
  experiment.open_experiment(config(abnormal=('wave',)), tmp_path)


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
    return experiment.open_experiment(c, tmp_path)

  opened('wave')
  opened('wave')
  with pytest.raises(UserError, match=r"left out of imu is \['wave'\] there and \['swipe_left'\]"):
    opened('swipe_left')


def test_a_split_without_examples(tmp_path):
  for protocol in ({}, {'protocol': 'official'}):
    with pytest.raises(UserError, match='--split=validation: no trial is in it'):
      experiment.open_experiment(config(**protocol), tmp_path, split='validation')
  assert not (tmp_path / 'config.json').exists()


@pytest.mark.parametrize(
  ('changes', 'part'),
  [
    ({'trials': 5}, "test is '24 examples "),
    ({'metadata': fakes.METADATA | {'train_subjects': (1, 2)}}, "test is '24 examples "),
    ({'class_names': ('swipe_left', 'wave', 'swipe_right')}, "test is '24 examples "),
  ],
)
def test_a_workdir_remembers_its_data(changes, part, tmp_path, fake_dataset, monkeypatch):
  experiment.open_experiment(config(), tmp_path)
  experiment.open_experiment(config(), tmp_path)
  before = (tmp_path / 'data.json').read_bytes()
  changed = dataclasses.replace(fake_dataset, **changes)
  monkeypatch.setattr(dataset_lib, 'load', lambda *_, **__: changed)
  with pytest.raises(UserError, match=f'was trained with other data: {part}.*another --workdir'):
    experiment.open_experiment(config(), tmp_path)
  assert (tmp_path / 'data.json').read_bytes() == before
