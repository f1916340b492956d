"""Kinds of input by the names that configs use, and the preprocessing of whole batches."""

import zlib
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from har.data.depth import Depth
from har.data.frames import Frames
from har.data.input import Arrays, Input
from har.data.options import read
from har.data.protocols import Splits
from har.data.signal import Signal
from har.data.skeleton import Skeleton
from har.errors import UserError

KINDS: dict[str, type[Input]] = {one.kind: one for one in (Signal, Frames, Depth, Skeleton)}

# Of fields that datasets have in common, where a config names no kind.
_KIND_OF_FIELD = {'imu': 'signal', 'rgb': 'frames', 'depth': 'depth', 'skeleton': 'skeleton'}
# What is folded into the augmentation's key for these names; others have their checksum.
_NUMBERS = {'imu': 0, 'rgb': 1, 'depth': 2, 'skeleton': 3}


def build(name: str, config: Any) -> Input:
  """An input from `config.inputs[name]`.

  Args:
    name: of the input.
    config: its `kind`, the `field` of records that it reads (both have defaults that follow from
      the name), and the kind's options.

  Raises:
    UserError: an unknown kind or option, or a value that makes no sense.
  """
  options = dict(config or {})
  field = options.pop('field', name)
  kind = options.pop('kind', _KIND_OF_FIELD.get(field))
  if kind not in KINDS:
    raise UserError(f'inputs.{name}.kind={kind!r}: not one of {", ".join(KINDS)}')
  return KINDS[kind](name, field, read(KINDS[kind].schema, options, f'inputs.{name}'))


def check_records(dataset: Any, splits: Splits, inputs: Mapping[str, Input]) -> None:
  """Checks that the records of the splits are such as the inputs can take.

  Reads those inputs' records that are in memory anyway; no video.

  Raises:
    UserError: a record is far longer or shorter than what an input makes of it.
  """
  inputs = {name: one for name, one in inputs.items() if not one.is_video}
  if not inputs:
    return
  records = dataset.records(tuple(dict.fromkeys(one.field for one in inputs.values())))
  used = np.concatenate([splits.train, splits.validation, splits.test])
  for one in inputs.values():
    one.check_lengths({dataset.index.key[i]: len(records[i][one.field]) for i in used})


def preprocess(
  batch: Mapping[str, Any],
  *,
  inputs: Mapping[str, Input],
  key: jax.Array | None = None,
  augment: Mapping[str, Mapping[str, Any]] | None = None,
  flip_safe: Any = None,
) -> Arrays:
  """What the model sees of a batch; pure and of static shape, for use inside a jitted function.

  One key serves a batch; each input folds its own number into it, so that adding one does not
  change what the others draw.

  Args:
    batch: as the loader gives it.
    inputs: by name; the batch's other entries are left out.
    key: PRNG key of this step; None (evaluation) augments nothing and crops video at the centre.
    augment: options of the augmentation by input; an input that is not named is not augmented.
    flip_safe: bool `[num_classes]`, false where left and right matter.

  Raises:
    UserError: an augmentation's option is unknown or wrong, or names no input.
  """
  augment = augment or {}
  for name in augment:
    if name not in inputs:
      raise UserError(f'augment.{name}: no input of the stage; there are {", ".join(inputs)}')
  result: Arrays = {}
  for name, one in inputs.items():
    # An input without its own entry is not augmented: its key is not even made.
    number = _NUMBERS.get(name, zlib.crc32(name.encode()) >> 1)
    own_key = None if key is None or name not in augment else jax.random.fold_in(key, number)
    settings = one.augment_options(augment.get(name))
    result |= one.preprocess(batch, own_key, settings, flip_safe)
    if f'{name}_present' in batch:
      result[f'{name}_present'] = jnp.asarray(batch[f'{name}_present'])
  return result
