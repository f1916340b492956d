"""What surrounds the building of a dataset: quiet, exclusive, all or nothing, with progress."""

import contextlib
import errno
import fcntl
import os
import pathlib
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, ClassVar

import requests
import tensorflow_datasets as tfds
from absl import logging

from data_builders import checks, fingerprint
from har import paths  # noqa: F401, for folders with brackets in their names
from har.errors import UserError

# TFDS builds in PARENT/incomplete.RANDOM_VERSION and renames that folder when all is written.
_INCOMPLETE = 'incomplete.'
# The array_record library's words for a full disk and its like.
_WRITE_FAILURE = re.compile(r'\w+\(\) failed: ([^;]+); (?:writing|opening)')


@contextlib.contextmanager
def quiet() -> Iterator[None]:
  """Silences TFDS's log lines and its messages on stdout."""
  verbosity = logging.get_verbosity()
  logging.set_verbosity(logging.ERROR)
  try:
    with open(os.devnull, 'w') as sink, contextlib.redirect_stdout(sink):
      yield
  finally:
    logging.set_verbosity(verbosity)


@contextlib.contextmanager
def _lock(folder: pathlib.Path) -> Iterator[None]:
  """Holds a folder against other processes; the lock goes with the process, however it ends."""
  handle = os.open(folder, os.O_RDONLY)
  try:
    try:
      fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
      if sys.stderr.isatty():
        print(f'waiting for another process that builds in {folder}', file=sys.stderr)
      fcntl.flock(handle, fcntl.LOCK_EX)
    except OSError as error:
      if error.errno not in (errno.ENOLCK, errno.ENOTSUP):  # A file system without locks.
        raise
    yield
  finally:
    os.close(handle)


@contextlib.contextmanager
def exclusive(root: pathlib.Path, target: pathlib.Path) -> Iterator[None]:
  """Surrounds the building of the dataset folder `target`, ROOT/NAME/CONFIG/VERSION.

  Waits for another process that builds under the same root, removes what a killed one left, and on
  failure leaves no trace below `root`.

  Raises:
    UserError: the folder cannot be written, a full disk included.
  """
  root, target = pathlib.Path(root), pathlib.Path(target)
  try:
    root.mkdir(parents=True, exist_ok=True)
    with _lock(root), quiet():
      tfds.display_progress_bar(False)
      _remove_incomplete(root, target)
      try:
        yield
      finally:
        tfds.display_progress_bar(True)
        _remove_incomplete(root, target)
        downloads = root / 'downloads'
        _remove_empty(downloads / 'extracted', downloads / target.relative_to(root).parts[0])
        _remove_empty(downloads, target.parent, target.parent.parent)
  except FileNotFoundError as error:
    raise UserError(f'{error.filename or error}: no such file or folder') from error
  except OSError as error:
    raise UserError(_cannot_write(error.filename or root, error.strerror or error)) from error
  except RuntimeError as error:
    failure = _WRITE_FAILURE.search(str(error))
    if not failure:
      raise
    raise UserError(_cannot_write(root, failure[1])) from error


@contextlib.contextmanager
def without_tensorflow(name: str) -> Iterator[None]:
  """Turns TFDS's call for TensorFlow, which is not needed otherwise, into a UserError."""
  try:
    yield
  except ImportError as error:
    if 'tensorflow' not in str(error):
      raise
    raise UserError(
      f'{name}: a field of its _info needs TensorFlow (Image, Video and Audio do, among others); '
      'store encoded pictures in Sequence(Text()) and sound in a Tensor, or install tensorflow'
    ) from error


