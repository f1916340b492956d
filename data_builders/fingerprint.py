"""What a prepared dataset was made of, kept beside its records, and what of it is another today.

`fingerprint.json` holds the options and the code of the builder, name, size, time and, unless
there is too much of them, checksum of each raw file, and the names of what was unpacked. Opening a
dataset writes nothing.
"""

import contextlib
import dataclasses
import inspect
import json
import os
import pathlib
import stat
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from data_builders import source_code
from data_builders.litter import is_litter
from har.errors import UserError

FILE = 'fingerprint.json'
# Raised when the modules that builders share make other records of the same raw files.
SHARED_VERSION = 1
# Constructor arguments that leave records as they are, or that a config's or field's value tells.
HARMLESS = ('raw_dir', 'data_dir', 'config', 'version', 'modalities', 'workers')
# Raw files are read once more for their checksums: at 2 GB/s, and what the build has yet to read.
CHECKSUM_BYTES = 2**32
_CONFIG_NOTES = ('name', 'description', 'release_notes', 'supported_versions', 'version', 'tags')
_NAMED = 3  # examples in a message

Files = dict[str, list[Any]]
"""Size, time of change (ns) and checksum (None: not taken) by path below the raw folder."""
Archives = dict[str, list[Any]]
"""Size, time of change (ns) and names of the files in it by path below the raw folder."""


@dataclasses.dataclass(frozen=True)
class Change:
  """What is another today.

  Attributes:
    text: goes on after 'FOLDER: was built '.
    remedy: what else than building anew can be done.
  """

  text: str
  remedy: str = ''


_WITHOUT_RAW = 'use it as it is without --raw_dir'
_WITHOUT_FILE = f'delete only its {FILE} if the records would come out the same'


def describe(builder: Any, given: Mapping[str, Any] | None = None) -> dict[str, Any]:
  """What records depend on besides raw files and what TFDS stores of fields and metadata.

  Args:
    builder: any TFDS builder. One of ours says more by `facts()` and `HARMLESS`.
    given: arguments that the constructor of any other got.

  Returns:
    As JSON has it.
  """
  config = {} if builder.builder_config is None else vars(builder.builder_config)
  values = {
    **{name: value for name, value in config.items() if name not in _CONFIG_NOTES},
    **_options(builder, given or {}),
    **getattr(builder, 'facts', dict)(),
  }
  return {
    'shared': SHARED_VERSION,
    'code': source_code.digests(type(builder)),
    'options': {name: _plain(value) for name, value in values.items()},
  }


def _options(builder: Any, given: Mapping[str, Any]) -> dict[str, Any]:
  harmless = getattr(builder, 'HARMLESS', HARMLESS)
  if hasattr(builder, 'HARMLESS'):
    values = dict(builder._original_state)
  else:
    parameters = inspect.signature(type(builder).__init__).parameters.values()
    defaults = {p.name: p.default for p in parameters if p.default is not p.empty}
    values = defaults | dict(given)
  return {name: value for name, value in values.items() if name not in harmless}


def files_below(folder: pathlib.Path, without: pathlib.Path | None = None) -> list[pathlib.Path]:
  """Every file below a folder, sorted, but what systems leave there.

  Folders whose names begin with a dot (.git, .cache) are left out.

  Args:
    folder: to look through; links are followed.
    without: a folder in it to leave out.

  Raises:
    UserError: a folder that cannot be read.
  """

  def refuse(error: OSError) -> None:
    raise UserError(f'{error.filename}: cannot be read ({error.strerror})')

  found: list[pathlib.Path] = []
  visited = {os.path.realpath(without)} if without else set()
  for place, subfolders, names in os.walk(folder, onerror=refuse, followlinks=True):
    real = os.path.realpath(place)
    if real in visited:  # Links in a circle.
      subfolders.clear()
      continue
    visited.add(real)
    subfolders[:] = [name for name in subfolders if name[0] != '.' and not is_litter(name)]
    found += [pathlib.Path(place, name) for name in names if not is_litter(name)]
  return sorted(found)


