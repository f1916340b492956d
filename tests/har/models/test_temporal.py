"""Temporal layers: parity with PyTorch, padding, causality and streams."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from har.errors import UserError
from har.models.mode import UNROLLED, Mode
from har.models.temporal import GRU, LSTM, TCN

RNG = np.random.default_rng(0)
X = RNG.standard_normal((3, 12, 5)).astype(np.float32)
LENGTHS = [12, 7, 1]
MASK = np.arange(12) < np.array(LENGTHS)[:, None]
CAUSAL = [LSTM(8, 2), GRU(8, 2), TCN((8, 6), kernel=3)]
NAMES = ['lstm', 'gru', 'tcn']
# Our gates among PyTorch's: input, forget, output, candidate; reset, update, candidate.
ORDER = {'LSTM': (0, 1, 3, 2), 'GRU': (0, 1, 2)}


def from_torch(layers):
  """Our parameters from those of `torch.nn.LSTM` or `torch.nn.GRU`."""
  kind = type(layers).__name__
  state = {name: leaf.detach().numpy() for name, leaf in layers.state_dict().items()}

  def gates(name):
    parts = np.split(state[name], len(ORDER[kind]))
    return np.concatenate([parts[i] for i in ORDER[kind]]).T

  params = {}
  for i in range(layers.num_layers):
    for way, end in (('forward', ''), ('backward', '_reverse'))[: 1 + layers.bidirectional]:
      inputs, hidden = gates(f'bias_ih_l{i}{end}'), gates(f'bias_hh_l{i}{end}')
      recurrent = {'kernel': gates(f'weight_hh_l{i}{end}')}
      if kind == 'GRU':
        recurrent['bias'] = hidden
      else:
        inputs = inputs + hidden
      params[f'{way}_{i}'] = {
        'input': {'kernel': gates(f'weight_ih_l{i}{end}'), 'bias': inputs},
        'recurrent': recurrent,
      }
  return {'params': params}


@pytest.mark.parametrize('mode', [Mode(), UNROLLED], ids=['scan', 'unrolled'])
@pytest.mark.parametrize('bidirectional', [False, True], ids=['one', 'both'])
@pytest.mark.parametrize('kind', [LSTM, GRU])
def test_outputs_of_pytorch_with_padding(kind, bidirectional, mode):
  torch.manual_seed(0)
  layers = getattr(torch.nn, kind.__name__)(5, 8, 2, batch_first=True, bidirectional=bidirectional)
  with torch.no_grad():
    packed = torch.nn.utils.rnn.pack_padded_sequence(torch.tensor(X), LENGTHS, batch_first=True)
    expected, _ = torch.nn.utils.rnn.pad_packed_sequence(layers(packed)[0], batch_first=True)
    whole = layers(torch.tensor(X))[0].numpy()
  model, variables = kind(8, 2, bidirectional), from_torch(layers)
  garbage = np.where(MASK[..., None], X, 1e3).astype(np.float32)
  got = model.apply(variables, garbage, MASK, mode)
  np.testing.assert_allclose(got, expected.numpy(), atol=1e-5)
  np.testing.assert_allclose(model.apply(variables, X, None, mode), whole, atol=1e-5)
  shapes = jax.eval_shape(model.init, jax.random.key(0), X)
  assert jax.tree.map(jnp.shape, shapes) == jax.tree.map(jnp.shape, variables)


@pytest.mark.parametrize('model', CAUSAL, ids=NAMES)
def test_no_output_depends_on_a_later_sample(model):
  variables = model.init(jax.random.key(0), X)
  jacobian = jax.jacobian(lambda x: model.apply(variables, x[None])[0].sum(-1))(X[0])
  influence = np.abs(jacobian).sum(-1)  # [output, input]
  assert not np.triu(influence, 1).any()
  assert np.diag(influence).all()


@pytest.mark.parametrize('model', CAUSAL, ids=NAMES)
def test_a_stream_gives_the_outputs_of_the_whole_clip(model):
  variables = model.init(jax.random.key(0), X)
  carry = model.apply(variables, len(X), method='initial_carry')
  assert not any(np.any(leaf) for leaf in jax.tree.leaves(carry))
  outputs = []
  for t in range(X.shape[1]):
    carry, y = model.apply(variables, carry, X[:, t], method='step')
    outputs.append(y)
  np.testing.assert_allclose(np.stack(outputs, 1), model.apply(variables, X), atol=1e-5)


def test_residual_blocks_against_a_plain_convolution():
  model = TCN((2, 2), kernel=2)
  variables = model.init(jax.random.key(0), X[..., :2])
  seen = model.apply(variables, X[..., :2])
  x = X[..., :2]
  for i, dilation in enumerate((1, 2)):
    y = x
    for j in range(2):
      kernel = variables['params'][f'block_{i}'][f'conv_{j}']['kernel']
      earlier = np.pad(y, ((0, 0), (dilation, 0), (0, 0)))[:, :-dilation]
      # New batch norms divide by sqrt(1 + 1e-5).
      y = np.maximum((earlier @ kernel[0] + y @ kernel[1]) / np.sqrt(1 + 1e-5), 0)
    x = np.maximum(x + y, 0)
  np.testing.assert_allclose(seen, x, atol=1e-5)


def test_padding_stays_out_of_the_statistics_of_a_tcn():
  model = TCN((4,), kernel=3)
  variables = model.init(jax.random.key(0), X)
  found = []
  for filler in (0.0, 50.0):
    x = np.where(MASK[..., None], X, filler).astype(np.float32)
    y, updates = model.apply(variables, x, MASK, Mode(True), mutable=['batch_stats'])
    found.append((y, updates))
  for one, other in zip(*map(jax.tree.leaves, found), strict=True):
    np.testing.assert_allclose(one, other, atol=1e-6)
  assert not found[0][0][~MASK].any()


@pytest.mark.parametrize('model', [LSTM(8, 2, dropout=0.5), TCN((8,), dropout=0.5)])
def test_dropout_only_where_it_trains(model):
  variables = model.init(jax.random.key(0), X)

  def run(mode, seed):
    rngs = {'dropout': jax.random.key(seed)}
    return model.apply(variables, X, None, mode, rngs=rngs, mutable=['batch_stats'])[0]

  still = run(Mode(), 0)
  np.testing.assert_array_equal(still, run(Mode(True, ('other',)), 1))
  one, other = run(Mode(True), 0), run(Mode(True), 1)
  assert np.abs(one - other).max() > 0.01
  if isinstance(model, LSTM):
    # A feature is dropped for the whole clip or not at all.
    dropped = np.asarray(one) == 0
    assert np.any(dropped)
    np.testing.assert_array_equal(dropped.all(1), dropped.any(1))


def test_gradients_of_a_saturated_start_are_finite():
  model = LSTM(4, 1, bidirectional=True)
  variables = model.init(jax.random.key(0), X)
  grads = jax.grad(lambda v: (model.apply(v, X, MASK) ** 2).sum())(variables)
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(grads))


def test_two_directions_are_no_stream():
  model = LSTM(4, bidirectional=True, name='lstm')
  variables = model.init(jax.random.key(0), X)
  carry = model.apply(variables, 3, method='initial_carry')
  with pytest.raises(UserError, match='bidirectional: it cannot run on a stream'):
    model.apply(variables, carry, X[:, 0], method='step')
