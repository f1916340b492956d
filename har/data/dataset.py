"""A prepared dataset by name: its index, and random access to the fields asked for."""

import contextlib
import dataclasses
import importlib
import inspect
import json
import pathlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from google.protobuf import json_format
from tensorflow_datasets.core import dataset_info

from data_builders import checks, preparation
from har.data.protocols import Index
from har.errors import UserError

# Of JSON that is cut, empty, no text, no file or not to be read, and of other JSON.
_DAMAGED = (
  json_format.ParseError,
  json.JSONDecodeError,
  UnicodeDecodeError,
  dataset_info.DatasetInfoFileError,
  AssertionError,
  PermissionError,
  IsADirectoryError,
)
_SPLITS = ('train', 'validation', 'test')
"""The order of their records in an index; splits of other names come after them."""


class Records:
  """Random access to all records of a dataset, split by split, decoding only the named fields.

  Item i is a dict of NumPy values. Works from several threads and pickles for worker processes.

  Args:
    sources: one random access to serialised examples a split.
    features: the dataset's features.
    fields: names of the features to decode; the rest of a record is skipped.
    folder: of the dataset, for messages.
  """

  def __init__(
    self, sources: Collection[Any], features: tfds.features.FeaturesDict, fields, folder: Any
  ):
    self._folder = str(folder)
    self._sources = tuple(sources)
    self._starts = np.cumsum([0] + [len(source) for source in self._sources])
    self._features = tfds.features.FeaturesDict({name: features[name] for name in fields})

  def __len__(self) -> int:
    return int(self._starts[-1])

  def __getitem__(self, i: int) -> dict[str, Any]:
    if not 0 <= i < len(self):
      raise IndexError(f'record {i} of {len(self)}')
    split = int(np.searchsorted(self._starts, i, side='right')) - 1
    try:
      serialised = self._sources[split][int(i - self._starts[split])]
      return self._features.deserialize_example_np(serialised)
    except Exception as e:  # Whatever array_record and protobuf make of damaged files.
      raise UserError(_unreadable(self._folder, f'record {i}', e)) from e


@dataclasses.dataclass(frozen=True)
class Dataset:
  """A prepared dataset.

  Attributes:
    name: the builder's `title`, if it has one, or else its folder in data_builders.
    class_names: in label order.
    metadata: what the builder says of its data, as far as it does: `modalities` (else all fields
      that are not single values), `rates` (Hz; else exported files do not state them),
      `train_subjects` (else there is no protocol cross_subject), `protocols` (see
      `har.data.protocols.make_splits`), `flip_sensitive` and `abnormal` (class names; else none),
      `optional` (fields that may be empty), `missing` (keys by modality).
    index: what is known of every record.
    source: the TFDS builder that prepared it.
    channels: of each field, the name and unit of each channel (of skeletons, of each joint), as far
      as the builder says so in its attribute `CHANNELS`.
    hidden: by field, the classes that it does not show before the test, see `har.data.hidden`.
  """

  name: str
  class_names: tuple[str, ...]
  metadata: Mapping[str, Any]
  index: Index
  source: Any
  channels: Mapping[str, Sequence[tuple[str, str]]] = dataclasses.field(default_factory=dict)
  hidden: Mapping[str, Sequence[str]] = dataclasses.field(default_factory=dict)

  @property
  def modalities(self) -> tuple[str, ...]:
    """The modalities that records hold."""
    given = self.metadata.get('modalities')
    return tuple(checks.signals(self.source.info) if given is None else given)

  @property
  def missing(self) -> dict[str, list[str]]:
    """Keys of the trials left out for want of a modality, by modality; empty if none are."""
    return {m: list(keys) for m, keys in self.metadata.get('missing', {}).items() if len(keys)}

  @property
  def flip_safe(self) -> np.ndarray:
    """bool `[num_classes]`, false where mirroring a clip would change its class."""
    return ~np.isin(self.class_names, list(self.metadata.get('flip_sensitive', ())))

  def unknown(self, fields: Collection[str]) -> np.ndarray:
    """bool `[num_classes]`, true where none of these fields shows the class before the test."""
    found = [np.isin(self.class_names, self.hidden.get(field, ())) for field in fields]
    return np.all(found, axis=0)

  def records(self, modalities: Collection[str]) -> Any:
    """Returns random access to dicts with `label`, these modalities and, if there is one, `key`.

    Where records say which of a modality's streams were heard when, `<modality>_mask` is with them.

    Records are in the order of `index`. Signals (arrays) are read once and kept in memory; as soon
    as encoded frames are among them, each access reads from disk. Frames stay encoded.

    Raises:
      UserError: for a modality that the dataset was not prepared with.
    """
    self.check(modalities)
    features = self.source.info.features
    more = [f for f in ('key', *(f'{m}_mask' for m in modalities)) if f in features]
    records = _open(self.source, ('label', *modalities, *more))
    if any(checks.is_encoded(features[m]) for m in modalities):
      return records
    return [records[i] for i in range(len(records))]

  def check(self, modalities: Collection[str]) -> None:
    """Raises UserError for a modality that the dataset was not prepared with."""
    for modality in modalities:
      if modality not in self.modalities:
        raise UserError(
          f'{self.name}: prepared without {modality}; it has {", ".join(self.modalities)}'
        )


def _open(builder: Any, fields: Collection[str]) -> Records:
  try:
    sources = [
      builder.as_data_source(split, deserialize_method=tfds.decode.DeserializeMethod.RAW_BYTES)
      for split in _counts(builder)
    ]
    opened = [source.data_source for source in sources]
    return Records(opened, builder.info.features, fields, builder.data_dir)
  except Exception as e:  # Shards that are gone, cut or no shards at all.
    raise UserError(_unreadable(builder.data_dir, 'a file', e)) from e


