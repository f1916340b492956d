#!/usr/bin/env bash
# Qwix: whether a product is quantised depends on how it is spelled, and differs between training
# and inference.
#
# Expected: a rule that matches every module quantises every product of an activation with a weight,
# or says which it leaves out; and what quantised training simulates is what quantised inference
# does.
#
# What happens: QtProvider (training) leaves jnp.dot in float and PtqProvider (inference) quantises
# it; `@`, and dot imported by name, stay float in both; einsum and lax.dot_general are quantised in
# both. Nothing is logged. Flax's OptimizedLSTMCell uses jnp.dot, LSTMCell does not: after training
# with QtProvider the optimised cell has never seen rounding, and gets int8 at inference, while the
# two cells have the same parameters and give the same float outputs.
#
# Seen with qwix 0.1.8, flax 0.12.8, jax 0.10.2, int8 weights and activations, largest difference to
# float for training / inference: einsum 0.02 / 0.02, dot 0 / 0.02, @ 0 / 0, LSTMCell 0.003 / 0.003,
# OptimizedLSTMCell 0 / 0.003.
#
# Instead: write products as nn.Dense, einsum or lax.dot_general, use LSTMCell for quantised
# training, and compare a quantised model with its float one layer by layer: no difference means no
# quantising.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3}" -m venv venv
venv/bin/pip install --quiet --no-compile --disable-pip-version-check \
  jax==0.10.2 jaxlib==0.10.2 flax==0.12.8 qwix==0.1.8 numpy==2.4.6

cat > check.py <<'PYTHON'
import flax
import flax.linen as nn
import jax
import jax.numpy as jnp
import qwix
from importlib.metadata import version
from jax.numpy import dot

print('qwix', version('qwix'), 'flax', flax.__version__, 'jax', jax.__version__)
RULES = [qwix.QuantizationRule(weight_qtype='int8', act_qtype='int8')]
PRODUCTS = {
  'einsum': lambda x, w: jnp.einsum('bi,io->bo', x, w),
  'lax.dot_general': lambda x, w: jax.lax.dot_general(x, w, (((1,), (0,)), ((), ()))),
  'jnp.dot': lambda x, w: jnp.dot(x, w),
  'dot, imported by name': dot,
  '@': lambda x, w: x @ w,
}


class Product(nn.Module):
  name_of_product: str

  @nn.compact
  def __call__(self, x):
    kernel = self.param('kernel', nn.initializers.lecun_normal(), (x.shape[-1], 8))
    return PRODUCTS[self.name_of_product](x, kernel)


def differences(model, *inputs):
  """Largest differences to the float outputs under quantised training and quantised inference."""
  variables = model.init(jax.random.key(1), *inputs)
  outputs = lambda m, v: jax.tree.leaves(m.apply(v, *inputs))[-1]
  training = qwix.quantize_model(model, qwix.QtProvider(RULES))
  inference = qwix.quantize_model(model, qwix.PtqProvider(RULES))
  target = jax.eval_shape(inference.init, jax.random.key(1), *inputs)['params']
  small = {'params': qwix.quantize_params(variables['params'], target)}
  expected = outputs(model, variables)
  return [float(jnp.abs(outputs(*pair) - expected).max())
          for pair in ((training, variables), (inference, small))]


x = jax.random.normal(jax.random.key(0), (2, 16))
seen = {name: differences(Product(name), x) for name in PRODUCTS}
for cell in (nn.LSTMCell(8), nn.OptimizedLSTMCell(8)):
  carry = cell.initialize_carry(jax.random.key(2), x.shape)
  seen[type(cell).__name__] = differences(cell, carry, x)
for name, (training, inference) in seen.items():
  print(f'{name}: training {training:.4f}, inference {inference:.4f}')

changes = {name: (training > 0, inference > 0) for name, (training, inference) in seen.items()}
assert changes == {
  'einsum': (True, True),
  'lax.dot_general': (True, True),
  'jnp.dot': (False, True),
  'dot, imported by name': (False, False),
  '@': (False, False),
  'LSTMCell': (True, True),
  'OptimizedLSTMCell': (False, True),
}, changes
PYTHON
venv/bin/python check.py
