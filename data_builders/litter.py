"""What lies beside recordings, or in their place, and is none."""

import pathlib
import re

_NAMES = ('.ds_store', 'thumbs.db', 'ehthumbs.db', 'desktop.ini', '@eadir', '__macosx', '#recycle')
_PREFIXES = ('._', '.nfs', '.fuse_hidden')
# Windows marks a download by a stream; other systems copy it as a file NAME:Zone.Identifier.
_SUFFIXES = (':zone.identifier',)
_LFS = b'version https://git-lfs.github.com/spec/'
_HTML = re.compile(rb'\s*(<!--.*?-->\s*)*<(!doctype\s+html|html|head)\b', re.IGNORECASE | re.DOTALL)
_LOOKED_AT = 1024  # bytes


def is_litter(path: str | pathlib.PurePath) -> bool:
  """Whether an operating system or a file server left it, anywhere in this path.

  Args:
    path: relative to the folder or archive that was looked through, with / between names.
  """
  names = [name.lower() for name in pathlib.PurePosixPath(path).parts]
  return any(
    name in _NAMES or name.startswith(_PREFIXES) or name.endswith(_SUFFIXES) for name in names
  )


def mistaken(data: bytes) -> str:
  """What a file is that stands in a recording's place, and the remedy; empty if it is not known.

  Args:
    data: the file, or its first bytes.
  """
  start = data[:_LOOKED_AT].removeprefix(b'\xef\xbb\xbf')
  if start.startswith(_LFS):
    return 'a pointer of Git LFS, not the file itself; fetch it by `git lfs pull`'
  if _HTML.match(start):
    return 'a web page, such as a download that needs a login leaves; fetch the file itself'
  return ''