def _unreadable(folder: Any, what: str, error: Exception) -> str:
  reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
  return (
    f'{folder}: {what} cannot be read ({reason}): delete this folder to have the dataset built anew'
  )


@contextlib.contextmanager
def _describing(name: str, data_dir: str | None) -> Iterator[None]:
  """Tells of damaged files that describe a prepared dataset, which its builder reads first."""
  try:
    yield
  except _DAMAGED as e:
    folder = pathlib.Path(data_dir or tfds.core.constants.DATA_DIR) / name
    what = 'dataset_info.json or metadata.json of a prepared dataset'
    raise UserError(_unreadable(folder, what, e)) from e


def _counts(builder: Any) -> dict[str, int]:
  """Number of records of every split that has any, in the index's order."""
  found = {name: split.num_examples for name, split in builder.info.splits.items()}
  order = [*(n for n in _SPLITS if n in found), *sorted(set(found) - set(_SPLITS))]
  return {name: found[name] for name in order if found[name]}


def read_index(builder: Any) -> Index:
  """Reads every column of a prepared builder: its fields that are one whole number or text.

  `split` is the field of that name or else TFDS's split; records without a field `key` are named
  after split and position, `train_0`.

  Raises:
    UserError: files that cannot be read, or a key that is there twice.
  """
  counts = _counts(builder)
  names = checks.columns(builder.info)
  records = _open(builder, names)
  rows = [records[i] for i in range(len(records))]
  columns = {
    'key': np.array([f'{name}_{i}' for name, count in counts.items() for i in range(count)]),
    'label': np.zeros(0),
    'split': np.repeat(list(counts), list(counts.values())),
  }
  for name in names:
    values = [row[name] for row in rows]
    with contextlib.suppress(UnicodeDecodeError):  # A file, not a text.
      texts = [v.decode() if isinstance(v, bytes) else v for v in values]
      columns[name] = np.array(texts, np.int32 if name == 'label' else None)
  columns['key'] = columns['key'].astype(str)
  keys, times = np.unique(columns['key'], return_counts=True)
  if (times > 1).any():
    raise UserError(f'{builder.data_dir}: the key {keys[times > 1][0]} is there more than once')
  return Index(columns)


def known() -> tuple[str, ...]:
  """Names of the datasets that have a builder in `data_builders`."""
  package = importlib.import_module('data_builders')
  return tuple(
    sorted(
      path.parent.name
      for folder in package.__path__
      for path in pathlib.Path(folder).glob('*/*_dataset_builder.py')
      if path.name == f'{path.parent.name}_dataset_builder.py'
    )
  )


def _module(name: str) -> Any:
  """A dataset's module with its class Builder."""
  if name not in known():
    raise UserError(f'dataset {name!r}: no such builder; known: {", ".join(known())}')
  module = importlib.import_module(f'data_builders.{name}.{name}_dataset_builder')
  if not hasattr(module, 'Builder'):
    raise UserError(f'{module.__file__}: has no class Builder')
  return module


def load(
  name: str,
  modalities: Collection[str],
  *,
  data_dir: str | None = None,
  raw_dir: str | None = None,
  require_complete: bool = True,
  abnormal: Collection[str] = (),
  builder_options: Mapping[str, Any] | None = None,
) -> Dataset:
  """Opens a dataset, preparing it first if that has not been done.

  Any TFDS builder that gives its examples a ClassLabel `label` will do; of the arguments below it
  gets those that its constructor names.

  Args:
    name: a folder of data_builders.
    modalities: fields that records must hold.
    data_dir: where prepared datasets live; None for TFDS's default.
    raw_dir: the folder with the owner's files; TFDS's `manual_dir` for builders that use that.
    require_complete: whether a trial that lacks one of the modalities is an error; if not, it is
      left out and listed in `missing`.
    abnormal: classes that a monitoring system should report, in place of the builder's.
    builder_options: further arguments of the dataset's own builder.

  Raises:
    UserError: unknown dataset, modality, class or option, anything wrong with the raw files or with
      the records that the builder makes of them.
  """
  module = _module(name)
  accepted = inspect.signature(module.Builder.__init__).parameters
  for option in builder_options or {}:
    if option not in accepted:
      raise UserError(f'{option}: the dataset {name} has no such option')
  if not require_complete and 'require_complete' not in accepted:
    raise UserError(f'require_complete=false: the dataset {name} has no such option')
  arguments = {
    'modalities': tuple(sorted(set(modalities))),
    'require_complete': require_complete,
    'raw_dir': raw_dir,
  }
  taken = {key: value for key, value in arguments.items() if key in accepted}
  options = taken | dict(builder_options or {})
  with preparation.without_tensorflow(name):
    try:
      with preparation.quiet(), _describing(name, data_dir):
        builder = module.Builder(data_dir=data_dir, **options)
        _ = builder.info.metadata  # Read from its file now.
    except ValueError as error:  # TFDS's, of what _info says.
      raise UserError(f'{module.__file__}: no dataset can be described ({error})') from error
    preparation.prepare(builder, None if 'raw_dir' in taken else raw_dir, options)
  metadata = checks.metadata(builder.info)
  class_names = tuple(builder.info.features['label'].names)
  if unknown := [one for one in abnormal if one not in class_names]:
    raise UserError(f'abnormal: {unknown[0]!r} is no class of {name}: {", ".join(class_names)}')
  metadata |= {'abnormal': list(abnormal)} if abnormal else {}
  title, channels = getattr(builder, 'title', name), getattr(builder, 'CHANNELS', {})
  data = Dataset(title, class_names, metadata, read_index(builder), builder, channels)
  data.check(modalities)
  return data
