"""Real RAR archives (version 4, files stored as they are), and a program that unpacks them."""

import pathlib
import struct
import sys
import zlib
from collections.abc import Mapping

_PROGRAM = """#!{python}
import pathlib, struct, sys
archive, folder = sys.argv[-2:]
data, at = pathlib.Path(archive).read_bytes(), 7
while at < len(data):
  kind, _, size = struct.unpack_from('<BHH', data, at + 2)
  packed = 0
  if kind == 0x74:
    (packed,), (length,) = (struct.unpack_from(f, data, at + i) for f, i in (('<I', 7), ('<H', 26)))
    path = pathlib.Path(folder, data[at + 32 : at + 32 + length].decode().replace(chr(92), '/'))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data[at + size : at + size + packed])
  at += size + packed
"""


def _block(kind: int, flags: int, rest: bytes) -> bytes:
  block = struct.pack('<BHH', kind, flags, 7 + len(rest)) + rest
  return struct.pack('<H', zlib.crc32(block) & 0xFFFF) + block


def rar(files: Mapping[str, bytes]) -> bytes:
  """An archive of files by path."""
  blocks = [_block(0x73, 0, bytes(6))]
  for name, data in files.items():
    path = name.replace('/', '\\').encode()
    facts = (3, zlib.crc32(data), 0x5A210000, 20, 0x30, len(path), 0o100644)
    sizes = struct.pack('<IIBIIBBHI', len(data), len(data), *facts)
    blocks.append(_block(0x74, 0x8000, sizes + path) + data)
  return b'Rar!\x1a\x07\0' + b''.join(blocks) + _block(0x7B, 0x4000, b'')


def folder_rar(folder: pathlib.Path) -> bytes:
  """An archive of a folder and what is in it."""
  paths = sorted(path for path in folder.rglob('*') if path.is_file())
  return rar({path.relative_to(folder.parent).as_posix(): path.read_bytes() for path in paths})


def install(folder: pathlib.Path, program: str = _PROGRAM) -> None:
  """Writes a program `unrar` into a folder, which unpacks such archives unless it is another."""
  folder.mkdir()
  path = folder / 'unrar'
  path.write_text(program.replace('{python}', sys.executable))
  path.chmod(0o755)
