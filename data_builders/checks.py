"""What a builder says of its dataset and what it is about to write, checked while it is built.

It works on any TFDS builder; see `checking`.
"""

import contextlib
import functools
import json
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence, Sized
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from data_builders import fingerprint
from har.errors import UserError

Examples = Iterable[tuple[Any, Mapping[str, Any]]]

# What builders find out only while they build, and notes.
_NOT_COMPARED = ('missing', 'absent', 'raw_files', 'frames')
_LABEL = tfds.features.ClassLabel
_METHODS = ('_split_generators', '_shard_iterators_per_split')


def metadata(info: tfds.core.DatasetInfo) -> dict[str, Any]:
  """What the builder says of its dataset, as stored if it is; empty if it says nothing."""
  return dict(info.metadata or {})


def columns(info: tfds.core.DatasetInfo) -> list[str]:
  """Fields of records that are one whole number, truth value or text, modalities left aside."""
  modalities = metadata(info).get('modalities', ())
  kinds = (np.integer, np.bool_, np.object_)
  return [
    name
    for name, feature in info.features.items()
    if isinstance(feature, tfds.features.Tensor)
    and feature.shape == ()
    and any(np.issubdtype(feature.np_dtype, kind) for kind in kinds)
    and name not in modalities
  ]


def signals(info: tfds.core.DatasetInfo) -> list[str]:
  """Fields of records with more than one value, masks left aside."""
  return [
    name
    for name, feature in info.features.items()
    if feature.shape != () and not name.endswith('_mask')
  ]


def is_encoded(feature: tfds.features.FeatureConnector) -> bool:
  """Whether a field is encoded files, such as frames, not numbers."""
  return feature.np_dtype == np.object_ or not _is_numeric(feature)


def _is_numeric(feature: tfds.features.FeatureConnector) -> bool:
  inner = feature.feature if isinstance(feature, tfds.features.Sequence) else feature
  return isinstance(inner, tfds.features.Tensor)


def check_info(builder: Any) -> None:
  """Checks what a builder says before it writes anything; notes on stderr what it leaves out.

  Raises:
    UserError: no classes, or a class or field in its metadata that is none.
  """
  features, facts = builder.info.features, metadata(builder.info)
  if 'label' not in (features or ()) or not isinstance(features['label'], _LABEL):
    raise UserError(f'{builder.name}: _info gives no feature `label` that is a ClassLabel')
  classes = features['label'].names
  for name, kind, known in (
    ('flip_sensitive', 'class', classes),
    ('abnormal', 'class', classes),
    ('modalities', 'field', features),
    ('optional', 'field', features),
  ):
    unknown = [one for one in facts.get(name, ()) if one not in known]
    if unknown:
      raise UserError(
        f'{builder.name}: metadata {name}: {unknown[0]!r} is no {kind}; known: {", ".join(known)}'
      )
  lacking = [f'field {name}' for name in ('key', 'subject') if name not in features]
  lacking += [f'metadata {name}' for name in ('train_subjects', 'rates') if name not in facts]
  if lacking:
    print(
      f'note: {builder.name}: _info gives no {", no ".join(lacking)}; what holds without is in '
      'data_builders/README.md',
      file=sys.stderr,
    )


def description_changes(builder: Any, found: Collection[str] = ()) -> list[str]:
  """What a prepared dataset was described as, and is another today; see `fingerprint.Change.text`.

  Args:
    builder: whose dataset it is.
    found: metadata that the builder found out while building.

  Raises:
    UserError: its description is damaged.
  """
  # Not builder.info, whose features are today's: TFDS drops the error that the stored ones differ.
  try:
    stored = tfds.features.FeaturesDict.from_config(builder.data_dir)
  except Exception as error:  # Whatever TFDS makes of a file that is gone or damaged.
    raise UserError(
      f'{builder.data_dir}: its features.json cannot be read; delete this folder to have it built '
      'anew'
    ) from error
  today = builder._info()
  before, now = metadata(builder.info), metadata(today)
  left_out = {*_NOT_COMPARED, *found}
  pairs = {
    'classes': (_classes(stored), _classes(today.features)),
    **{
      f'field {f}': (_form(stored, f), _form(today.features, f))
      for f in sorted({*stored, *today.features})
    },
    **{f: (before.get(f), now.get(f)) for f in sorted({*before, *now}) if f not in left_out},
  }
  plain = {name: [json.loads(json.dumps(x)) for x in pair] for name, pair in pairs.items()}
  return [fingerprint.difference(name, a, b) for name, (a, b) in plain.items() if a != b]


def _classes(features: tfds.features.FeaturesDict) -> list[str] | None:
  return getattr(features['label'], 'names', None) if 'label' in features else None


