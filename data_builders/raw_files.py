"""Finds and reads a dataset's raw files, in the owner's archives or extracted from them."""

import pathlib
import zipfile
import zlib
from collections.abc import Iterator, Sequence

from data_builders import archives, litter
from data_builders.layout import SPLITS, Trial, TrialLayout
from har.errors import UserError

FOLDERS = {'imu': 'Inertial', 'rgb': 'RGB', 'depth': 'Depth', 'skeleton': 'Skeleton'}
SUFFIXES = {
  'imu': '_inertial.mat',
  'rgb': '_color.avi',
  'depth': '_depth.mat',
  'skeleton': '_skeleton.mat',
}
# Real files are below 3 MB; more is a decompression bomb or something else altogether.
MAX_FILE_BYTES = 2**28


def _listed(folder: pathlib.Path) -> list[pathlib.Path]:
  """What is in a folder, litter aside."""
  try:
    return sorted(path for path in folder.iterdir() if not litter.is_litter(path.name))
  except OSError as error:
    raise UserError(f'{folder}: cannot be read ({error.strerror})') from error


class _Folder:
  """An extracted archive."""

  def __init__(self, path: pathlib.Path):
    self.path = path

  def names(self) -> Iterator[tuple[str, int]]:
    for path in _listed(self.path):
      litter.check_arrived(str(path), path.name)
      if path.is_dir():
        raise UserError(f'{path}: a folder where only recordings are expected; remove it')
      if not path.is_file():
        raise UserError(f'{path}: {litter.not_a_file(path)}')
      yield path.name, path.stat().st_size

  def where(self, name: str) -> str:
    return str(self.path / name)

  def read(self, name: str) -> bytes:
    try:
      return (self.path / name).read_bytes()
    except OSError as error:
      raise UserError(f'{self.path / name}: cannot be read ({error.strerror})') from error

  def close(self) -> None:
    pass


class _Archive:
  """A zip with the recordings in one folder of the archive's own name.

  Members are read into memory, never extracted, so no name in it can reach the file system.
  """

  def __init__(self, path: pathlib.Path, folder: str):
    # A link comes from a download; the file to mend is the one it points to.
    self.path = path.resolve() if path.is_symlink() else path
    self.folder = folder
    archives.check_start(self.path, 'zip')
    try:
      self._zip = zipfile.ZipFile(self.path)
    # The last is for a version of zip that Python does not read.
    except (zipfile.BadZipFile, EOFError, ValueError, NotImplementedError) as error:
      raise UserError(
        f'{self.path}: not a complete zip archive ({error}); delete it and fetch it again'
      ) from error
    except OSError as error:
      raise UserError(f'{self.path}: cannot be read ({error.strerror or error})') from error

  def names(self) -> Iterator[tuple[str, int]]:
    for info in self._zip.infolist():
      if info.is_dir() or litter.is_litter(info.filename):
        continue
      folder, _, name = info.filename.rpartition('/')
      litter.check_arrived(self.where(info.filename), name)
      if folder != self.folder:
        raise UserError(
          f'{self.where(info.filename)}: unexpected; members are named {self.folder}/NAME'
        )
      yield name, info.file_size

  def where(self, name: str) -> str:
    return f'{self.path}: {name}'

  def read(self, name: str) -> bytes:
    try:
      return archives.read_member(self._zip, f'{self.folder}/{name}')
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError) as error:
      # RuntimeError: an encrypted member or an unknown compression.
      raise UserError(f'{self.where(name)}: damaged in the archive ({error})') from error

  def close(self) -> None:
    self._zip.close()


def _unwrapped(path: pathlib.Path) -> pathlib.Path:
  """The folder, or one of its name in it if that is all: an archive unpacked into its folder."""
  inner = path / path.name
  return inner if _listed(path) == [inner] and inner.is_dir() else path


