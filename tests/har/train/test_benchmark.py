"""The benchmark's steps are the ones it names, and its report's figures are right."""

import jax
import numpy as np
import pytest
import torch

from har.train import benchmark, benchmark_torch


def test_steps_run_in_turn_and_all_rounds_are_kept():
  calls = []
  sides = {
    side: {name: lambda at=(side, name): calls.append(at) for name in ('forward', 'train step')}
    for side in ('ours', 'torch')
  }
  seconds = benchmark.interleave(sides, rounds=2)
  one_round = [
    ('ours', 'forward'),
    ('torch', 'forward'),
    ('ours', 'train step'),
    ('torch', 'train step'),
  ]
  assert calls == one_round * 3
  assert [len(values) for side in seconds.values() for values in side.values()] == [2] * 4


def test_table():
  ours = {'forward': [1.0, 3.0, 2.0], 'train step': [4.0], 'stage-2 step': [2.0]}
  theirs = {'forward': [4.0], 'train step': [2.0], 'stage-2 step': [1.0]}
  lines = benchmark.model_table({'ours': ours, 'torch': theirs}, 8)
  forward = ['forward', '2.0000', '1.0000', 's', '4.0', '4.0000', '4.0000', 's', '0.50']
  assert lines[2].split() == forward
  assert lines[3].endswith('2.00')
  assert lines[-1] == 'stage-2 step / train step: 0.50'
  assert benchmark.model_table({'ours': ours}, 8)[2].split() == forward[:5]


def test_our_steps_run():
  clips = np.random.default_rng(0).standard_normal((2, 4, 16, 16, 3), np.float32)
  labels = np.arange(2, dtype=np.int32)
  encoder = {'kind': 's3d', 'width': 0.125, 'conv': 'plain'}
  steps = benchmark.make_steps(clips, labels, encoder, 'float32')
  assert list(steps) == ['forward', 'train step', 'stage-2 step']
  logits = steps['forward']()['logits']
  assert logits.shape == (2, benchmark.CLASSES)
  assert bool(jax.numpy.isfinite(logits).all())
  steps['stage-2 step']()


# MobileNetV2's own 3,504,872 have a classifier of 1000; PyTorch's LSTM has two biases.
LSTM = 4 * 128 * (1280 + 128 + 2)
PARAMETERS = {
  's3d': 8_320_048 - 400 * 1025 + 27 * 1025,
  'mobilenet_v2': 3_504_872 - 1000 * 1281 + LSTM + 27 * 129,
  'cnn1d_bn': 54 * 64 + 448 * 128 + 640 * 128 + 640 * 256 + 2 * 576 + 27 * 513,
  'lstm': 4 * 64 * (6 + 64 + 2) + 27 * 65,
}


@pytest.mark.parametrize('name', benchmark.TRAINED)
def test_pytorchs_stage_two_trains_only_the_named_layers(monkeypatch, name):
  nets = []
  new, memory = benchmark_torch.NETS[name]
  made = (lambda classes: nets.append(new(classes)) or nets[-1]), memory
  monkeypatch.setitem(benchmark_torch.NETS, name, made)
  shape = (2, 20, 6) if name in ('cnn1d_bn', 'lstm') else (2, 16, 32, 32, 3)
  examples = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
  before_threads = torch.get_num_threads()
  trained = benchmark.TRAINED[name]
  steps = benchmark_torch.make_steps(examples, np.arange(2), 27, trained, 1, name)
  _, full, partial = nets
  assert sum(p.numel() for p in full.parameters()) == PARAMETERS[name]
  before = {name: value.clone() for name, value in partial.state_dict().items()}
  steps['stage-2 step']()
  after = partial.state_dict()
  changed = {name.split('.')[0] for name in before if not torch.equal(before[name], after[name])}
  assert changed == set(trained)
  torch.set_num_threads(before_threads)