class Builder(tfds.core.ShardBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
  """Base of builders whose `download_and_prepare` calls `build` itself.

  The constructor of a derived class sets `raw_dir` and has `_original_state` hold its arguments.

  Attributes:
    raw_dir: folder with the owner's files; None if it is not given.
    HARMLESS: arguments that alter no record, or that the builder's config holds.
    RECORD_VERSION: if set, it stands for the builder's code, which then may change without a new
      build; raised whenever records of the same raw files would come out another.
  """

  HARMLESS: ClassVar[tuple[str, ...]] = fingerprint.HARMLESS
  RECORD_VERSION: ClassVar[int | None] = None
  raw_dir: pathlib.Path | None = None

  def __init__(self, *, data_dir: str | pathlib.Path | None = None, **kwargs: Any):
    """As TFDS's, but a `data_dir` may begin with ~."""
    expanded = None if data_dir is None else os.path.expanduser(data_dir)
    super().__init__(data_dir=expanded, **kwargs)

  def is_prepared(self) -> bool:
    """Whether the dataset has been built."""
    with quiet():
      return super().is_prepared()

  def raw_files(self) -> Iterable[pathlib.Path]:
    """The files below `raw_dir` that records are made of; all by default.

    A change of one asks for a new build. Nothing needs to be there.
    """
    assert self.raw_dir is not None
    return fingerprint.files_below(self.raw_dir, without=self.data_dir_root)

  def facts(self) -> Mapping[str, Any]:
    """Values that records depend on, by name; not those in its metadata, options and config."""
    return {}


def prepare(
  builder: Any, raw_dir: str | None = None, options: Mapping[str, Any] | None = None
) -> None:
  """Builds a dataset unless it is there, whatever TFDS builder it has.

  Args:
    builder: one of ours, or one written by TFDS's guide.
    raw_dir: folder with the owner's files for one of the latter, its `manual_dir`.
    options: that the constructor of one of the latter got.

  Raises:
    UserError: see `build`; or a `raw_dir` that the builder needs or has no use for.
  """
  if isinstance(builder, Builder):
    builder.download_and_prepare()
    return
  wanted = builder.MANUAL_DOWNLOAD_INSTRUCTIONS
  if raw_dir is not None and not wanted:
    raise UserError(
      f'--raw_dir: the builder of {builder.name} neither takes raw_dir nor has '
      'MANUAL_DOWNLOAD_INSTRUCTIONS'
    )
  if raw_dir is None and wanted and not builder.is_prepared():
    raise UserError(f'{builder.name}: pass --raw_dir; {" ".join(wanted.split())}')
  config = tfds.download.DownloadConfig(try_download_gcs=False, manual_dir=raw_dir)
  build(builder, builder.download_and_prepare, options=options, download_config=config)


def build(
  builder: Any,
  write: Callable[..., None],
  *,
  options: Mapping[str, Any] | None = None,
  **kwargs: Any,
) -> None:
  """Builds a dataset unless it is there: all of it or nothing, and every record checked.

  Args:
    builder: whose dataset it is.
    write: TFDS's `download_and_prepare`, or what ends in a call of it.
    options: arguments of the constructor, of a builder that does not derive from `Builder`.
    **kwargs: of `write`; the file format is always array_record.

  Raises:
    UserError: what the builder says or generates is wrong, the folder cannot be written, or holds
      half a dataset or one that was made of something else than today's would be.
  """
  kwargs.setdefault('download_config', tfds.download.DownloadConfig(try_download_gcs=False))
  manual = getattr(builder, 'raw_dir', None) or kwargs['download_config'].manual_dir
  raw_dir = pathlib.Path(manual).expanduser() if manual else None
  today = fingerprint.describe(builder, options)
  with quiet():
    prepared = builder.is_prepared()
  if prepared:
    _check_current(builder, today, raw_dir)
    return
  checks.check_info(builder)
  with exclusive(builder.data_dir_root, builder.data_path):
    if not builder.is_prepared():
      if builder.data_path.exists():  # TFDS would take it for prepared.
        raise UserError(
          f'{builder.data_dir}: not a complete dataset; delete it to have it built anew'
        )
      content = {**today, 'files': None, 'archives': {}}
      if raw_dir:
        content['files'] = fingerprint.measure(builder, raw_dir, checksums=True)
        content['archives'] = fingerprint.archives(builder, raw_dir)
      with checks.checking(builder), fingerprint.kept(builder, content):
        write(**{**kwargs, 'file_format': 'array_record'})
      return
  # By another process, while this one waited.
  builder.info.read_from_directory(builder.data_dir)
  _check_current(builder, today, raw_dir)


def _check_current(builder: Any, today: Mapping[str, Any], raw_dir: pathlib.Path | None) -> None:
  """Raises UserError if a prepared dataset was made of something else than is there today."""
  stored = fingerprint.read(builder.data_dir)
  found = checks.description_changes(builder, stored['found'] if stored else None)
  changes = [fingerprint.Change(text) for text in found]
  if stored is None:
    print(
      f'note: {builder.data_dir} has no {fingerprint.FILE}: changes of raw files, options and code '
      'since it was built are not noticed',
      file=sys.stderr,
    )
  elif not changes:
    changes = fingerprint.changes(stored, today, builder, raw_dir)
  if changes:
    texts = '; '.join(change.text for change in changes[:3])
    remedies = ['delete this folder to have it built anew']
    remedies += [changes[0].remedy] if len(changes) == 1 else []
    raise UserError(
      f'{builder.data_dir}: was built {texts}; {", or ".join(filter(None, remedies))}'
    )


def _remove_incomplete(root: pathlib.Path, target: pathlib.Path) -> None:
  downloads = root / 'downloads' / target.relative_to(root).parts[0]
  built = target.parent.glob(f'{_INCOMPLETE}*_{target.name}')
  for folder in [*built, *downloads.glob('*.tmp.*/')]:
    shutil.rmtree(folder)


def _remove_empty(*folders: pathlib.Path) -> None:
  for folder in folders:
    with contextlib.suppress(OSError):  # Not empty, or not there.
      folder.rmdir()


def _cannot_write(path: object, reason: object) -> str:
  reason = ' '.join(str(reason).split())
  return f'{path}: cannot be written ({reason}); free some space there or pass another --data_dir'


def download(
  dl_manager: tfds.download.DownloadManager, urls: Mapping[str, str], page: str
) -> dict[str, pathlib.Path]:
  """Downloads archives with TFDS; its bar is shown on a terminal.

  Raises:
    UserError: no network, or the owner's server does not give them.
  """
  tfds.display_progress_bar(sys.stderr.isatty())
  try:
    # TFDS itself tries for three minutes before it gives up.
    with requests.get(next(iter(urls.values())), timeout=15, stream=True) as response:
      response.raise_for_status()
    return dl_manager.download(dict(urls))
  except (OSError, tfds.download.DownloadError) as error:
    names = ' '.join(url.rpartition('/')[2] for url in urls.values())
    raise UserError(
      f'cannot download {names} ({type(error).__name__}); get them from {page} and pass their '
      'folder as --raw_dir'
    ) from error
  finally:
    tfds.display_progress_bar(False)


class Progress:
  """A line on stderr with the pace and the time left; nothing where stderr is not a terminal.

  Used as a context, it ends its line when the work ends early.
  """

  def __init__(self, title: str, total: int, unit: str = 'trials'):
    self._title, self._total, self._unit, self._done = title, total, unit, 0
    self._start = self._shown = time.monotonic()
    self._open = False

  def advance(self) -> None:
    self._done += 1
    now, last = time.monotonic(), self._done == self._total
    if not sys.stderr.isatty() or (now - self._shown < 0.5 and not last):
      return
    self._shown = now
    pace = self._done / max(now - self._start, 1e-6)
    left = (self._total - self._done) / pace
    line = (
      f'{self._title}: {self._done}/{self._total} {self._unit}, {pace:.1f}/s, {left:.0f} s left'
    )
    print(f'\r{line:<70}', end='\n' if last else '', file=sys.stderr, flush=True)
    self._open = not last

  def __enter__(self) -> 'Progress':
    return self

  def __exit__(self, *_) -> None:
    if self._open:  # So that what comes next, an error perhaps, has a line of its own.
      print(file=sys.stderr, flush=True)