def _open(raw_dir: pathlib.Path, modality: str) -> _Folder | _Archive:
  folder = FOLDERS[modality]
  if (raw_dir / folder).is_dir():
    return _Folder(_unwrapped(raw_dir / folder))
  if (raw_dir / f'{folder}.zip').is_file():
    return _Archive(raw_dir / f'{folder}.zip', folder)
  for path in _listed(raw_dir):
    if litter.unfinished(path.name) == f'{folder}.zip':
      litter.check_arrived(str(path), path.name)
  raise UserError(
    f'{raw_dir}: neither {folder}.zip nor a folder {folder} in it ({modality} recordings); '
    'pass the folder that holds them as --raw_dir'
  )


def _list_trials(
  source: _Folder | _Archive,
  modality: str,
  expected: set[Trial],
) -> set[Trial]:
  found: set[Trial] = set()
  for name, size in source.names():
    trial = Trial.from_key(name.removesuffix(SUFFIXES[modality]))
    if trial is None or trial not in expected or not name.endswith(SUFFIXES[modality]):
      raise UserError(
        f'{source.where(name)}: not the name of a known trial (like a1_s1_t1{SUFFIXES[modality]})'
      )
    if trial in found:
      raise UserError(f'{source.where(name)}: occurs twice')
    if not 0 < size <= MAX_FILE_BYTES:
      raise UserError(
        f'{source.where(name)}: {"empty" if not size else "too large"} ({size} bytes)'
      )
    found.add(trial)
  return found


class Collection:
  """The raw files of some modalities, opened together and their names checked.

  Attributes:
    raw_dir: the folder they are in.
    trials: the trials to build, by action, subject and repetition.
    missing: modality -> keys of expected trials that it has no file of; only where there are some.
  """

  def __init__(
    self,
    raw_dir: pathlib.Path,
    layout: TrialLayout,
    modalities: Sequence[str],
    require_complete: bool,
  ):
    """Opens archives or folders; of both for one modality, the folder.

    Raises:
      UserError: files that are missing, misnamed, empty or unreadable, or no trial to build.
    """
    self.raw_dir = raw_dir
    self._sources: dict[str, _Folder | _Archive] = {}
    if not raw_dir.is_dir():
      raise UserError(f'{raw_dir}: no such folder (--raw_dir)')
    try:
      expected = layout.expected()
      found = {}
      for modality in modalities:
        self._sources[modality] = source = _open(raw_dir, modality)
        found[modality] = _list_trials(source, modality, set(expected))
      missing = {m: [t for t in expected if t not in found[m]] for m in modalities}
      self.missing = {m: [t.key for t in trials] for m, trials in missing.items() if trials}
      self.trials = [t for t in expected if all(t in found[m] for m in modalities)]
      if require_complete:
        self._refuse_missing(len(expected))
      for split in SPLITS:
        if not any(layout.split(t) == split for t in self.trials):
          raise UserError(f'{raw_dir}: no {split} trial has all of {", ".join(modalities)}')
    except BaseException:
      self.close()
      raise

  def _refuse_missing(self, total: int) -> None:
    for modality, keys in self.missing.items():
      place = self.where_named(modality, keys[0] + SUFFIXES[modality])
      others = f' and {len(keys) - 1} more of {total}' if len(keys) > 1 else ''
      raise UserError(
        f'{place}: missing{others}; complete the files, or build the trials that there are with '
        '--config.dataset.require_complete=false'
      )

  def where_named(self, modality: str, name: str) -> str:
    return self._sources[modality].where(name)

  def where(self, modality: str, trial: Trial) -> str:
    """How to name a trial's file to the user."""
    return self.where_named(modality, trial.key + SUFFIXES[modality])

  def read(self, modality: str, trial: Trial) -> bytes:
    """A trial's file.

    Raises:
      UserError: it cannot be read.
    """
    return self._sources[modality].read(trial.key + SUFFIXES[modality])

  def close(self) -> None:
    for source in self._sources.values():
      source.close()

  def __enter__(self) -> 'Collection':
    return self

  def __exit__(self, *_) -> None:
    self.close()