def measure(builder: Any, raw_dir: pathlib.Path, checksums: bool = False) -> Files:
  """The raw files of a dataset.

  Args:
    builder: one of ours lists them by `raw_files()`; of any other they are all in the folder.
    raw_dir: the folder.
    checksums: whether to read them, too, if they have at most `CHECKSUM_BYTES`.

  Raises:
    UserError: no folder, or one that cannot be read.
  """
  if not raw_dir.is_dir():
    raise UserError(f'{raw_dir}: no such folder (--raw_dir)')
  if hasattr(builder, 'raw_files'):
    paths: Iterable[pathlib.Path] = builder.raw_files()
  else:
    paths = files_below(raw_dir, without=builder.data_dir_root)
  found: Files = {}
  for path in paths:
    with contextlib.suppress(OSError):  # A link to nothing; whoever needs it says so.
      about = path.stat()
      if not stat.S_ISREG(about.st_mode):  # A pipe, or a device without an end.
        continue
      found[path.relative_to(raw_dir).as_posix()] = [about.st_size, about.st_mtime_ns, None]
  if checksums and sum(size for size, *_ in found.values()) <= CHECKSUM_BYTES:
    for name, entry in found.items():
      entry[2] = _checksum(raw_dir / name)
  return found


def _checksum(path: pathlib.Path) -> int | None:
  value = 0
  try:
    with path.open('rb') as file:
      while data := file.read(2**20):
        value = zlib.crc32(data, value)
  except OSError:  # The builder, if it needs it, says so.
    return None
  return value


@contextlib.contextmanager
def kept(builder: Any, content: Mapping[str, Any]) -> Iterator[None]:
  """Has TFDS's next build write a fingerprint into its folder before that gets its name.

  Args:
    builder: whose `download_and_prepare` is to be called.
    content: see `describe`, and `files`, see `measure`.
  """
  prepare = builder._download_and_prepare

  def prepare_and_keep(*args: Any, **kwargs: Any) -> None:
    prepare(*args, **kwargs)
    # What the builder found out meanwhile; today's description cannot have it.
    before, after = (_plain(dict(i.metadata or {})) for i in (builder._info(), builder.info))
    found = sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
    # Here data_dir is TFDS's temporary folder.
    path = pathlib.Path(builder.data_dir) / FILE
    path.write_text(json.dumps({**content, 'found': found}))

  builder._download_and_prepare = prepare_and_keep
  try:
    yield
  finally:
    del builder._download_and_prepare


def archives(builder: Any, raw_dir: pathlib.Path) -> Archives:
  """The raw files that had to be unpacked; of builders that say so by `unpacked()`."""
  found: Mapping[str, list[str]] = getattr(builder, 'unpacked', dict)()
  return {path: [*_stamp(raw_dir / path), names] for path, names in found.items()}


def same_archives(folder: Any, raw_dir: pathlib.Path) -> dict[str, list[str]]:
  """What is in raw files that a prepared dataset was made of, of those with their size and time.

  Args:
    folder: of the dataset, which may not be there.
    raw_dir: the folder with the raw files.

  Raises:
    UserError: a damaged fingerprint.
  """
  stored: Archives = (read(folder) or {}).get('archives', {})
  found: dict[str, list[str]] = {}
  for path, (size, time, names) in stored.items():
    with contextlib.suppress(OSError):
      if _stamp(raw_dir / path) == (size, time):
        found[path] = names
  return found


def _stamp(path: pathlib.Path) -> tuple[int, int]:
  about = path.stat()
  return about.st_size, about.st_mtime_ns


def read(folder: Any) -> dict[str, Any] | None:
  """The fingerprint of a prepared dataset; None if it has none, being of before there were any.

  Raises:
    UserError: it is damaged.
  """
  path = pathlib.Path(folder) / FILE
  try:
    content = json.loads(path.read_text())
    return {**content, 'found': list(content['found'])}
  except FileNotFoundError:
    return None
  except (OSError, ValueError, KeyError, TypeError) as error:
    raise UserError(
      f'{path}: cannot be read; delete its folder to have it built anew, or this file to use it as '
      'it is'
    ) from error


