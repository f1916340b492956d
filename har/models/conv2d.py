"""2-D convolutions in the form that is fast on CPU, which remain convolutions to who reads a trace.

On CPU XLA's own depthwise convolutions take 25 times as long as sums of shifted arrays, and the
gradients of its 1x1 convolutions three times as long as those of matrix products. Which form runs
is decided when a function is compiled, by its platform; a trace shows both, and what quantises,
slims or exports takes the convolution (see `har.compress.operations.plain_branch`).
"""

import functools
import math
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
from jax import lax

Pads = tuple[tuple[int, int], tuple[int, int]]

NO_PADS = ((0, 0), (0, 0))
_NUMBERS = ('NHWC', 'HWIO', 'NHWC')
_PARTS = 8  # that a batch is summed in, side by side


def conv2d(
  x: jax.Array,
  kernel: jax.Array,
  strides: tuple[int, int] = (1, 1),
  pads: Pads = NO_PADS,
  groups: int = 1,
) -> jax.Array:
  """A convolution.

  Args:
    x: `[N, H, W, C]`.
    kernel: `[kh, kw, C / groups, D]`.
    strides: of height and width.
    pads: zeros before and after height, and width.
    groups: of channels.

  Returns:
    `[N, H', W', D]`.
  """
  if groups == x.shape[-1] == kernel.shape[-1] > 1:
    return _depthwise(x, kernel, strides, pads)
  if groups == 1 and kernel.shape[:2] == strides == (1, 1) and pads == NO_PADS:
    return _pointwise(x, kernel)
  return lax.conv_general_dilated(
    x, kernel, strides, pads, dimension_numbers=_NUMBERS, feature_group_count=groups
  )


def _on_cpu(fast: Callable[..., jax.Array], plain: Callable[..., jax.Array], *args):
  return lax.platform_dependent(*args, cpu=fast, default=plain)


@jax.custom_vjp
def _pointwise(x: jax.Array, kernel: jax.Array) -> jax.Array:
  def plain(x, kernel):
    return lax.conv_general_dilated(x, kernel, (1, 1), NO_PADS, dimension_numbers=_NUMBERS)

  return _on_cpu(lambda x, kernel: jnp.einsum('nhwc,cd->nhwd', x, kernel[0, 0]), plain, x, kernel)


def _pointwise_forward(x, kernel):
  return _pointwise(x, kernel), (x, kernel)


def _pointwise_backward(residuals, gradient):
  x, kernel = residuals
  # Otherwise what computes `x`, batch norm and ReLU6, runs once more inside each product.
  x, gradient = lax.optimization_barrier((x, gradient))
  # Pixels first: the same product over four axes copies its operands, transposed.
  rows, ours = (a.reshape(-1, a.shape[-1]) for a in (x, gradient))
  contracting = (((0,), (0,)), ((), ()))
  by_kernel = lax.dot_general(rows, ours, contracting, preferred_element_type=jnp.float32)
  by_x = jnp.einsum('nhwd,cd->nhwc', gradient, kernel[0, 0])
  return by_x, by_kernel[None, None].astype(kernel.dtype)


_pointwise.defvjp(_pointwise_forward, _pointwise_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _depthwise(x: jax.Array, kernel: jax.Array, strides: tuple[int, int], pads: Pads) -> jax.Array:
  fast, plain = (
    functools.partial(form, strides=strides, pads=pads) for form in (_shifted, _grouped)
  )
  return _on_cpu(fast, plain, x, kernel)


def _grouped(x: jax.Array, kernel: jax.Array, strides: tuple[int, int], pads: Pads) -> jax.Array:
  return lax.conv_general_dilated(
    x, kernel, strides, pads, dimension_numbers=_NUMBERS, feature_group_count=x.shape[-1]
  )


def _shifted(x: jax.Array, kernel: jax.Array, strides: tuple[int, int], pads: Pads) -> jax.Array:
  x = jnp.pad(x, ((0, 0), *pads, (0, 0)))
  terms = (tap * kernel[i, j, 0] for i, j, tap in _taps(x, kernel.shape[:2], strides))
  return functools.reduce(jnp.add, terms)


def _taps(
  x: jax.Array, size: tuple[int, ...], strides: tuple[int, int]
) -> Iterator[tuple[int, int, jax.Array]]:
  """What each element of a kernel meets, with its place."""
  for i in range(size[0]):
    rows = lax.slice_in_dim(x, i, x.shape[1] - size[0] + i + 1, strides[0], 1)
    for j in range(size[1]):
      yield i, j, lax.slice_in_dim(rows, j, x.shape[2] - size[1] + j + 1, strides[1], 2)


def _depthwise_forward(x, kernel, strides, pads):
  return _depthwise(x, kernel, strides, pads), (x, kernel)


def _depthwise_backward(strides, pads, residuals, gradient):
  def fast(x, kernel, gradient):
    # Otherwise each shift computes them anew, batch norms included.
    x, gradient = lax.optimization_barrier((x, gradient))
    by_x = _input_gradient(gradient, kernel, strides, pads, x.shape)
    return by_x, _kernel_gradient(x, gradient, kernel, strides, pads)

  def plain(x, kernel, gradient):
    return jax.vjp(lambda x, kernel: _grouped(x, kernel, strides, pads), x, kernel)[1](gradient)

  return _on_cpu(fast, plain, *residuals, gradient)


_depthwise.defvjp(_depthwise_forward, _depthwise_backward)


def _input_gradient(gradient, kernel, strides, pads, shape):
  """The turned kernel over the gradient with zeros between its elements."""
  spaces = []
  for n, steps, size, stride, (before, _) in zip(
    shape[1:3], gradient.shape[1:3], kernel.shape[:2], strides, pads, strict=True
  ):
    low = size - 1 - before
    spaces.append((low, n + before - (steps - 1) * stride - 1, stride - 1))
  zero = jnp.zeros((), gradient.dtype)
  spread = lax.pad(gradient, zero, ((0, 0, 0), *spaces, (0, 0, 0)))
  spread = lax.optimization_barrier(spread)  # Otherwise each shift computes it anew.
  return _shifted(spread, kernel[::-1, ::-1], (1, 1), NO_PADS)


def _kernel_gradient(x, gradient, kernel, strides, pads):
  """Sums over frames and pixels: parts of the batch element by element, the rest as a product."""
  x = lax.optimization_barrier(jnp.pad(x, ((0, 0), *pads, (0, 0))))
  channels, parts = x.shape[-1], math.gcd(len(x), _PARTS)
  ours = jnp.split(gradient.astype(jnp.float32), parts)
  rows = []
  for _, _, tap in _taps(x, kernel.shape[:2], strides):
    products = map(jnp.multiply, jnp.split(tap, parts), ours)
    total = lax.optimization_barrier(functools.reduce(jnp.add, products)).reshape(-1, channels)
    rows.append(jnp.ones((1, len(total))) @ total)
  return jnp.concatenate(rows).reshape(kernel.shape).astype(kernel.dtype)
