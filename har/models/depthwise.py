"""Depthwise 2-D convolutions that are fast on CPU and remain convolutions to who reads the trace.

XLA's own take 25 times as long on CPU as sums of shifted arrays, and their gradients more. Which
is run is decided when a function is compiled, by its platform; a trace shows both, and what
quantises, slims or exports takes the convolution (see `har.compress.operations.called`).
"""

import functools
import math
from collections.abc import Iterator

import jax
import jax.numpy as jnp
from jax import lax

Pads = tuple[tuple[int, int], tuple[int, int]]

_PARTS = 8  # that a batch is summed in, side by side


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def depthwise(x: jax.Array, kernel: jax.Array, stride: int, pads: Pads) -> jax.Array:
  """Convolves each channel with a kernel of its own.

  Args:
    x: `[N, H, W, C]`.
    kernel: `[k, k, 1, C]`.
    stride: of height and width.
    pads: zeros before and after height, and width.

  Returns:
    `[N, H', W', C]`.
  """
  return lax.platform_dependent(
    x,
    kernel,
    cpu=functools.partial(_shifted, stride=stride, pads=pads),
    default=functools.partial(_conv, stride=stride, pads=pads),
  )


def _conv(x: jax.Array, kernel: jax.Array, stride: int, pads: Pads) -> jax.Array:
  return lax.conv_general_dilated(
    x,
    kernel,
    (stride, stride),
    pads,
    dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
    feature_group_count=x.shape[-1],
  )


def _shifted(x: jax.Array, kernel: jax.Array, stride: int, pads: Pads) -> jax.Array:
  size = len(kernel)
  x = jnp.pad(x, ((0, 0), *pads, (0, 0)))
  height, width = ((n - size) // stride + 1 for n in x.shape[1:3])
  terms = (tap * kernel[i, j, 0] for i, j, tap in _taps(x, size, stride, height, width))
  return functools.reduce(jnp.add, terms)


def _taps(
  x: jax.Array, size: int, stride: int, height: int, width: int
) -> Iterator[tuple[int, int, jax.Array]]:
  """What each element of a kernel meets, with its place."""
  rows, columns = (height - 1) * stride + 1, (width - 1) * stride + 1
  for i in range(size):
    below = lax.slice_in_dim(x, i, i + rows, stride, 1)
    for j in range(size):
      yield i, j, lax.slice_in_dim(below, j, j + columns, stride, 2)


def _forward(x, kernel, stride, pads):
  return depthwise(x, kernel, stride, pads), (x, kernel)


def _backward(stride, pads, residuals, gradient):
  def by_shifts(x, kernel, gradient):
    by_x = _input_gradient(gradient, kernel, stride, pads, x.shape)
    return by_x, _kernel_gradient(x, gradient, kernel, stride, pads)

  def by_conv(x, kernel, gradient):
    return jax.vjp(lambda x, kernel: _conv(x, kernel, stride, pads), x, kernel)[1](gradient)

  return lax.platform_dependent(*residuals, gradient, cpu=by_shifts, default=by_conv)


depthwise.defvjp(_forward, _backward)


def _input_gradient(gradient, kernel, stride, pads, shape):
  """The turned kernel over the gradient with zeros between its elements."""
  size, zero = len(kernel), jnp.zeros((), gradient.dtype)
  spaces = []
  for n, steps, (before, _) in zip(shape[1:3], gradient.shape[1:3], pads, strict=True):
    low = size - 1 - before
    spaces.append((low, n + before - (steps - 1) * stride - 1, stride - 1))
  spread = lax.pad(gradient, zero, ((0, 0, 0), *spaces, (0, 0, 0)))
  spread = lax.optimization_barrier(spread)  # Otherwise each shift computes it anew.
  return _shifted(spread, kernel[::-1, ::-1], 1, ((0, 0), (0, 0)))


def _kernel_gradient(x, gradient, kernel, stride, pads):
  """Sums over frames and pixels: parts of the batch element by element, the rest as a product."""
  x = lax.optimization_barrier(jnp.pad(x, ((0, 0), *pads, (0, 0))))
  channels, parts = x.shape[-1], math.gcd(len(x), _PARTS)
  ours = jnp.split(gradient.astype(jnp.float32), parts)
  rows = []
  for _, _, tap in _taps(x, len(kernel), stride, *gradient.shape[1:3]):
    products = map(jnp.multiply, jnp.split(tap, parts), ours)
    total = lax.optimization_barrier(functools.reduce(jnp.add, products)).reshape(-1, channels)
    rows.append(jnp.ones((1, len(total))) @ total)
  return jnp.concatenate(rows).reshape(kernel.shape).astype(kernel.dtype)
