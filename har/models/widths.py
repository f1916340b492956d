"""Layers with fewer features than their module says, as slimming leaves them."""

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn

Widths = Sequence[tuple[str, int]]


def narrowed(widths: Widths, below: str = '') -> contextlib.AbstractContextManager[Any]:
  """A context in which some layers have other numbers of features.

  A layer is any module with an attribute `features` that makes a parameter `kernel` itself.
  Depthwise convolutions get as many groups as their input has channels; of others, each group has
  fewer. Modules around the layers must take sizes from arrays, not from their own attributes.

  Args:
    widths: features of layers by their paths from the root of the model, e.g. 'imu/conv_0'.
    below: what the paths begin with that is not called, such as the name of an encoder alone.
  """
  if not widths:
    return contextlib.nullcontext()
  sizes = dict(widths)

  def intercept(call: Any, args: Sequence[Any], kwargs: Mapping[str, Any], context: Any) -> Any:
    layer = context.module
    size = sizes.get('/'.join(filter(None, (below, *layer.path))))
    if size in (None, getattr(layer, 'features', size)) or context.method_name != '__call__':
      return call(*args, **kwargs)
    changes = {'features': size}
    groups = getattr(layer, 'feature_group_count', 1)
    # Only a depthwise convolution has as many outputs for each input as for each group.
    if groups > 1 and size * groups == layer.features * args[0].shape[-1]:
      changes['feature_group_count'] = args[0].shape[-1]
    return layer.clone(parent=layer.scope, **changes)(*args, **kwargs)

  return nn.intercept_methods(intercept)
