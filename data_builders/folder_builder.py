"""The base of builders that need no code: what is in a dataset is known from its folder alone."""

import dataclasses
import functools
import hashlib
import json
import pathlib
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds

from data_builders import catalogue, fingerprint, folders, preparation
from data_builders.catalogue import Entry
from har.errors import UserError

_TITLE = re.compile(r'[A-Za-z][\w-]{0,63}', re.ASCII)
_PER_SHARD = 256
_ELEMENTS = {
  'classes': "pairs of a class and a pattern of labels, such as (('fall','F*'),('daily','D*'))",
  'train_subjects': 'numbers or names, such as (1,2)',
  'sensors': "names, such as ('accel','gyro')",
  'units': "texts, such as ('m/s^2','rad/s')",
  'columns': "names or positions, such as ('x','y','z')",
}
# Enough to tell a few bad files from a folder of something else.
_HOPELESS = 100
_INT32 = 2**31


@dataclasses.dataclass(frozen=True)
class Listing:
  """What a folder holds.

  Attributes:
    folder: its files.
    entries: the records to be made, in order.
    faults: of rows that cannot be records.
    classes: in label order.
    label_of: by label in the list or path, its class.
    columns: by column, whether it holds whole numbers.
  """

  folder: folders.Folder
  entries: Sequence[Entry]
  faults: Sequence[str]
  classes: tuple[str, ...]
  label_of: Mapping[str, str]
  columns: Mapping[str, bool]


