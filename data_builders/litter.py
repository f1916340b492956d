"""What lies beside recordings, or in their place, and is none."""

import pathlib
import re

from har.errors import UserError

_NAMES = frozenset(
  (
    # Windows
    *('thumbs.db', 'ehthumbs.db', 'ehthumbs_vista.db', 'desktop.ini', 'folder.htt'),
    *('$recycle.bin', 'system volume information'),
    # macOS, by itself and on servers of others
    *('.ds_store', '__macosx', '.appledouble', '.appledb', '.appledesktop', '.lsoverride'),
    *('.spotlight-v100', '.trashes', '.fseventsd', '.temporaryitems', '.documentrevisions-v100'),
    *('.volumeicon.icns', '.apdisk', 'icon\r', 'network trash folder', 'temporary items'),
    # Linux
    *('.directory', '.trash', 'lost+found'),
    # Synology, QNAP, NetApp
    *('@eadir', '@tmp', '#recycle', '#snapshot', '@recycle', '@recently-snapshot', '.@__thumb'),
    *('.@upload_cache', '.snapshot', '.streams'),
    # Dropbox, Syncthing, FreeFileSync
    *('.dropbox', '.dropbox.attr', '.dropbox.cache', '.stfolder', '.stignore', '.stversions'),
    *('sync.ffs_db', '.sync.ffs_db'),
    # Git, Jupyter
    *('.git', '.gitattributes', '.gitignore', '.gitkeep', '.gitmodules', '.ipynb_checkpoints'),
  )
)
_PREFIXES = ('._', '.nfs', '.fuse_hidden', '.trash-', '.smbdelete', '.~lock.', '~$', '.sync_')
# Streams of NTFS and of file servers, which other systems copy as files NAME:STREAM.
_SUFFIXES = (
  *('zone.identifier', ':encryptable', ':afp_afpinfo', ':afp_resource'),
  *(':com.dropbox.attrs', ':com.apple.quarantine'),
  *('@synoeastream', '@synoresource'),
)
# A file NAME that has not arrived yet, as browsers, aria2, WinSCP, Syncthing, rsync and iCloud name
# it meanwhile.
_UNFINISHED = re.compile(
  r'(?:\.syncthing\.|~syncthing~)(?P<syncthing>.+)\.tmp|\.(?P<icloud>.+)\.icloud'
  r'|\.(?P<rsync>.+\.\w{2,4})\.(?-i:(?![a-z]{6}\Z)[A-Za-z0-9]{6})'
  r'|(?P<other>.+)\.(?:part|partial|crdownload|download|opdownload|filepart|aria2|!ut)',
  re.IGNORECASE,
)
_LOOKED_AT = 1024  # bytes
_KINDS: tuple[tuple[re.Pattern[bytes], str], ...] = tuple(
  (re.compile(pattern, re.IGNORECASE | re.DOTALL), meaning)
  for pattern, meaning in (
    (
      rb'version https://git-lfs\.github\.com/spec/',
      'a pointer of Git LFS, not the file itself; fetch it by `git lfs pull`',
    ),
    (
      rb'(?:\.\./)*(?:/|\.git/)annex/objects/',
      'a pointer of git-annex, not the file itself; fetch it by `git annex get`',
    ),
    (
      rb'(?>\s*(?:<!--.*?-->|<\?xml[^>]*>))*\s*<(?:!doctype\s+html|html|head)\b',
      'a web page, such as a download that needs a login leaves; fetch the file itself',
    ),
    (
      rb'(?>\s*<\?xml[^>]*>)?\s*<error>\s*<code>|\s*\{\s*"(?:error|errors|message|detail)"\s*:',
      "a server's error message; fetch the file itself",
    ),
    (
      rb'\0+\Z',
      'nothing but zeros at its beginning, as an interrupted copy leaves; fetch it again',
    ),
  )
)
_PACKED = {
  kind: re.compile(pattern, re.DOTALL)
  for kind, pattern in (
    ('gzip', rb'\x1f\x8b\x08'),
    ('zip', rb'PK\x03\x04'),
    ('xz', rb'\xfd7zXZ\0'),
    ('bzip2', rb'BZh[1-9]1AY&SY'),
    ('RAR', rb'Rar!\x1a\x07'),
    ('7-Zip', rb'7z\xbc\xaf\x27\x1c'),
    ('Zstandard', rb'\x28\xb5\x2f\xfd'),
  )
}


def is_litter(path: str | pathlib.PurePath) -> bool:
  """Whether an operating system, a file server or a program left it, anywhere in this path.

  A file that has not arrived yet is none, see `unfinished`.

  Args:
    path: relative to the folder or archive that was looked through, with / between names.
  """
  names = [name.lower() for name in pathlib.PurePosixPath(path).parts]
  return any(
    name in _NAMES or name.startswith(_PREFIXES) or name.endswith(_SUFFIXES) for name in names
  )


def unfinished(name: str) -> str:
  """The name that a half-transferred file is to have; empty if it is none."""
  match = _UNFINISHED.fullmatch(name)
  return next(filter(None, match.groups())) if match else ''


def check_arrived(path: str, name: str) -> None:
  """Raises UserError for a half-transferred file; without it a recording would just be missing."""
  if whole := unfinished(name):
    raise UserError(f'{path}: {whole} has not arrived yet; let it be fetched to its end')


def not_a_file(path: pathlib.Path) -> str:
  """What is wrong with a path that is neither a file nor a folder, and the remedy."""
  if path.is_symlink() and 'annex/objects/' in str(path.readlink()):
    return 'a file of git-annex that is not here; fetch it by `git annex get`'
  return 'neither a file nor a link to one; remove it'


def mistaken(data: bytes, *expected: str) -> str:
  """What a file is that stands in a recording's place, and the remedy; empty if it is not known.

  Args:
    data: the file, or its first bytes.
    *expected: kinds of packing that the file may have, such as 'zip' and 'gzip'.
  """
  start = data[:_LOOKED_AT].removeprefix(b'\xef\xbb\xbf')
  for pattern, meaning in _KINDS:
    if pattern.match(start):
      return meaning
  for kind, magic in _PACKED.items():
    if magic.match(start) and kind not in expected:
      return f'packed by {kind}, which its name does not say; unpack it'
  return ''


def check(data: bytes, where: str, *expected: str) -> None:
  """Raises UserError, which names the file, if something stands in its place; see `mistaken`."""
  if fault := mistaken(data, *expected):
    raise UserError(f'{where}: {fault}')