def changes(
  stored: Mapping[str, Any], today: Mapping[str, Any], builder: Any, raw_dir: pathlib.Path | None
) -> list[Change]:
  """What differs; what is the same files elsewhere does not.

  Args:
    stored: the dataset's fingerprint.
    today: see `describe`.
    builder: whose dataset it is.
    raw_dir: the folder with the raw files; None to leave them aside.

  Raises:
    UserError: see `measure`.
  """
  old, new = stored.get('options', {}), today['options']
  pairs = {name: (old.get(name), new.get(name)) for name in sorted({*old, *new})}
  pairs["version of the builders' shared code"] = (stored.get('shared'), today['shared'])
  found = [Change(difference(name, a, b)) for name, (a, b) in pairs.items() if a != b]
  code, code_now = stored.get('code', {}), today['code']
  edited = sorted(k for k in {*code, *code_now} if code.get(k) != code_now.get(k))
  if edited and not found:  # An edited layout says so itself.
    found.append(Change(f'by other code of {_some(edited)}', _WITHOUT_FILE))
  if raw_dir is not None:
    found += _file_changes(stored.get('files'), measure(builder, raw_dir), raw_dir)
  return found


def _file_changes(old: Files | None, new: Files, raw_dir: pathlib.Path) -> list[Change]:
  if old is None:
    return [Change(f'without --raw_dir, not from {raw_dir}', _WITHOUT_RAW)]
  both = sorted({*old} & {*new})
  other = [f'{n}: {old[n][0]} bytes then, {new[n][0]} now' for n in both if old[n][0] != new[n][0]]
  times = []
  for name in (n for n in both if old[n][0] == new[n][0] and old[n][1] != new[n][1]):
    if old[name][2] is None:
      times.append(name)
    elif old[name][2] != _checksum(raw_dir / name):
      other.append(name)
  kinds = {
    'new': sorted({*new} - {*old}),
    'gone': sorted({*old} - {*new}),
    'with other content': other,
    'of another time and the same size': times,
  }
  texts = [f'{len(names)} {kind} ({_some(names)})' for kind, names in kinds.items() if names]
  if not texts:
    return []
  remedy = _WITHOUT_RAW
  if len(texts) == 1 and times:
    remedy += ' if they are copies of what it was built from'
  return [Change(f'from other raw files than those in {raw_dir}: {", ".join(texts)}', remedy)]


def difference(name: str, old: Any, new: Any) -> str:
  """Says of a value that it was another; of long lists only what differs."""
  if isinstance(old, list) and isinstance(new, list) and len(f'{old}{new}') > 200:
    more, gone = ([x for x in a if x not in b] for a, b in ((new, old), (old, new)))
    texts = [f'{kind} {_some(map(str, x))}' for kind, x in (('new:', more), ('gone:', gone)) if x]
    how = '; '.join(texts) or 'in another order'
    return f'with {len(old)} {name}, and the builder has {len(new)} now ({how})'
  return f'with {name} {_shown(old)}, and the builder has {_shown(new)} now'


def _shown(value: Any) -> str:
  return 'none' if value is None else str(value)


def _some(names: Iterable[str]) -> str:
  listed = list(names)
  more = f' and {len(listed) - _NAMED} more' if len(listed) > _NAMED else ''
  return ', '.join(listed[:_NAMED]) + more


def _plain(value: Any) -> Any:
  """A value as JSON has it, the same in every process."""
  if value is None or isinstance(value, bool | int | float | str):
    return value
  if isinstance(value, Mapping):
    return {str(k): _plain(v) for k, v in value.items()}
  if isinstance(value, set | frozenset):
    return sorted(map(_plain, value), key=str)
  if isinstance(value, Collection) and not isinstance(value, bytes):
    return [_plain(v) for v in value]
  if isinstance(value, os.PathLike):
    return os.fspath(value)
  if dataclasses.is_dataclass(value) and not isinstance(value, type):
    return _plain({f.name: getattr(value, f.name) for f in dataclasses.fields(value)})
  if hasattr(value, 'tolist'):  # NumPy's.
    return _plain(value.tolist())
  return getattr(value, '__qualname__', None) or type(value).__qualname__
