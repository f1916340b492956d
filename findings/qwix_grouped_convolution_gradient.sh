#!/usr/bin/env bash
# Qwix: quantised training runs a grouped or depthwise convolution forward, but not backward.
#
# Expected: a model that QtProvider quantises without complaint, and whose forward pass runs, can be
# trained, since training is what that provider is for. Depthwise convolutions are in most small
# networks that one would quantise.
#
# What happens: the gradient of any convolution with feature_group_count > 1 raises "ValueError:
# conv_general_dilated lhs feature dimension size divided by feature_group_count must equal the rhs
# input feature dimension size", even if only the weights are quantised.
#
# Seen with qwix 0.1.8, flax 0.12.8, jax 0.10.2: 1 group trains; 2 and 4 groups raise.
#
# Instead: OdmlQatProvider takes gradients through grouped convolutions; or give QtProvider rules
# that do not match the grouped ones; or write the depthwise convolution as shifts, products and
# sums.
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

print('qwix', version('qwix'), 'flax', flax.__version__, 'jax', jax.__version__)
x = jax.random.normal(jax.random.key(0), (2, 9, 4))


def outcome(provider, groups, **types):
  layer = nn.Conv(4, (3,), feature_group_count=groups)
  model = qwix.quantize_model(layer, provider([qwix.QuantizationRule(**types)]))
  variables = model.init(jax.random.key(1), x)

  def loss(params):
    return jnp.square(model.apply({**variables, 'params': params}, x, mutable=True)[0]).sum()

  assert jnp.isfinite(loss(variables['params']))
  try:
    jax.grad(loss)(variables['params'])
  except ValueError as e:
    print(f'{provider.__name__}, {groups} groups, {types}: {e}')
    return 'raises'
  print(f'{provider.__name__}, {groups} groups, {types}: trains')
  return 'trains'


for types in ({'weight_qtype': 'int8'}, {'weight_qtype': 'int8', 'act_qtype': 'int8'}):
  assert [outcome(qwix.QtProvider, g, **types) for g in (1, 2, 4)] == ['trains', 'raises', 'raises']
  assert [outcome(qwix.OdmlQatProvider, g, **types) for g in (1, 2, 4)] == ['trains'] * 3
PYTHON
venv/bin/python check.py
