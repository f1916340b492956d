"""Where a video model looks: Grad-CAM on frames (Selvaraju et al., ICCV 2017, Section 3.1)."""

import base64
import functools
import io
from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from har.data import loader
from har.data.input import Input
from har.errors import UserError
from har.models.mode import INFERENCE
from har.train.stage import QUICKLY_COMPILED

FRAMES = 6
_SIDE = 160
_OPACITY = 0.5
_COLOURS = 3

Path = tuple[str, ...]


def last_map(model: Any, variables: Any, inputs: Mapping[str, jax.Array], name: str) -> Path:
  """The path of the encoder's last layer that still has a height and a width.

  Args:
    model: as in `maps`.
    variables: of the model.
    inputs: preprocessed, of B examples.
    name: of a video input.

  Raises:
    UserError: there is none.
  """
  count, found = len(inputs[name]), []

  def record(call: Any, args: Any, kwargs: Any, context: Any) -> Any:
    out, path = call(*args, **kwargs), context.module.path
    shape: tuple[int, ...] = getattr(out, 'shape', ())
    spatial = len(shape) in (4, 5) and min(shape[-3:-1]) > 1 and shape[0] % count == 0
    if path[:1] == (name,) and context.method_name == '__call__' and spatial:
      found.append(path)
    return out

  with nn.intercept_methods(record):
    jax.eval_shape(lambda v, x: model.apply(v, x, INFERENCE), variables, inputs)
  if not found:
    raise UserError(f'{name}: no layer of its encoder has a height and a width')
  return found[-1]


def maps(
  model: Any, variables: Any, inputs: Mapping[str, jax.Array], name: str, classes: jax.Array
) -> jax.Array:
  """How much each place of the last layer with places speaks for a class.

  A channel's weight is the mean over the places of a time step of the logit's gradient.

  Args:
    model: maps inputs to `har.models.types.Outputs` with logits; called as a Linen module is.
    variables: of the model.
    inputs: preprocessed, of B examples.
    name: of the video input whose layer is looked at.
    classes: int32 `[B]`, which logit is explained.

  Returns:
    float32 `[B, T, H, W]` of that layer's time steps and places, in [0, 1]: 1 is the strongest
    place of a clip, and 0 what does not speak for the class.

  Raises:
    UserError: no layer has a height and a width.
  """
  path, count = last_map(model, variables, inputs, name), len(classes)

  def logits(added, read: bool):
    seen = []

    def intercept(call: Any, args: Any, kwargs: Any, context: Any) -> Any:
      out = call(*args, **kwargs)
      if context.module.path != path or context.method_name != '__call__':
        return out
      seen.append(out)
      return out if read else out + added.astype(out.dtype)

    with nn.intercept_methods(intercept):
      out = model.apply(variables, inputs, INFERENCE).logits
    return jnp.take_along_axis(out, classes[:, None], 1).sum(), seen[-1].astype(jnp.float32)

  shape = jax.eval_shape(lambda: logits(None, True)[1]).shape
  gradient, values = jax.grad(functools.partial(logits, read=False), has_aux=True)(jnp.zeros(shape))
  weights = gradient.mean((-3, -2), keepdims=True)
  heat = jax.nn.relu((weights * values).sum(-1)).reshape(count, -1, *shape[-3:-1])
  return heat / jnp.maximum(heat.max((1, 2, 3), keepdims=True), 1e-12)


def strip(frames: np.ndarray, heat: np.ndarray) -> str:
  """Frames above the same frames with the map over them.

  Args:
    frames: uint8 `[T, H, W, 3]`.
    heat: `[T', h, w]` in [0, 1]; a time step covers an equal share of the frames.

  Returns:
    A `data:` address of a JPEG, of `FRAMES` frames at most.
  """
  import matplotlib  # Takes a second.

  chosen = np.unique(((np.arange(FRAMES) + 0.5) * len(frames) / FRAMES).astype(int))
  colours = matplotlib.colormaps['inferno']
  columns = []
  for t in chosen.tolist():
    plain = Image.fromarray(frames[t]).resize((_SIDE, _SIDE), Image.Resampling.BILINEAR)
    own = heat[t * len(heat) // len(frames)].astype(np.float32)
    size, way = (_SIDE, _SIDE), Image.Resampling.BICUBIC
    smooth = np.clip(np.asarray(Image.fromarray(own).resize(size, way)), 0, 1)
    over = Image.fromarray((255 * colours(smooth)[..., :3]).astype(np.uint8))
    both = np.asarray(plain), np.asarray(Image.blend(plain, over, _OPACITY))
    columns.append(np.concatenate(both))
  buffer = io.BytesIO()
  Image.fromarray(np.concatenate(columns, 1)).save(buffer, 'JPEG', quality=85)
  return 'data:image/jpeg;base64,' + base64.b64encode(buffer.getvalue()).decode()


def shown(inputs: Mapping[str, Input]) -> list[str]:
  """Names of the inputs that are video."""
  return [name for name, one in inputs.items() if one.is_video]


def picture(x: np.ndarray) -> np.ndarray:
  """Frames uint8 `[..., C]` as colours: of flow the first one, x as red and y as green."""
  if x.shape[-1] == _COLOURS:
    return x
  return np.concatenate([x[..., :2], np.full_like(x[..., :1], 128)], -1)


def strips(
  stage: Any, variables: Any, records: Any, positions: Sequence[int], classes: Sequence[int]
) -> list[dict[str, str]]:
  """For each example `strip` of every input with pictures, by name.

  Args:
    stage: a `har.train.stage.Stage` that classifies.
    variables: of its model.
    records: random access to the dataset's records.
    positions: of the examples in it.
    classes: which class is explained of each.

  Raises:
    UserError: an encoder without places.
  """
  names = shown(stage.inputs)
  if not names or not positions:
    return [{} for _ in positions]
  (batch,) = loader.eval_batches(records, positions, stage.inputs, len(positions))
  targets = jnp.asarray(classes, jnp.int32)

  def explain(variables, batch):
    inputs = stage.preprocess(batch)
    return {name: maps(stage.model, variables, inputs, name, targets) for name in names}

  # It runs once, on a few clips: optimising it would take far longer.
  heat = jax.device_get(jax.jit(explain, compiler_options=QUICKLY_COMPILED)(variables, batch))
  found = []
  for i in range(len(positions)):
    pictures = {}
    for name in names:
      size = stage.inputs[name].options['size']
      start = (batch[name].shape[2] - size) // 2
      frames = batch[name][i, :, start : start + size, start : start + size]
      pictures[name] = strip(picture(frames), heat[name][i])
    found.append(pictures)
  return found
