"""Temporal shift (Lin, Gan and Han, ICCV 2019): frames exchange some of their channels.

Which frame a channel is taken from is told by a constant of its own and not by its number, so that
a model with fewer channels computes with those that are left as before (see `har.compress.units`).
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

SHIFTS = ('none', 'both', 'causal')
_SHARE = 8  # one channel of so many goes each way


def moving(channels: int) -> int:
  """How many channels go each way."""
  return max(1, channels // _SHARE)


def offsets(channels: int, causal: bool) -> jax.Array:
  """Of each channel, the frame that it is taken from: +1 the next, -1 the one before, 0 its own.

  The order is that of the paper's code: the first eighth of the channels is taken from the next
  frames and the second from those before; if it is causal, the first from those before.
  """
  eighth = jnp.arange(channels) // moving(channels)
  if causal:
    return jnp.where(eighth == 0, -1.0, 0.0)
  return jnp.where(eighth == 0, 1.0, jnp.where(eighth == 1, -1.0, 0.0))


class Shift(nn.Module):
  """Takes some channels of each frame from its neighbours; beyond both ends there are zeros.

  Attributes:
    causal: takes nothing from the future.
  """

  causal: bool = False

  @nn.compact
  def __call__(
    self, x: jax.Array, length: int, before: jax.Array | None = None
  ) -> tuple[jax.Array | None, jax.Array]:
    """Shifts clips, or one frame of each.

    Args:
      x: `[N, H, W, C]`, the frames of N / length clips.
      length: frames of a clip; 1 if there is `before`.
      before: of a stream, the first channels of the frame before, `moving(C)` of them or fewer.

    Returns:
      What this frame leaves for the next one of a stream, and the shifted frames.
    """
    initial = offsets, x.shape[-1], self.causal
    offset = self.variable('batch_stats', 'offset', *initial).value
    if before is not None:
      # Those that go come first, also where some of them are gone.
      kept = x[..., : before.shape[-1]]
      taken = jnp.where(offset[: before.shape[-1]] < -0.5, before.astype(x.dtype), kept)
      return kept, jnp.concatenate([taken, x[..., before.shape[-1] :]], -1)
    clips = x.reshape(-1, length, x.shape[1] * x.shape[2], x.shape[3])
    y = jnp.where(offset < -0.5, _padded(clips[:, :-1], (1, 0)), clips)
    if not self.causal:
      y = jnp.where(offset > 0.5, _padded(clips[:, 1:], (0, 1)), y)
    return None, y.reshape(x.shape)


def _padded(clips: jax.Array, frames: tuple[int, int]) -> jax.Array:
  return jnp.pad(clips, ((0, 0), frames, (0, 0), (0, 0)))
