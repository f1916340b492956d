"""Values that wait: what they stand for is computed once it is known how it will be used."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from har.compress.fake_quant import MARK

Grid = dict[str, Any]  # the attributes of a mark


@dataclasses.dataclass(frozen=True, eq=False)
class Reshaped:
  """`base` with a reshape that has not been carried out; `grid` if it was rounded to one."""

  base: jax.Array
  shape: tuple[int, ...]
  grid: Grid | None = None

  def force(self) -> jax.Array:
    return self.base if self.base.shape == self.shape else lax.reshape(self.base, self.shape)


@dataclasses.dataclass(frozen=True, eq=False)
class Spread:
  """A constant along the last axis, the same along all others."""

  vector: Any
  shape: tuple[int, ...]

  def force(self):
    return jnp.broadcast_to(self.vector, self.shape)


@dataclasses.dataclass(frozen=True, eq=False)
class Weight:
  """A constant that is int8 in the file; `axis` has a scale of its own for each element."""

  value: np.ndarray
  attributes: dict[str, Any]

  @property
  def shape(self) -> tuple[int, ...]:
    return self.value.shape

  def reshape(self, shape: Sequence[int]) -> 'Weight | None':
    """Unit axes put in or taken out; None if the shape changes otherwise."""
    attributes = dict(self.attributes)
    if 'quantization_dimension' in attributes:
      axis = int(attributes['quantization_dimension'])
      before = [n for n in self.shape[:axis] if n > 1]
      places = [
        i
        for i, n in enumerate(shape)
        if n == self.shape[axis] and [m for m in shape[:i] if m > 1] == before
      ]
      rest = [n for n in self.shape if n > 1]
      if not places or [n for n in shape if n > 1] != rest:
        return None
      attributes['quantization_dimension'] = np.int32(places[-1])
    return Weight(self.value.reshape(shape), attributes)

  def force(self) -> jax.Array:
    return fake_quant(self.value, self.attributes)


LAZY = (Reshaped, Spread, Weight)


def force(x: Any) -> Any:
  """The array that a waiting value stands for."""
  while isinstance(x, LAZY):
    x = x.force()
  return x


def fake_quant(x: Any, attributes: Mapping[str, Any]) -> jax.Array:
  """The composite with these attributes; a constant must be rounded already."""
  if isinstance(x, np.ndarray):
    return lax.composite(lambda x, **_: x * 1.0, MARK)(x, **attributes)
  scale = float(np.asarray(attributes['scale'])[0])
  zero = float(np.asarray(attributes['zero_point'])[0])
  low = -127 if attributes['narrow_range'] else -128

  def rounded(x, **_):
    return (jnp.clip(jnp.round(x / scale) + zero, low, 127) - zero) * scale

  return lax.composite(rounded, MARK)(x, **attributes)


def attributes_of(eqn: Any) -> dict[str, Any]:
  """A composite's attributes as plain values."""
  return {
    name: tree.unflatten([getattr(leaf, 'val', leaf) for leaf in leaves])
    for name, leaves, tree in eqn.params['attributes']
  }


def reshape_to(x: Any, shape: tuple[int, ...]) -> jax.Array:
  return force(Reshaped(x.base if isinstance(x, Reshaped) else force(x), shape))


def seen_frames(x: Any, size: int, stride: int, pad: tuple[int, int]) -> jax.Array:
  """What a kernel sees of the frames of `[B, T, H, W, C]`, as channels of one."""
  grid, x = getattr(x, 'grid', None), force(x)

  def rounded(y):
    return y if grid is None else fake_quant(y, grid)

  if any(pad):
    x = rounded(jnp.pad(x, [(0, 0), pad, (0, 0), (0, 0), (0, 0)]))
  last = (x.shape[1] - size) // stride * stride + 1
  parts = [rounded(lax.slice_in_dim(x, i, i + last, stride, 1)) for i in range(size)]
  return rounded(jnp.concatenate(parts, -1))


def together(kernel: Any) -> Any:
  """A kernel `[kt, kh, kw, C, D]` as `[kh, kw, kt C, D]`."""
  if not isinstance(kernel, Weight):
    return jnp.concatenate(list(kernel), -2)
  attributes = dict(kernel.attributes)
  if 'quantization_dimension' in attributes:  # the last axis
    attributes['quantization_dimension'] = np.int32(3)
  return Weight(np.concatenate(list(kernel.value), -2), attributes)


def max_pool(
  x: Any, pools: Mapping[int, tuple[int, int, int, int]], grid: Grid | None = None
) -> Reshaped:
  """Max pools as 2-D ones: frames as batch for rows and columns, pixels together for time."""
  shape, rank, one = list(x.shape), len(x.shape), (1, 1, 0, 0)
  if rank == 5:
    if 2 in pools or 3 in pools:
      frames = (shape[0] * shape[1], *shape[2:])
      x = _pool2d(x, frames, pools.get(2, one), pools.get(3, one), grid)
      shape[2:4] = x.shape[1:3]
    if 1 in pools:
      x = _pool2d(x, (*shape[:2], shape[2] * shape[3], shape[4]), pools[1], one, grid)
      shape[1] = x.shape[1]
  elif rank == 4:
    x = _pool2d(x, tuple(shape), pools.get(1, one), pools.get(2, one), grid)
    shape[1:3] = x.shape[1:3]
  else:
    x = _pool2d(x, (*shape[:2], 1, shape[2]), pools[1], one, grid)
    shape[1] = x.shape[1]
  return Reshaped(force(x), tuple(shape), grid)


def _pool2d(x, shape, rows, columns, grid) -> jax.Array:
  y = lax.reduce_window(
    reshape_to(x, shape),
    -np.inf,
    lax.max,
    (1, rows[0], columns[0], 1),
    (1, rows[1], columns[1], 1),
    ((0, 0), rows[2:], columns[2:], (0, 0)),
  )
  return y if grid is None else fake_quant(y, grid)
