"""Mixup (Zhang et al., 2018): each example is blended with its neighbour in the batch, and so are
what is to be predicted of them.

Batches are in random order, so the neighbour is as good as any other example.
"""

import jax
import jax.numpy as jnp

from har.errors import UserError


def draw_shares(key: jax.Array, inputs: dict[str, jax.Array], alpha: float) -> jax.Array:
  """Draws what each example keeps of itself, the larger share of a Beta(alpha, alpha) pair.

  Args:
    key: PRNG key.
    inputs: preprocessed. An example is not blended with one that lacks other modalities.
    alpha: above 0; the larger, the more even the blends.

  Returns:
    float32 `[B]` in [0.5, 1].

  Raises:
    UserError: `alpha` is not above 0.
  """
  if not alpha > 0:
    raise UserError(f'mixup={alpha} of a stage must be above 0, or 0 for none')
  batch = len(next(iter(inputs.values())))
  share = jax.random.beta(key, alpha, alpha, (batch,))
  share = jnp.maximum(share, 1 - share)
  for name, x in inputs.items():
    if name.endswith('_present'):
      share = jnp.where(x == _neighbours(x), share, 1)
  return share


def blend(x: jax.Array, share: jax.Array) -> jax.Array:
  """Adds up each row and its neighbour by the shares.

  Args:
    x: float `[B, ...]`; or a mask, bool `[B, ...]`, which becomes true where it is for either: what
      is masked is zero.
    share: `[B]`, what rows keep of themselves.
  """
  share = share.reshape(-1, *(1,) * (x.ndim - 1))
  if x.dtype == bool:
    return x | (_neighbours(x) & (share < 1))
  return (share * x + (1 - share) * _neighbours(x)).astype(x.dtype)


def _neighbours(x: jax.Array) -> jax.Array:
  return jnp.roll(x, 1, axis=0)