def _form(features: tfds.features.FeaturesDict, name: str) -> str:
  return repr(features[name]) if name in features else 'absent'


def _is_empty(value: Any) -> bool:
  if isinstance(value, np.ndarray):
    return value.size == 0
  return isinstance(value, Sized) and len(value) == 0


class Checker:
  """Checks examples; one for a whole build, so that no key is there twice.

  Args:
    builder: whose examples they are.
  """

  def __init__(self, builder: Any):
    self._name, self._features = builder.name, builder.info.features
    self._optional = set(metadata(builder.info).get('optional', ()))
    self._seen: set[Any] = set()

  def split(self, name: str, examples: Examples) -> Iterator[tuple[Any, Mapping[str, Any]]]:
    """Passes on what a generator gives, checked.

    Raises:
      UserError: an example that is not as it should be, or none at all; it names the record.
    """
    empty = True
    for key, example in examples:
      empty = False
      if (name, key) in self._seen:
        raise UserError(f'{self._name}: the split {name} has the key {key!r} twice')
      self._seen.add((name, key))
      yield key, self._checked(key, example)
    if empty:
      raise UserError(f'{self._name}: the split {name} has no record')

  def shard(self, examples: Callable[[], Examples]) -> Iterator[tuple[Any, Mapping[str, Any]]]:
    """The same of a shard, whose keys need only be unique as the records' field."""
    for key, example in examples():
      yield key, self._checked(key, example)

  def _checked(self, key: Any, example: Mapping[str, Any]) -> Mapping[str, Any]:
    where = f'{self._name}: record {example.get("key", key)!r}'
    for name in self._features:
      if name not in example:
        raise UserError(f'{where} has no {name!r}, which _info names')
    for name in example:
      if name not in self._features:
        raise UserError(f'{where} has {name!r}, which _info does not name')
    if 'key' in example:
      if ('key', example['key']) in self._seen:
        raise UserError(f'{where}: another record has the same key')
      self._seen.add(('key', example['key']))
    for name, value in example.items():
      fault = self._fault(name, value)
      if fault:
        raise UserError(f'{where}: {name} {fault}')
    return example

  def _fault(self, name: str, value: Any) -> str:
    """What is wrong with a field; empty if nothing is."""
    feature = self._features[name]
    if value is None:
      return 'is None'
    masked = name.endswith('_mask') or f'{name}_mask' in self._features
    may_be_empty = masked or name in self._optional
    if name == 'key' and value in ('', b''):
      return 'is empty'
    if feature.shape != () and not may_be_empty and _is_empty(value):
      return 'is empty'
    if feature.shape != () and is_encoded(feature):
      empty = isinstance(value, Sequence) and any(v in ('', b'') for v in value)
      return 'has an empty frame' if empty else ''
    try:
      with np.errstate(over='ignore'):  # What float32 does not hold becomes infinite.
        encoded = np.asarray(feature.encode_example(value))
        floats = np.issubdtype(feature.np_dtype, np.floating)
        numbers = np.asarray(value, feature.np_dtype if floats else None)
    except Exception as error:  # Whatever TFDS makes of other shapes, types and class names.
      return f'does not fit _info ({" ".join(str(error).split())[:200]})'
    if name == 'label' and encoded < 0:  # TFDS takes it for none.
      return f'is {encoded}, no class'
    if floats and not np.isfinite(numbers).all():
      at = np.argwhere(~np.isfinite(numbers))[0].tolist()
      given = np.asarray(value, np.float64)[tuple(at)]
      if np.isfinite(given):
        return f'has a value of {given:.3g}, which {numbers.dtype} does not hold, at {at}'
      return f'has a value that is not finite, at {at}'
    return ''


@contextlib.contextmanager
def checking(builder: Any) -> Iterator[None]:
  """Has all that a builder generates checked on its way to the files.

  A build by several processes (Apache Beam's shards) finds a key that two of them have only when
  the dataset is opened.
  """
  checker = Checker(builder)
  method = next(name for name in _METHODS if hasattr(builder, name))
  generate = getattr(builder, method)

  @functools.wraps(generate)
  def checked(*args, **kwargs):
    splits = generate(*args, **kwargs)
    if not isinstance(splits, Mapping):
      raise UserError(f'{builder.name}: {method} does not give a dict with an entry for each split')
    if method == _METHODS[1]:
      return {
        name: [functools.partial(checker.shard, shard) for shard in shards]
        for name, shards in splits.items()
      }
    for name, examples in splits.items():
      if not isinstance(examples, Iterable):
        raise UserError(f'{builder.name}: the split {name} is not a generator of examples')
    return {name: checker.split(name, examples) for name, examples in splits.items()}

  setattr(builder, method, checked)
  try:
    yield
  finally:
    delattr(builder, method)
