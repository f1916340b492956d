"""A prepared dataset by name: its index, and random access to the modalities asked for."""

import dataclasses
import importlib
import inspect
import pathlib
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from har.data import options
from har.data.protocols import Index
from har.errors import UserError

SPLITS = ('train', 'test')
_PLACES = ('cam', 'scene', 'session')


class Records:
  """Random access to all records of a dataset, train split first, decoding only the named fields.

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
    name: the builder's folder in data_builders.
    class_names: in label order.
    metadata: what the builder says of its data: `modalities`, `rates` (Hz), `train_subjects`,
      `flip_sensitive` and `abnormal` (class names), `missing` (keys by modality).
    index: what is known of every record.
    source: the TFDS builder that prepared it.
  """

  name: str
  class_names: tuple[str, ...]
  metadata: Mapping[str, Any]
  index: Index
  source: Any

  @property
  def modalities(self) -> tuple[str, ...]:
    """The modalities that records hold."""
    return tuple(self.metadata['modalities'])

  @property
  def missing(self) -> dict[str, list[str]]:
    """Keys of the trials left out for want of a modality, by modality; empty if none are."""
    return {m: list(keys) for m, keys in self.metadata.get('missing', {}).items() if len(keys)}

  @property
  def flip_safe(self) -> np.ndarray:
    """bool `[num_classes]`, false where mirroring a clip would change its class."""
    return ~np.isin(self.class_names, list(self.metadata.get('flip_sensitive', ())))

  def records(self, modalities: Collection[str]) -> Any:
    """Returns random access to dicts with `key`, `label` and just these modalities.

    Where records say which of a modality's streams were heard when, `<modality>_mask` is with them.

    Records are in the order of `index`. Signals (IMU, skeleton) are read once and kept in memory;
    as soon as a video modality is among them, each access reads from disk. Frames stay encoded.

    Raises:
      UserError: for a modality that the dataset was not prepared with.
    """
    for modality in modalities:
      if modality not in self.modalities:
        raise UserError(
          f'{self.name}: prepared without {modality}; it has {", ".join(self.modalities)}'
        )
    masks = [f'{m}_mask' for m in modalities if f'{m}_mask' in self.source.info.features]
    records = _open(self.source, ('key', 'label', *modalities, *masks))
    if set(modalities) & set(options.VIDEO):
      return records
    return [records[i] for i in range(len(records))]


def _open(builder: Any, fields: Collection[str]) -> Records:
  try:
    sources = [
      builder.as_data_source(split, deserialize_method=tfds.decode.DeserializeMethod.RAW_BYTES)
      for split in SPLITS
      if _count(builder, split)
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


def _count(builder: Any, split: str) -> int:
  splits = builder.info.splits
  return splits[split].num_examples if split in splits else 0


def _text(value: Any) -> str:
  return value.decode() if isinstance(value, bytes) else str(value)


def read_index(builder: Any) -> Index:
  """Reads what `Index` holds from a prepared builder."""
  numbers = [f for f in ('subject', 'trial', *_PLACES) if f in builder.info.features]
  records = _open(builder, ('key', 'label', *numbers))
  rows = [records[i] for i in range(len(records))]
  columns = {f: np.array([row[f] for row in rows], np.int32) for f in ('label', *numbers)}
  if 'trial' not in columns:
    columns['trial'] = columns['session']
  return Index(
    key=np.array([_text(row['key']) for row in rows]),
    split=np.repeat(SPLITS, [_count(builder, split) for split in SPLITS]),
    **columns,
  )


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


def load(
  name: str,
  modalities: Collection[str],
  *,
  data_dir: str | None = None,
  raw_dir: str | None = None,
  require_complete: bool = True,
  builder_options: Mapping[str, Any] | None = None,
) -> Dataset:
  """Opens a dataset, preparing it first if that has not been done.

  Args:
    name: a folder of data_builders.
    modalities: what records must hold, any of `har.data.options.MODALITIES`.
    data_dir: where prepared datasets live; None for TFDS's default.
    raw_dir: the folder with the owner's files, needed only to prepare.
    require_complete: whether a trial that lacks one of the modalities is an error; if not, it is
      left out and listed in `missing`.
    builder_options: further arguments of the dataset's own builder.

  Raises:
    UserError: unknown dataset, modality or option, or anything wrong with the raw files.
  """
  if name not in known():
    raise UserError(f'dataset {name!r}: no such builder; known: {", ".join(known())}')
  for modality in modalities:
    if modality not in options.MODALITIES:
      raise UserError(f'modality {modality!r}: not one of {", ".join(options.MODALITIES)}')
  module = importlib.import_module(f'data_builders.{name}.{name}_dataset_builder')
  known_options = inspect.signature(module.Builder.__init__).parameters
  for option in builder_options or {}:
    if option not in known_options:
      raise UserError(f'{option}: the dataset {name} has no such option')
  builder = module.Builder(
    data_dir=data_dir,
    modalities=tuple(m for m in options.MODALITIES if m in modalities),
    require_complete=require_complete,
    raw_dir=raw_dir,
    **(builder_options or {}),
  )
  builder.download_and_prepare()
  return Dataset(
    name=name,
    class_names=tuple(builder.info.features['label'].names),
    metadata=dict(builder.info.metadata),
    index=read_index(builder),
    source=builder,
  )
