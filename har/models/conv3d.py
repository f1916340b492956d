"""3-D convolutions and max pools of video, each in two numerically equal forms.

XLA's own 3-D convolutions are slow on CPU, above all in the backward pass. The 'folded' form moves
frames into the batch for 1 x k x k kernels, pixels together for k x 1 x 1 kernels, and everything
into one matrix product for 1 x 1 x 1 kernels; for others the frames that a kernel sees become
channels of one. Pools become maxima of shifted arrays. Kernels keep the canonical shape
`[kt, kh, kw, in, out]` in both forms, so that checkpoints do not depend on it.
"""

import functools
from collections.abc import Iterator, Sequence
from typing import Literal

import jax
import jax.numpy as jnp
from einops import rearrange
from jax import lax

Form = Literal['folded', 'plain']

Pair = tuple[int, int]
Triple = tuple[int, int, int]
Pads = Triple | tuple[Pair, Pair, Pair]


def same_pads(shape: Sequence[int], window: Triple, strides: Triple) -> tuple[Pair, Pair, Pair]:
  """TensorFlow's SAME padding of clips `[B, T, H, W, C]` of this shape, which depends on the size.

  The output has `ceil(n / stride)` elements along each axis, and the odd zero comes last.
  """
  pads = []
  for n, size, stride in zip(shape[1:4], window, strides, strict=True):
    total = max(0, (-(-n // stride) - 1) * stride + size - n)
    pads.append((total // 2, total - total // 2))
  return tuple(pads)  # type: ignore[return-value]


def _pairs(pads: Pads) -> tuple[Pair, Pair, Pair]:
  return tuple((p, p) if isinstance(p, int) else p for p in pads)  # type: ignore[return-value]


def conv3d(x: jax.Array, kernel: jax.Array, strides: Triple, pads: Pads, form: str) -> jax.Array:
  """A convolution with zero padding.

  Args:
    x: `[B, T, H, W, C]`.
    kernel: `[kt, kh, kw, C, D]`.
    strides: of time, height, width.
    pads: zeros on either side of time, height, width; or pairs of those before and after.
    form: 'folded' or 'plain'.

  Returns:
    `[B, T', H', W', D]`.
  """
  kt, kh, kw = kernel.shape[:3]
  pads, none = _pairs(pads), (0, 0)
  if form == 'plain':
    return lax.conv_general_dilated(
      x, kernel, strides, pads, dimension_numbers=('NDHWC', 'DHWIO', 'NDHWC')
    )
  if (kt, kh, kw) == strides == (1, 1, 1) and set(pads) == {none}:
    return jnp.einsum('bthwc,cd->bthwd', x, kernel[0, 0, 0])
  if kt == strides[0] == 1 and pads[0] == none:
    return _spatial(x, kernel[0], strides[1:], pads[1:])
  if kh == kw == 1 and strides[1:] == (1, 1) and set(pads[1:]) == {none} and kt >= strides[0]:
    return _temporal(x, kernel[:, 0, 0], strides[0], pads[0])
  frames = jnp.concatenate(list(_shifted(x, 1, kt, strides[0], pads[0], 0)), -1)
  # Not a reshape: `har.compress` sees which channels of the kernel read which of `x`.
  return _spatial(frames, jnp.concatenate(list(kernel), -2), strides[1:], pads[1:])


def _shifted(
  x: jax.Array, axis: int, size: int, stride: int, pad: Pair, padding: float
) -> Iterator[jax.Array]:
  """What each element of a window sees along an axis."""
  if any(pad):
    widths = [(0, 0)] * x.ndim
    widths[axis] = pad
    x = jnp.pad(x, widths, constant_values=padding)
  last = (x.shape[axis] - size) // stride * stride + 1
  return (lax.slice_in_dim(x, i, i + last, stride, axis) for i in range(size))


def _conv2d(
  x: jax.Array, kernel: jax.Array, strides: Pair, pads: tuple[Pair, ...], spec: str = 'HWIO'
) -> jax.Array:
  return lax.conv_general_dilated(
    x, kernel, strides, pads, dimension_numbers=('NHWC', spec, 'NHWC')
  )


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _spatial(x: jax.Array, kernel: jax.Array, strides: Pair, pads: tuple[Pair, Pair]) -> jax.Array:
  """Frames as batch; the gradient of the kernel as matrix products."""
  y = _conv2d(_frames(x), kernel, strides, pads)
  return y.reshape(*x.shape[:2], *y.shape[1:])  # len(x) may be symbolic


def _spatial_fwd(x, kernel, strides, pads):
  return _spatial(x, kernel, strides, pads), (x, kernel)


def _spatial_bwd(strides, pads, residuals, gradient):
  x, kernel = residuals
  frames, gradient = lax.optimization_barrier((_frames(x), _frames(gradient)))
  _, by_x = jax.vjp(lambda x: _conv2d(x, kernel, strides, pads), frames)
  by_kernel = _spatial_kernel_gradient(frames, gradient, kernel, strides, pads)
  return by_x(gradient)[0].reshape(x.shape), by_kernel


_spatial.defvjp(_spatial_fwd, _spatial_bwd)


def _spatial_kernel_gradient(x, gradient, kernel, strides, pads):
  """Channels-first shifted copies of `x` times `gradient`: XLA's own form is up to twice slower."""
  height, width, channels, features = kernel.shape
  out_height, out_width = gradient.shape[1:3]
  x = jnp.pad(x.transpose(3, 0, 1, 2), ((0, 0), (0, 0), *pads))
  x = lax.optimization_barrier(x)  # Otherwise each shift transposes anew.

  def shifted(i, j):
    last_row, last_column = (out_height - 1) * strides[0], (out_width - 1) * strides[1]
    rows = lax.slice_in_dim(x, i, i + last_row + 1, strides[0], 2)
    return lax.slice_in_dim(rows, j, j + last_column + 1, strides[1], 3)

  # All shifts in one product when the channels alone would make too small a matrix.
  together = height if channels * width < 64 else 1
  products = []
  for i in range(0, height, together):
    shifts = [shifted(i + k, j) for k in range(together) for j in range(width)]
    matrix = jnp.concatenate(shifts).reshape(-1, gradient[..., 0].size)
    products.append(
      jnp.dot(matrix, gradient.reshape(-1, features), preferred_element_type=jnp.float32)
    )
  return jnp.concatenate(products).reshape(kernel.shape).astype(kernel.dtype)


def _frames(x: jax.Array) -> jax.Array:
  return rearrange(x, 'b t h w c -> (b t) h w c')


def _pixels_as_width(x: jax.Array, kernel: jax.Array, stride: int, pad: Pair) -> jax.Array:
  flat = rearrange(x, 'b t h w c -> b t (h w) c')
  y = _conv2d(flat, kernel[:, None], (stride, 1), (pad, (0, 0)))
  return rearrange(y, 'b t (h w) c -> b t h w c', w=x.shape[3])


def _pixels_as_batch(x: jax.Array, kernel: jax.Array, stride: int, pad: Pair) -> jax.Array:
  y = lax.conv_general_dilated(
    rearrange(x, 'b t h w c -> (b h w) t c'),
    kernel,
    (stride,),
    [pad],
    dimension_numbers=('NWC', 'WIO', 'NWC'),
  )
  return rearrange(y, '(b h w) t c -> b t h w c', h=x.shape[2], w=x.shape[3])


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _temporal(x: jax.Array, kernel: jax.Array, stride: int, pad: Pair) -> jax.Array:
  """Pixels as width; but the gradient of the kernel with pixels as batch, 3-6 times faster."""
  return _pixels_as_width(x, kernel, stride, pad)


def _temporal_fwd(x, kernel, stride, pad):
  return _pixels_as_width(x, kernel, stride, pad), (x, kernel)


def _temporal_bwd(stride, pad, residuals, gradient):
  x, kernel = residuals
  # Without the barrier XLA computes `x` once more, element by element, inside a transposition.
  x, gradient = lax.optimization_barrier((x, gradient))
  _, by_kernel = jax.vjp(lambda k: _pixels_as_batch(x, k, stride, pad), kernel)
  return _temporal_input_gradient(gradient, kernel, stride, pad, x.shape), by_kernel(gradient)[0]


_temporal.defvjp(_temporal_fwd, _temporal_bwd)


def _temporal_input_gradient(gradient, kernel, stride, pad, shape):
  """One dense convolution per residue of the frame number, instead of one over inserted zeros."""
  _, time, _, width, _ = shape
  steps = gradient.shape[1]
  rows = -(-time // stride)
  flat = rearrange(gradient, 'b t h w c -> b t (h w) c')
  phases = []
  for residue in range(stride):
    # Frame stride * m + residue gets kernel[first + stride * j] times gradient[m + offset - j].
    offset, first = divmod(residue + pad[0], stride)
    taps = kernel[first::stride][::-1, None]
    low = len(taps) - 1 - offset
    high = rows + offset - steps
    phases.append(_conv2d(flat, taps, (1, 1), ((low, high), (0, 0)), 'HWOI'))
  x = rearrange(jnp.stack(phases, 2), 'b m s (h w) c -> b (m s) h w c', w=width)
  return x[:, :time]


def max_pool3d(x: jax.Array, window: Triple, strides: Triple, pads: Pads, form: str) -> jax.Array:
  """A max pool whose padding never wins.

  Args:
    x: `[B, T, H, W, C]`.
    window: of time, height, width.
    strides: of time, height, width.
    pads: on either side of time, height, width; or pairs of those before and after.
    form: 'folded' or 'plain'.

  Returns:
    `[B, T', H', W', C]`.
  """
  pads = _pairs(pads)
  if form == 'plain':
    return lax.reduce_window(
      x, -jnp.inf, lax.max, (1, *window, 1), (1, *strides, 1), ((0, 0), *pads, (0, 0))
    )
  for axis, (size, stride, pad) in enumerate(zip(window, strides, pads, strict=True), 1):
    if size > 1:
      x = functools.reduce(jnp.maximum, _shifted(x, axis, size, stride, pad, -jnp.inf))
  return x
