"""What is done to a graph's values while it runs: they are rounded, marked or observed."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from har.compress import fake_quant
from har.compress.operations import Layer, Loop, Operation, Path, Value


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

  def product(self, layer: Layer, x: jax.Array, kernel: jax.Array) -> jax.Array:
    """What a layer makes of its input, before its bias."""
    (y,) = layer.operation.run(x, kernel)
    return y

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


class Errors(Hook):
  """Collects what rounding a layer's input and kernel adds to its outputs, on average by channel.

  Every layer reads what the layers before it give in float. Of a kernel that is used more than once
  it is the mean of its uses.
  """

  def __init__(self, static: Static, entrances: Mapping[Path, str]):
    """Takes what rounds, and the points of what enters kernels."""
    super().__init__()
    self.static, self.entrances = static, entrances

  def product(self, layer, x, kernel):
    y = super().product(layer, x, kernel)
    if layer.quantised:
      rounded = self.static.point(self.entrances[layer.path], x)
      given = super().product(layer, rounded, self.static.kernel(layer, kernel))
      self.seen[layer.name] = (given - y).reshape(-1, y.shape[-1]).mean(0)
    return y

  def combine(self, seen):
    return seen.mean(0)


def run_loop(
  operation: Operation,
  loop: Loop,
  env: Mapping[Value, Any],
  run_all: Callable[[dict[Value, Any], Sequence[Operation]], Callable[[Value], Any]],
  hook: Hook,
) -> list[Any]:
  """Runs a `scan`; what the hook sees of its points is combined over the steps."""
  params, outside = operation.eqn.params, hook.seen
  get = run_all(dict(env), ())
  given = [get(value) for value in operation.inputs[loop.consts :]]
  count = loop.carry

  def step(carry, xs):
    hook.seen = {}
    inside = run_all({**env, **dict(zip(loop.inputs, [*carry, *xs], strict=True))}, loop.operations)
    results = [inside(value) for value in loop.outputs]
    return results[:count], (results[count:], hook.seen)

  options = {name: params[name] for name in ('length', 'reverse', 'unroll')}
  carry, (results, seen) = jax.lax.scan(step, given[:count], given[count:], **options)
  hook.seen = outside | {name: hook.combine(x) for name, x in seen.items()}
  return [*carry, *results]
