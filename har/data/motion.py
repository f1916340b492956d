"""How fast joints move."""

import jax
import jax.numpy as jnp


def velocities(x: jax.Array, mask: jax.Array | None) -> jax.Array:
  """Central differences over time, one-sided at both ends.

  Args:
    x: `[B, T, J, 3]` positions.
    mask: bool `[B, T]`, true for the first samples of each example and false for padding after
      them; None if there is none.

  Returns:
    `[B, T, J, 3]` per sample, zero in padding.
  """
  frames = jnp.arange(x.shape[1])
  seen = jnp.ones(x.shape[:2], bool) if mask is None else mask
  count = jnp.maximum(seen.sum(1), 1)
  following = jnp.minimum(frames + 1, count[:, None] - 1)
  before = jnp.broadcast_to(jnp.maximum(frames - 1, 0), following.shape)
  apart = jnp.maximum(following - before, 1)[..., None, None]
  take = jax.vmap(lambda p, at: p[at])
  difference = (take(x, following) - take(x, before)) / apart
  return difference * seen[..., None, None].astype(x.dtype)
