"""Kinds of input by the names that configs use, and the preprocessing of whole batches."""

import zlib
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from har.data.depth import Depth
from har.data.flow import Flow
from har.data.frames import Frames
from har.data.input import Arrays, Input
from har.data.protocols import Splits
from har.data.signal import Signal
from har.data.skeleton import Skeleton
from har.errors import UserError
from har.options import ABSENT, MISSING, Option, Schema, read, section
from har.ranges import Anything, Choice, Text

KINDS: dict[str, type[Input]] = {one.kind: one for one in (Signal, Frames, Depth, Skeleton, Flow)}

# Of fields that datasets have in common, where a config names no kind.
_KIND_OF_FIELD = {
  'imu': 'signal',
  'rgb': 'frames',
  'depth': 'depth',
  'skeleton': 'skeleton',
  'flow': 'flow',
}
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
  options = read(schema(name, config), config, f'config.inputs.{name}')
  field, kind = options.pop('field'), options.pop('kind')
  return KINDS[kind](name, field, options)


def schema(name: str, config: Any) -> Schema:
  """The options of `config.inputs[name]`, which depend on its kind.

  Raises:
    UserError: an unknown kind.
  """
  where = f'config.inputs.{name}'
  field = Option(name, Text(), 'of records')
  given = {key: value for key, value in section(config, where).items() if key in ('field', 'kind')}
  read_from = read({'field': field, 'kind': Option(ABSENT, Anything())}, given, where)['field']
  kind = Option(_KIND_OF_FIELD.get(read_from, MISSING), Choice(tuple(KINDS)))
  named = read({'field': field, 'kind': kind}, given, where)['kind']
  return {'kind': kind, 'field': field, **KINDS[named].schema}


def check_rates(dataset: Any, inputs: Mapping[str, Any]) -> None:
  """Checks that inputs of several sensors have the rates that the records are stored at.

  Args:
    dataset: whose metadata may have `streams` and `stream_rates`, of the field `imu`.
    inputs: `config.inputs`.

  Raises:
    UserError: an input has other rates.
  """
  rates = dataset.metadata.get('stream_rates', {})
  stored = tuple(float(rates[stream]) for stream in dataset.metadata.get('streams', rates))
  for name, config in inputs.items():
    one = build(name, config)
    own = tuple(map(float, one.options.get('rates', ())))
    if one.field == 'imu' and stored and own and own != stored:
      raise UserError(
        f'inputs.{name}.rates={own}: the records of {dataset.name} are stored at {stored} samples '
        f'a second; set --config.inputs.{name}.rates (and length) to that'
      )


def check_records(dataset: Any, splits: Splits, inputs: Mapping[str, Input]) -> list[str]:
  """Checks that the records of the splits are such as the inputs can take.

  Reads records of inputs that are resampled; no video.

  Returns:
    Warnings, of records that are far shorter than what an input makes of them.

  Raises:
    UserError: a record is far longer than that.
  """
  inputs = {name: one for name, one in inputs.items() if one.options.get('fit') == 'resample'}
  if not inputs:
    return []
  records = dataset.records(tuple(dict.fromkeys(one.field for one in inputs.values())))
  used = np.concatenate([splits.train, splits.validation, splits.test])
  rows = {
    field: {dataset.index.key[i]: len(records[i][field]) for i in used}
    for field in {one.field for one in inputs.values()}
  }
  return [text for one in inputs.values() if (text := one.check_lengths(rows[one.field]))]


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
