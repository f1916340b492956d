"""Random batches, and what preprocessing makes of them."""

import jax
import numpy as np

from har.data import inputs as inputs_lib
from tests import fakes

KEY = jax.random.key(7)


def imu_batch(batch=16, length=40, real=None, seed=0):
  x = np.random.default_rng(seed).normal(size=(batch, length, 6)).astype(np.float32)
  mask = np.arange(length) < np.full((batch, 1), length if real is None else real)
  return {'imu': np.where(mask[..., None], x, 0), 'imu_mask': mask}


def video_batch(batch=16, frames=3, side=16, channels=3, seed=0):
  shape = (batch, frames, side, side, channels)
  x = np.random.default_rng(seed).integers(1, 256, shape, np.uint8)
  return {'rgb': x, 'depth': x.copy(), 'label': (np.arange(batch) % 2).astype(np.int32)}


def run(batch, inputs, config, key=KEY, flip_safe=None):
  """Preprocesses inside jit, as a step does, compiled without optimisation to be quick."""

  built = fakes.inputs_of(inputs)
  config = {name: options for name, options in (config or {}).items() if name in inputs}

  def step(batch, key):
    return inputs_lib.preprocess(batch, inputs=built, key=key, augment=config, flip_safe=flip_safe)

  step = jax.jit(step, compiler_options={'xla_backend_optimization_level': 0})
  return {name: np.asarray(value) for name, value in step(batch, key).items()}


RAW = {'imu': {'length': 40}}
