"""What is done to a graph's values while it runs: they are rounded, marked or observed."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from har.compress import fake_quant
from har.compress.operations import Layer


class Hook:
  """What is done to values while a graph runs; this one leaves them alone.

  Attributes:
    seen: what it remembers of points, by name.
  """

  def __init__(self) -> None:
    self.seen: dict[str, Any] = {}

  def point(self, name: str, x: jax.Array) -> jax.Array:
    """Values at one of `Graph.points`."""
    return x

  def kernel(self, layer: Layer, kernel: jax.Array) -> jax.Array:
    """The parameter of a quantised layer, output channels last."""
    return kernel

  def bias(self, layer: Layer, point: str, kernel: jax.Array, bias: jax.Array) -> jax.Array:
    """What is added to a quantised layer's output, given the point of its input and its kernel."""
    return bias

  def kept(self, name: str, x: jax.Array) -> jax.Array:
    """Values of the point `name` after they have been moved, selected or joined with others."""
    return x

  def combine(self, seen: jax.Array) -> jax.Array:
    """What the steps of a loop, along the first axis, have added to `seen` as one."""
    return seen

  def lowest(self, name: str) -> float:
    """Takes the place of minus infinity, a max pool's padding, among the values of a point."""
    return -np.inf


class Static(Hook):
  """Quantises within given ranges."""

  def __init__(self, weights: int, activations: int, ranges: Mapping[str, jax.Array]):
    super().__init__()
    self.weights, self.activations, self.ranges = weights, activations, ranges

  def point(self, name, x):
    return fake_quant.quantise_activation(x, *self.ranges[name], self.activations)

  def kernel(self, layer, kernel):
    return fake_quant.quantise_weight(kernel, self.weights)

  def bias(self, layer, point, kernel, bias):
    scale, _ = fake_quant.activation_scale(*self.ranges[point], self.activations)
    return fake_quant.quantise_bias(bias, kernel, scale, self.weights)

  def lowest(self, name):
    scale, zero_point = fake_quant.activation_scale(*self.ranges[name], self.activations)
    return (-(2 ** (self.activations - 1)) - zero_point) * scale


class Dynamic(Hook):
  """Quantises each array within its own range."""

  def __init__(self, weights: int, activations: int):
    super().__init__()
    self.weights, self.activations = weights, activations

  def point(self, name, x):
    return fake_quant.quantise_activation(x, x.min(), x.max(), self.activations)

  def kernel(self, layer, kernel):
    return fake_quant.quantise_weight(kernel, self.weights)


class Marking(Hook):
  """Marks what is quantised, for exporters."""

  def __init__(self, ranges: Mapping[str, Any]):
    super().__init__()
    self.steps = {}
    for name, (low, high) in ranges.items():
      with jax.ensure_compile_time_eval():
        scale, zero_point = fake_quant.activation_scale(low, high)
      self.steps[name] = float(scale), int(zero_point)

  def point(self, name, x):
    return fake_quant.mark_activation(x, *self.steps[name])

  def kept(self, name, x):
    return self.point(name, x)

  def kernel(self, layer, kernel):
    return fake_quant.mark_weight(np.asarray(kernel))

  def bias(self, layer, point, kernel, bias):
    with jax.ensure_compile_time_eval():
      return fake_quant.quantise_bias(bias, np.asarray(kernel), self.steps[point][0])

  def lowest(self, name):
    scale, zero_point = self.steps[name]
    return (-128 - zero_point) * scale


class Observer(Hook):
  """Collects something of the values at each point."""

  def __init__(self, measure, combine):
    super().__init__()
    self.measure, self.combine = measure, combine

  def point(self, name, x):
    self.seen[name] = self.measure(name, x)
    return x
