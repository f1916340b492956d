"""Small networks without batch norm in float and in int8, made without `har.compress`."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Literal

from har.models import registry

CNN = {'kind': 'cnn1d_bn', 'channels': (8, 16), 'kernels': (5, 3), 'pools': (2, 1)}
S3D = {'kind': 's3d', 'width': 0.125}
SIGNAL, CLIP, BODY = (1, 24, 6), (1, 8, 32, 32, 3), (1, 16, 20, 3)
# (encoders by modality, head, shapes of inputs) by name
MODELS = {
  'imu': ({'imu': CNN}, {'kind': 'linear'}, {'imu': SIGNAL}),
  'masked': ({'imu': CNN}, {'kind': 'mlp'}, {'imu': SIGNAL, 'imu_mask': SIGNAL[:2]}),
  'skeleton': (
    {'skeleton': {'kind': 'skeleton_cnn', 'channels': (8,), 'kernels': (5,), 'strides': 2}},
    {'kind': 'linear'},
    {'skeleton': BODY},
  ),
  's3d': ({'rgb': S3D | {'conv': 'plain'}}, {'kind': 'linear'}, {'rgb': CLIP}),
  'c3d': (
    {'rgb': {'kind': 'c3d', 'width': 0.125, 'conv': 'plain'}},
    {'kind': 'linear'},
    {'rgb': (1, 4, 16, 16, 3)},
  ),
  'folded': ({'rgb': S3D}, {'kind': 'linear'}, {'rgb': CLIP}),
  'fusion': (
    {
      'imu': CNN,
      'skeleton': {'kind': 'skeleton_cnn', 'channels': (8,), 'kernels': (5,), 'strides': 2},
    },
    {'kind': 'residual', 'hidden': 8},
    {'imu': SIGNAL, 'skeleton': BODY},
  ),
  'absent': (
    {
      'imu': CNN,
      'skeleton': {'kind': 'skeleton_cnn', 'channels': (8,), 'kernels': (5,), 'strides': 2},
    },
    {'kind': 'residual', 'hidden': 8},
    {'imu': SIGNAL, 'imu_present': SIGNAL[:1], 'skeleton': BODY},
  ),
}
INNER = ('jit', 'pjit', 'closed_call', 'custom_vjp_call', 'custom_jvp_call')


def network(name):
  """(call, shapes of inputs) of one of `MODELS`."""
  encoders, head, shapes = MODELS[name]
  inputs = {n: jax.ShapeDtypeStruct(s, jnp.float32) for n, s in shapes.items()}
  model = registry.build(encoders, encoders, head, 5)
  return without_batch_norm(model, inputs), inputs


@functools.cache
def float_file(target, name):
  """One of `MODELS` in a format, `har.export.litert` or `har.export.onnx`."""
  return target.convert(*network(name))


def is_mask(name):
  return name.endswith(('mask', 'present'))


def _with_bools(inputs):
  return {n: x > 0.5 if is_mask(n) else x for n, x in inputs.items()}


def example(inputs, seed=0):
  """Values for the inputs; the last quarter of a masked signal is padding, all are present."""
  rng = np.random.default_rng(seed)
  return {
    n: np.float32(np.broadcast_to(np.arange(s.shape[-1]) < 0.75 * s.shape[-1], s.shape))
    if is_mask(n)
    else rng.standard_normal(s.shape).astype(np.float32)
    for n, s in inputs.items()
  }


def without_batch_norm(model, inputs, seed=0):
  """`call(inputs)` -> {'logits'} of a model whose batch norms are additions of random numbers."""

  def intercept(run, args, kwargs, context):
    if not isinstance(context.module, nn.BatchNorm):
      return run(*args, **kwargs)
    channels = args[0].shape[-1]
    return args[0] + np.float32(np.random.default_rng(channels).normal(0, 0.1, channels))

  zeros = _with_bools({n: jnp.zeros(s.shape, s.dtype) for n, s in inputs.items()})
  with nn.intercept_methods(intercept):
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), zeros))['params']
  rng = np.random.default_rng(seed)

  def draw(leaf):
    fan_in = max(1, np.prod(leaf.shape[:-1]))
    return (rng.standard_normal(leaf.shape) * np.sqrt(2 / fan_in)).astype(np.float32)

  variables = {'params': jax.tree.map(draw, shapes)}

  def call(inputs):
    with nn.intercept_methods(intercept):
      return {'logits': model.apply(variables, _with_bools(inputs)).logits}

  return call


def fake_quant(x, scale, zero_point, axis=None, mark=True):
  """Rounds to int8; with `mark` as a composite that exporters know."""
  narrow = axis is not None
  if axis is None:
    s, z = float(scale), float(zero_point)

    def round_(x, **_):
      return (jnp.clip(jnp.round(x / s) + z, -128, 127) - z) * s
  else:
    shape = [-1 if i == axis else 1 for i in range(x.ndim)]
    s = np.asarray(scale, np.float32).reshape(shape)
    x = np.float32(np.clip(np.round(np.asarray(x) / s), -127, 127) * s)

    def round_(x, **_):
      return x * 1.0

  if not mark:
    return round_(x)
  attributes = {
    'scale': np.asarray(scale, np.float64).reshape(-1),
    'zero_point': np.asarray(zero_point, np.int64).reshape(-1),
    'dtype': 'i8',
    'narrow_range': narrow,
  }
  if axis is not None:
    attributes['quantization_dimension'] = np.int32(axis)
  return jax.lax.composite(round_, 'quant.fake_quant')(x, **attributes)


def evaluate(closed, args, hook):
  """Runs a jaxpr equation by equation; constants stay concrete."""

  def run(jaxpr, consts, args):
    values = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*consts, *args], strict=True))

    def read(v):
      return np.asarray(v.val, v.aval.dtype) if isinstance(v, Literal) else values[v]

    for eqn in jaxpr.eqns:
      operands = [read(v) for v in eqn.invars]
      if eqn.primitive.name in INNER:
        inner = eqn.params.get('jaxpr') or eqn.params['call_jaxpr']
        outs = run(inner.jaxpr, inner.consts, operands)
      else:
        outs = hook(eqn, operands)
      values.update(zip(eqn.outvars, outs, strict=True))
    return [read(v) for v in jaxpr.outvars]

  return run(closed.jaxpr, closed.consts, args)


def constant(x):
  return not isinstance(x, jax.core.Tracer)


def bind(eqn, operands):
  if all(map(constant, operands)):
    with jax.ensure_compile_time_eval():
      outs = eqn.primitive.bind(*operands, **eqn.params)
  else:
    outs = eqn.primitive.bind(*operands, **eqn.params)
  return outs if eqn.primitive.multiple_results else [outs]


def quantised(call, example):
  """`call(inputs, mark=False)` with int8 weights and activations, ranges from `example`."""
  names = sorted(example)
  ranges = {}

  def quantise(x, count, observed, mark):
    if observed is not None:
      observed.append((x.min(), x.max()))
      return x
    low, high = ranges[count]
    scale = max(high - low, 1e-6) / 255
    return fake_quant(x, scale, round(-128 - low / scale), mark=mark)

  def run(inputs, mark, observed=None):
    args = [inputs[n] for n in names]
    like = [jax.ShapeDtypeStruct(a.shape, a.dtype) for a in args]
    closed = jax.make_jaxpr(lambda *a: call(dict(zip(names, a, strict=True))))(*like)
    count = [0]

    def activation(x):
      count[0] += 1
      return quantise(x, count[0] - 1, observed, mark)

    def hook(eqn, operands):
      name = eqn.primitive.name
      if name in ('conv_general_dilated', 'dot_general') and constant(operands[1]):
        w = np.asarray(operands[1])
        if name == 'dot_general':
          axis = 1 - eqn.params['dimension_numbers'][0][1][0]
        else:
          axis = eqn.params['dimension_numbers'].rhs_spec[0]
        scale = np.abs(w).max(tuple(i for i in range(w.ndim) if i != axis))
        scale = np.maximum(scale, 1e-8) / 127
        operands[1] = fake_quant(w, scale, np.zeros(len(scale)), axis, mark)
        outs = [eqn.primitive.bind(*operands, **eqn.params)]
        return outs
      outs = bind(eqn, operands)
      relu = name == 'max' and any(np.ndim(o) == 0 for o in operands)
      rounded = relu or name in ('concatenate', 'div')
      if rounded and outs[0].dtype == jnp.float32 and not constant(outs[0]):
        outs = [activation(outs[0])]
      return outs

    args = [a if is_mask(n) else activation(a) for n, a in zip(names, args, strict=True)]
    return {'logits': activation(evaluate(closed, args, hook)[0])}

  def observe(inputs):
    observed = []
    run(inputs, False, observed)
    return observed

  found = jax.jit(observe)(example)
  ranges.update({i: (min(0.0, float(a)), max(0.0, float(b))) for i, (a, b) in enumerate(found)})
  return lambda inputs, mark=False: run(inputs, mark)
