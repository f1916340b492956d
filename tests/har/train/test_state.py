import jax
import jax.numpy as jnp
import pytest

from har.errors import UserError
from har.models.mode import Mode, matches
from har.train.state import TrainState, inference_variables, merge, partition

PARAMS = {
  'imu': {'conv0': {'kernel': 1}},
  'rgb': {'Mixed_4b': {'branch0': {'kernel': 2}}, 'Mixed_4c': {'branch0': {'kernel': 3}}},
  'head': {'logits': {'kernel': 4}},
}


def test_patterns_cover_everything_below_what_they_name():
  assert matches(('rgb', 'Mixed_4c', 'branch0', 'kernel'), ['rgb/Mixed_4c'])
  assert matches(('rgb', 'Mixed_4c', 'branch0', 'kernel'), ['*/Mixed_*'])
  assert not matches(('rgb', 'Mixed_4b'), ['rgb/Mixed_4c', 'imu'])
  assert not matches(('rgb',), ['rgb/Mixed_4c'])


def test_only_trained_layers_of_a_training_pass_are_active():
  mode = Mode(train=True, trained=('rgb/Mixed_4c',))
  assert mode.active(('rgb', 'Mixed_4c', 'branch0', 'bn'))
  assert not mode.active(('rgb', 'Mixed_4b', 'branch0', 'bn'))
  assert not Mode(train=False).active(('rgb', 'Mixed_4c'))


def test_partition_and_merge_are_inverse():
  trained, frozen = partition(PARAMS, ['rgb/Mixed_4c', 'imu', 'head'])
  assert trained == {
    'imu': PARAMS['imu'],
    'rgb': {'Mixed_4c': PARAMS['rgb']['Mixed_4c']},
    'head': PARAMS['head'],
  }
  assert frozen == {'rgb': {'Mixed_4b': PARAMS['rgb']['Mixed_4b']}}
  assert merge(frozen, trained) == PARAMS


def test_a_pattern_without_parameters_is_a_user_error():
  with pytest.raises(UserError, match="'rgb/Mixed_9z' of trained parameters matches none"):
    partition(PARAMS, ['imu', 'rgb/Mixed_9z'])


def test_evaluation_uses_the_average_where_there_is_one():
  params = {'imu': {'w': jnp.ones(2)}, 'rgb': {'w': jnp.ones(2)}}
  state = TrainState(jnp.zeros(()), params, {}, (), {'imu': {'w': jnp.zeros(2)}})
  used = inference_variables(state)['params']
  assert jax.tree.map(lambda x: x.tolist(), used) == {
    'imu': {'w': [0, 0]},
    'rgb': {'w': [1, 1]},
  }
  assert inference_variables(state.replace(ema=None))['params'] is params