class FolderBuilder(preparation.Builder, skip_registration=True):  # type: ignore[call-arg]
  """Builds a dataset from a folder of recordings; a subclass says how they are read.

  The folder has `labels.csv`, or paths that a pattern reads, or class folders; see
  `data_builders.catalogue`. Records have `key`, `label`, the columns of the list or the pattern, of
  which those with nothing but whole numbers are numbers, and what the subclass adds. There always
  is a column `group`, see `catalogue.in_groups`. With `classes` given, `action` is the label as the
  folder has it. All are in TFDS's split 'train'; a column `split` is the dataset's own list.
  `info.metadata` has `modalities`, `rates`, `train_subjects` if given, `records` (their number and
  a digest of what is known of them) and `missing` (keys left out by `allow_corrupt`).
  """

  VERSION = tfds.core.Version('1.0.0')
  FIELD: ClassVar[str]
  SUFFIXES: ClassVar[tuple[str, ...]]
  # What the list says is in the metadata's `records`.
  HARMLESS = (*fingerprint.HARMLESS, 'allow_corrupt', 'labels')
  _OWN: ClassVar[tuple[str, ...]] = ('key', 'label', 'action', 'recording', 'start', 'end')

  def __init__(
    self,
    *,
    title: str,
    labels: str,
    pattern: str,
    classes: Sequence[Sequence[str]],
    train_subjects: Sequence[int | str],
    allow_corrupt: int,
    raw_dir: str | pathlib.Path | None,
    data_dir: str | pathlib.Path | None,
    options: Mapping[str, Any],
    sensors: Sequence[str] = (),
  ):
    """Describes a dataset; `download_and_prepare` builds it.

    Args:
      title: the dataset's name among prepared ones.
      labels: path of the list, in `raw_dir` or anywhere else; '' for `labels.csv` in `raw_dir`.
      pattern: of paths, in place of a list; see `catalogue.by_pattern`.
      classes: pairs of a class and a pattern of labels with * and ?, such as ('fall', 'F*'), in
        label order; none: each label is a class, in natural order.
      train_subjects: values of the column `subject` that train under the protocol cross_subject.
      allow_corrupt: how many records that cannot be made to leave out; each is named.
      raw_dir: folder with the recordings; None: the dataset has been prepared.
      data_dir: folder of prepared datasets; TFDS's own if None.
      options: all others, which change what records hold.
      sensors: whose files belong together; none: a record has one file.
    """
    if not (isinstance(title, str) and _TITLE.fullmatch(title)):
      raise UserError(
        f'title={title!r}: name the dataset by letters, digits, - and _, such as '
        '--config.dataset.options.title=my_falls'
      )
    check_tuples(
      classes=(classes, lambda pair: _is_tuple(pair) and [*map(type, pair)] == [str, str]),
      train_subjects=(train_subjects, lambda one: isinstance(one, int | str)),
      sensors=(sensors, lambda one: isinstance(one, str) and one != ''),
    )
    self.raw_dir = pathlib.Path(raw_dir).expanduser() if raw_dir is not None else None
    self._sensors, self._allow_corrupt = tuple(sensors), allow_corrupt
    chosen = {
      'title': title,
      'labels': labels,
      'pattern': pattern,
      'classes': [list(pair) for pair in classes],
      'train_subjects': list(train_subjects),
      **options,
    }
    self._options, self.title = chosen, title
    self._left_out: list[str] = []
    self._faults: list[str] = []
    with preparation.quiet():
      config = tfds.core.BuilderConfig(name=title, description=f'{title}, from a folder')
      super().__init__(data_dir=data_dir, config=config)
    given = {'allow_corrupt': allow_corrupt, 'raw_dir': raw_dir, 'data_dir': data_dir}
    self._original_state = {**chosen, **given}

  @functools.cached_property
  def listing(self) -> Listing:
    """What the folder holds.

    Raises:
      UserError: no folder, or a list, paths or labels that are wrong.
    """
    if self.raw_dir is None:
      raise UserError(
        f'{self.name}: no dataset {self._options["title"]!r} has been prepared in '
        f'{self.data_dir_root}; pass the folder with its recordings as --raw_dir, or where it has '
        'been as --data_dir'
      )
    folder = folders.Folder(self.raw_dir, self.SUFFIXES)
    entries, faults = self._find(folder)
    self._grouped = any({'group', 'subject'} & {*entry.columns} for entry in entries)
    entries = catalogue.in_groups(entries)
    classes, label_of = catalogue.name_classes(entries, self._options['classes'])
    entries, twice = catalogue.once(entries)
    faults = [*faults, *twice]
    return Listing(folder, entries, faults, classes, label_of, self._columns(entries))

  def _find(self, folder: folders.Folder) -> tuple[list[Entry], list[str]]:
    pattern, labels = self._options['pattern'], self._options['labels']
    if pattern and labels:
      raise UserError(f'pattern={pattern!r} and labels={labels!r}: give one of them')
    if pattern:
      return catalogue.by_pattern(folder, pattern, self._sensors), []
    if not labels:
      lists = [path for path in folder.paths if path.rpartition('/')[2].lower() == catalogue.LABELS]
      if len(lists) > 1:
        raise UserError(f'{folder.root}: has {lists[0]} and {lists[1]}; set the option labels')
      labels = lists[0] if lists else ''
    if labels:
      return catalogue.by_list(folder, labels, self._sensors)
    if self._sensors:
      raise UserError(
        f'{folder.root}: has no {catalogue.LABELS}; files of several sensors need one, or a pattern'
      )
    return catalogue.by_folder(folder, self.SUFFIXES), []

  def _columns(self, entries: Sequence[Entry]) -> dict[str, bool]:
    names = list(entries[0].columns) if entries else []
    for name in names:
      if not name or name in (*self._OWN, self.FIELD, f'{self.FIELD}_mask'):
        raise UserError(f'{entries[0].where}: {name!r} cannot be the name of a column; rename it')
    return {name: catalogue.is_whole([entry.columns[name] for entry in entries]) for name in names}

  def _info(self) -> tfds.core.DatasetInfo:
    stored = self._stored() if self.raw_dir is None else None
    if stored is not None:
      features, facts = stored
    else:
      features, facts = self._features(), self._facts()
    return self.dataset_info_from_configs(
      features=features, metadata=tfds.core.MetadataDict(facts), disable_shuffling=True
    )

  def _stored(self) -> tuple[tfds.features.FeaturesDict, dict[str, Any]] | None:
    """Fields and metadata of the prepared dataset; None if there is none."""
    try:
      facts = json.loads((pathlib.Path(self.data_dir) / 'metadata.json').read_text())
      return tfds.features.FeaturesDict.from_config(self.data_dir), facts
    except Exception:  # Whatever TFDS makes of a folder that is not there or damaged.
      return None

  def _features(self) -> tfds.features.FeaturesDict:
    listing = self.listing
    features: dict[str, Any] = {
      'key': tfds.features.Text(),
      'label': tfds.features.ClassLabel(names=list(listing.classes)),
    }
    if self._options['classes']:
      features['action'] = tfds.features.Text()
    for name, whole in listing.columns.items():
      wide = whole and any(abs(int(e.columns[name])) >= _INT32 for e in listing.entries)
      number = tfds.features.Scalar(dtype=np.int64 if wide else np.int32)
      features[name] = number if whole else tfds.features.Text()
    return tfds.features.FeaturesDict({**features, **self._more_features()})

  def _facts(self) -> dict[str, Any]:
    listing = self.listing
    text = json.dumps(
      [[e.key, e.label, e.start, e.end, e.columns, e.files] for e in listing.entries]
    )
    facts = {
      'modalities': [self.FIELD],
      'records': f'{len(listing.entries)} ({hashlib.sha256(text.encode()).hexdigest()[:12]})',
      'missing': {},
      **self._more_facts(),
    }
    if self._options['train_subjects']:
      facts['train_subjects'] = self._options['train_subjects']
    return facts

  def raw_files(self) -> Iterator[pathlib.Path]:
    """Those that records are made of."""
    listing = self.listing
    used = {path for entry in listing.entries for path in entry.files.values()}
    yield from sorted({folders.regular(listing.folder.holder(path)) for path in used})

  def _more_features(self) -> dict[str, Any]:
    """The fields of what is recorded."""
    raise NotImplementedError

  def _more_facts(self) -> dict[str, Any]:
    """Metadata of what is recorded, `rates` among them."""
    raise NotImplementedError

  def _read(self, entry: Entry) -> dict[str, Any]:
    """What is recorded, by field; UserError if it cannot be read."""
    raise NotImplementedError

  def download_and_prepare(self, **kwargs: Any) -> None:
    """Builds the dataset under `data_dir` unless it is there; all of it, or nothing.

    Args:
      **kwargs: as in TFDS; the file format is always array_record.

    Raises:
      UserError: files that are missing or cannot be read, more than `allow_corrupt`, or a
        `data_dir` that cannot be written.
    """
    try:
      preparation.build(self, super().download_and_prepare, **kwargs)
    except UserError as error:
      # A list that lost a file is the reason why prepared records differ from it.
      faults = self.listing.faults if 'listing' in vars(self) and not self._faults else ()
      raise UserError(f'{faults[0]}; {error}') if faults else error from None
    finally:
      if 'listing' in vars(self):
        self.listing.folder.close()

  def _download_and_prepare(self, dl_manager, download_config):
    for fault in self.listing.faults:
      self._note(fault)
    if len(self._faults) > self._allow_corrupt:
      self._give_up()
    self._describe()
    progress = preparation.Progress(self.name, len(self.listing.entries), 'records')
    with progress:
      self._progress = progress
      super()._download_and_prepare(dl_manager, download_config)
    if len(self._faults) > self._allow_corrupt:
      self._give_up()
    if self._left_out:
      self.info.metadata['missing'] = {self.FIELD: self._left_out}

  def _describe(self) -> None:
    """Says what the folder was taken for."""
    listing = self.listing
    used = {path for entry in listing.entries for path in entry.files.values()}
    counts = Counter(listing.label_of[entry.label] for entry in listing.entries)
    classes = ', '.join(f'{name} ({counts[name]})' for name in listing.classes)
    print(f'{self.name}: {len(listing.entries)} records: {classes}', file=sys.stderr)
    lists = {p for p in listing.folder.paths if p.rpartition('/')[2].lower() == catalogue.LABELS}
    unused = listing.folder.others(used | lists)
    remarks = {
      'without a column group or subject each file is a group of its own: folds may part '
      'recordings of one person or place': not self._grouped,
      'protocol=official divides records by their column split': 'split' in listing.columns,
      f'files that belong to no record: {unused}': bool(unused),
    }
    for remark in filter(remarks.get, remarks):
      print(f'note: {self.name}: {remark}', file=sys.stderr)

  def _note(self, fault: str) -> None:
    self._faults.append(fault)
    print(f'fault {len(self._faults)}: {fault}', file=sys.stderr)

  def _give_up(self) -> None:
    count = len(self._faults)
    more = f'; {count} records in all cannot be made' if count > 1 else ''
    them = 'them' if count > 1 else 'it'
    raise UserError(
      f'{self._faults[0]}{more}; mend {them}, or leave {them} out with --allow_corrupt={count}'
    )

  def _shard_iterators_per_split(self, dl_manager: tfds.download.DownloadManager):
    del dl_manager
    entries = self.listing.entries
    parts = [entries[i : i + _PER_SHARD] for i in range(0, len(entries), _PER_SHARD)]
    shards: list[Callable[[], Iterator]] = [functools.partial(self._examples, p) for p in parts]
    return {'train': shards}

  def _examples(self, entries: Sequence[Entry]) -> Iterator[tuple[str, dict[str, Any]]]:
    listing = self.listing
    for entry in entries:
      try:
        recorded = self._read(entry)
      except UserError as error:
        self._note(str(error))
        self._left_out.append(entry.key)
        if len(self._faults) > self._allow_corrupt + _HOPELESS:
          self._give_up()
      else:
        example = {'key': entry.key, 'label': listing.label_of[entry.label], **recorded}
        if self._options['classes']:
          example['action'] = entry.label
        for name, whole in listing.columns.items():
          example[name] = int(entry.columns[name]) if whole else entry.columns[name]
        yield entry.key, example
      self._progress.advance()


def _is_tuple(value: Any) -> bool:
  return isinstance(value, Sequence) and not isinstance(value, str)


def check_tuples(**options: tuple[Any, Callable[[Any], bool]]) -> None:
  """Raises UserError unless options are tuples of what their test accepts, units alone repeated."""
  for name, (value, accepts) in options.items():
    if not _is_tuple(value) or not all(map(accepts, value)):
      raise UserError(f'{name}={value!r}: must be a tuple of {_ELEMENTS[name]}')
    if name != 'units' and (twice := [one for i, one in enumerate(value) if one in value[:i]]):
      raise UserError(f'{name}={value!r}: {twice[0]!r} is there twice')
