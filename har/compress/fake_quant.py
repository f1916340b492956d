"""Rounding to integers and back, with straight-through gradients.

Weights are symmetric per output channel, activations affine per tensor: the scheme of LiteRT
(https://ai.google.dev/edge/litert/conversion/tensorflow/quantization/quantization_spec) and of
ONNX Runtime. Activations of more than 8 bits are symmetric, as LiteRT's 16-bit ones are.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

SMALLEST_SCALE = 1e-8
MARK = 'quant.fake_quant'


def weight_scale(kernel: Any, bits: int = 8) -> jax.Array:
  """Step per output channel (the last axis), `[..., C]` with ones elsewhere."""
  largest = jnp.abs(kernel).max(tuple(range(jnp.ndim(kernel) - 1)), keepdims=True)
  return jnp.maximum(largest / (2 ** (bits - 1) - 1), SMALLEST_SCALE)


def activation_scale(low: Any, high: Any, bits: int = 8) -> tuple[jax.Array, jax.Array]:
  """Step and zero point of the integers that cover `low` to `high` and hold zero exactly."""
  low, high = jnp.minimum(low, 0.0), jnp.maximum(high, 0.0)
  if bits > 8:
    scale = jnp.maximum(jnp.maximum(-low, high) / (2 ** (bits - 1) - 1), SMALLEST_SCALE)
    return scale, jnp.zeros_like(scale)
  scale = jnp.maximum((high - low) / (2**bits - 1), SMALLEST_SCALE)
  smallest = -(2 ** (bits - 1))
  return scale, jnp.clip(jnp.round(smallest - low / scale), smallest, -smallest - 1)


def round_to(x: Any, scale: Any, zero_point: Any, bits: int = 8, *, narrow: bool = False) -> Any:
  """The nearest values that the integers stand for; the gradient passes where none is clipped.

  Args:
    x: any shape.
    scale: step, broadcastable to `x`.
    zero_point: the integer that stands for 0.
    bits: of the integers, which are signed.
    narrow: leave out the smallest one, so that they are symmetric.
  """
  largest = 2 ** (bits - 1) - 1
  smallest = -largest if narrow else -largest - 1
  inside = jnp.clip(x, (smallest - zero_point) * scale, (largest - zero_point) * scale)
  integers = jnp.clip(jnp.round(x / scale) + zero_point, smallest, largest)
  rounded = (integers - zero_point) * scale
  return inside + jax.lax.stop_gradient(rounded - inside)


def quantise_weight(kernel: Any, bits: int = 8) -> Any:
  """A kernel, output channels last, rounded per channel."""
  return round_to(kernel, weight_scale(kernel, bits), 0.0, bits, narrow=True)


def quantise_activation(x: Any, low: Any, high: Any, bits: int = 8) -> Any:
  """Activations rounded within one range for the whole array."""
  return round_to(x, *activation_scale(low, high, bits), bits)


def quantise_bias(bias: Any, kernel: Any, scale: Any, bits: int = 8) -> Any:
  """A bias rounded to multiples of its layer's steps of input and weight, as int32 holds it.

  Small as that rounding is, it decides between neighbouring integers now and then, and a deep
  network carries the difference on: without it predictions differ from those of exported files.

  Args:
    bias: `[C]`.
    kernel: of the layer, not rounded, output channels last.
    scale: step of the layer's input.
    bits: of the kernel.
  """
  return round_to(bias, scale * jnp.reshape(weight_scale(kernel, bits), -1), 0.0, 32)


def mark_activation(x: jax.Array, scale: float, zero_point: int) -> jax.Array:
  """`round_to` as one operation that exporters recognise; 8 bits, no gradient."""

  def decomposition(x, **_):
    return (jnp.clip(jnp.round(x / scale) + zero_point, -128, 127) - zero_point) * scale

  return jax.lax.composite(decomposition, MARK)(
    x,
    dtype='i8',
    narrow_range=False,
    scale=np.array([scale], np.float64),
    zero_point=np.array([zero_point], np.int64),
  )


def mark_weight(kernel: np.ndarray) -> jax.Array:
  """A constant kernel, rounded and marked for exporters."""
  with jax.ensure_compile_time_eval():
    scale = np.asarray(weight_scale(kernel))
  # Exporters round again: the values are on the grid already, and need no operation here.
  rounded = np.clip(np.round(kernel / scale), -127, 127).astype(np.float32) * scale
  channels = kernel.shape[-1]
  return jax.lax.composite(lambda x, **_: x * 1.0, MARK)(
    rounded,
    dtype='i8',
    narrow_range=True,
    scale=scale.reshape(-1).astype(np.float64),
    zero_point=np.zeros(channels, np.int64),
    quantization_dimension=np.int32(kernel.ndim - 1),
  )
