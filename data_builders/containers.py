"""Whether a video file is all there, by what its container tells of its own parts.

Decoders end where the file ends without a word, and the number of frames in a header is no measure:
AVI counts dropped frames, edit lists hide some, writers are off by one. But parts (chunks, boxes,
elements, pages, packets) have their sizes, and indices the places of parts.
"""

import io
import re
import struct
from collections.abc import Callable
from typing import BinaryIO

_FOURCC = re.compile(rb'[ -~]{4}')
_AVI_CHUNK = re.compile(rb'[0-9]{2}(d[bc]|wb|pc|tx)|ix[0-9]{2}|idx1|LIST|JUNK')


class _File:
  """Reads anywhere in a file of `size` bytes."""

  def __init__(self, file: BinaryIO):
    self._file = file
    self.size = file.seek(0, io.SEEK_END)

  def read(self, at: int, count: int) -> bytes:
    self._file.seek(at)
    return self._file.read(count)

  def unpack(self, form: str, at: int) -> tuple | None:
    """The numbers at a place; None if the file ends before them."""
    data = self.read(at, struct.calcsize(form))
    return struct.unpack(form, data) if len(data) == struct.calcsize(form) else None

  def cut(self, promised: int) -> str:
    return f'the file should have at least {promised} bytes and has {self.size}'


def missing(file: BinaryIO, form: str) -> str:
  """What a video file lacks by its own account.

  A cut is noticed wherever it is in finished AVI, MP4, MOV, Matroska, WebM, FLV, ASF and Ogg files.
  In recordings that were never finished (MP4 in fragments, Matroska and AVI of unknown size), and
  in MPEG streams, which have no length, it is noticed within a part but not between two.

  Args:
    file: open for reading, at any position.
    form: FFmpeg's name of the container, such as 'avi' or 'matroska,webm'.

  Returns:
    What should be there and is not, or is damaged; empty if nothing is known to be.
  """
  check = _CHECKS.get(form.split(',')[0])
  return check(_File(file)) if check else ''


def _avi(file: _File) -> str:
  """RIFF: chunks of a name, a size and content, some of them lists; large files have several."""
  at = 0
  while (head := file.unpack('<4sI', at)) and head[0] == b'RIFF':
    end = at + 8 + head[1] if _is_finished(head[1]) else file.size
    seen: set[bytes] = set()
    problem = _avi_chunks(file, at + 12, end, seen)
    # Some writers count too much: with the index that follows them, all pictures are there.
    if not problem and end > file.size and b'idx1' not in seen:
      problem = file.cut(end)
    if problem or at == end:
      return problem
    at = end + end % 2
  return ''


def _avi_chunks(file: _File, at: int, end: int, seen: set[bytes], pictures: bool = False) -> str:
  odd = False
  while at + 8 <= end and (head := file.unpack('<4sI', at)):
    # Chunks of odd size are followed by a byte, which some writers forget.
    if odd and _AVI_CHUNK.fullmatch(file.read(at - 1, 4)):
      at -= 1
      head = file.unpack('<4sI', at) or head
    name, size = head
    if not _FOURCC.fullmatch(name):
      return f'the chunk at byte {at} is damaged' if pictures else ''
    inner = at + 8
    if name == b'LIST':
      kind = file.read(inner, 4)
      size = size if _is_finished(size) else end - inner
      inside = pictures or kind == b'movi'
      if problem := _avi_chunks(file, inner + 4, inner + size, seen, inside):
        return problem
    elif name == b'indx' and (problem := _avi_index(file, inner)):
      return problem
    if inner + size > file.size:
      return file.cut(inner + size)
    seen.add(name)
    odd = bool(size % 2)
    at = inner + size + odd
  return file.cut(at + 8) if pictures and at < file.size < at + 8 else ''


def _is_finished(size: int) -> bool:
  """Whether a list's size was filled in after its content."""
  return 4 <= size < 2**32 - 1


def _avi_index(file: _File, at: int) -> str:
  """An index of indices (OpenDML), which lie in all parts of a large file."""
  head = file.unpack('<HBBI', at)
  if head and head[1] == 0:
    for i in range(min(head[3], 2**12)):
      place = file.unpack('<QI', at + 24 + 16 * i)
      if place and place[0] + place[1] > file.size:
        return file.cut(place[0] + place[1])
  return ''


def _mp4(file: _File) -> str:
  """ISO base media: boxes of a size, a name and content."""
  at, name, in_fragments = 0, b'', False
  while head := file.unpack('>I4s', at):
    size, name = head
    start = at + 8
    if size == 1:
      start, size = at + 16, (file.unpack('>Q', at + 8) or (0,))[0]
    # To the end of the file, or no box but something that was added. Whether pictures lie beyond
    # the end is seen when they are read.
    if size < start - at or not _FOURCC.fullmatch(name):
      return ''
    end = at + size
    if name == b'sidx':
      end = max(end, _mp4_fragments(file, start, end))
    if end > file.size:
      return file.cut(end)
    in_fragments |= name == b'moof'
    at += size
  # A fragment's pictures follow what tells of them.
  return file.cut(at + 8) if in_fragments and (name == b'moof' or at < file.size) else ''


def _mp4_fragments(file: _File, at: int, end: int) -> int:
  """Where the fragments end that an index before them lists."""
  later = file.unpack('>B', at) != (0,)
  offset = file.unpack('>Q' if later else '>I', at + (20 if later else 16)) or (0,)
  at += 30 if later else 22
  count = file.unpack('>H', at) or (0,)
  sizes = [(file.unpack('>I', at + 2 + 12 * i) or (0,))[0] & (2**31 - 1) for i in range(*count)]
  return end + offset[0] + sum(sizes)


_SEGMENT, _CLUSTER, _VOID, _CRC = 0x18538067, 0x1F43B675, 0xEC, 0xBF
_LEVELS = {
  *(0x1A45DFA3, _SEGMENT, _CLUSTER, _VOID, _CRC, 0x114D9B74, 0x1549A966, 0x1654AE6B, 0x1C53BB6B),
  *(0x1941A469, 0x1043A770, 0x1254C367),
}
_IN_CLUSTER = {0xE7, 0xA3, 0xA0, 0xA7, 0xAB, 0xAF, 0x5854, _VOID, _CRC}


def _matroska(file: _File) -> str:
  """EBML: elements of a number, a size (all ones if it was not known) and content."""
  at, segment, cluster = 0, file.size, 0  # Where those end that are looked through.
  while at < file.size:
    number, place = _ebml(file, at, keep=True)
    size, inner = _ebml(file, place)
    if number not in _LEVELS and not (at < cluster and number in _IN_CLUSTER):
      # At the end of the segment, something was added.
      return '' if at >= segment else f'the element at byte {at} is damaged'
    end = inner + size if size >= 0 else file.size
    if max(inner, end) > file.size:
      return file.cut(max(inner, end))
    at = inner if number in (_SEGMENT, _CLUSTER) else end
    segment = end if number == _SEGMENT else segment
    cluster = end if number == _CLUSTER else cluster
  return ''


def _ebml(file: _File, at: int, keep: bool = False) -> tuple[int, int]:
  """A number of variable length and where it ends; -1 if all its bits are ones.

  Args:
    file: the file.
    at: where it begins.
    keep: whether the mark of its length is part of it, as in the elements' numbers.
  """
  data = file.read(at, 8)
  if not data or not data[0]:
    return 0, at + 1
  length = 9 - data[0].bit_length()
  number = int.from_bytes(data[:length], 'big')
  if not keep:
    number -= 1 << 7 * length
    number = -1 if number == (1 << 7 * length) - 1 else number
  return number, at + length


def _flv(file: _File) -> str:
  """Tags of 11 bytes and content, each followed by its length."""
  head = file.unpack('>I', 5)
  at = (head[0] if head else 9) + 4
  about = file.read(at, 2**12)
  # The first tag holds the size that its writer had in the end, as a double.
  place = about.find(b'\x00\x08filesize\x00')
  if place >= 0 and (total := file.unpack('>d', at + place + 11)) and total[0] > file.size:
    return file.cut(round(total[0]) if total[0] < 2**62 else 2**62)
  while at < file.size:
    tag = file.unpack('>BBH', at)
    if not tag:
      return file.cut(at + 11)
    at += 11 + (tag[1] << 16) + tag[2]
    if at > file.size:
      return file.cut(at)
    at += 4
  return ''


_ASF_PROPERTIES = bytes.fromhex('a1dcab8c47a9cf118ee400c00c205365')


def _asf(file: _File) -> str:
  """Objects of a number of 16 bytes, a size and content: a header, packets of one size, indices."""
  at = 0
  while (part := file.unpack('<16xQ', at)) and part[0] >= 24:
    content = file.read(at, min(part[0], 2**16))
    about = content.find(_ASF_PROPERTIES)
    at += part[0]
    if about >= 0 and (rest := file.unpack('<II', about + 88)) and rest[0] & 1 and rest[1]:
      at += 50  # A broadcast, of which the size of all packets is not known.
      while file.read(at, 1) == b'\x82':
        at += rest[1]
    if at > file.size:
      return file.cut(at)
  return ''


def _ogg(file: _File) -> str:
  """Pages, of which each stream's last is marked."""
  at, streams = 0, dict[int, bool]()
  while (head := file.unpack('<4sBBQIIIB', at)) and head[0] == b'OggS':
    flags, stream, parts = head[2], head[4], head[7]
    sizes = file.read(at + 27, parts)
    at += 27 + parts + sum(sizes)
    if at > file.size or len(sizes) < parts:
      return file.cut(at)
    streams[stream] = bool(flags & 4) or streams.get(stream, False)
  if at < file.size and file.read(at, 4) == b'OggS'[: file.size - at]:
    return file.cut(at + 27)
  return '' if all(streams.values()) else 'the last page of a stream is not there'


def _program_stream(file: _File) -> str:
  """MPEG-1 and MPEG-2: packs and packets behind start codes, without an end."""
  at = 0
  while at < file.size and (head := file.unpack('>IH', at)):
    code = head[0]
    if code == 0x1BA:
      kind = file.unpack('>4x10B', at)
      if not kind:
        return file.cut(at + 14)
      at += 14 + (kind[9] & 7) if kind[0] >> 6 == 1 else 12
    elif 0x1BB <= code <= 0x1FF:
      at += 6 + head[1]
      if at > file.size:
        return file.cut(at)
    else:
      return ''
  return file.cut(at + 6) if at < file.size and file.size - at >= 4 else ''


def _transport_stream(file: _File) -> str:
  """Packets of one size, without an end."""
  start = file.read(0, 205)
  for size, first in ((188, 0), (192, 4), (204, 0)):
    if start[first : first + 1] == start[first + size : first + size + 1] == b'G':
      return file.cut(-(-file.size // size) * size) if file.size % size else ''
  return ''


_CHECKS: dict[str, Callable[[_File], str]] = {
  'avi': _avi,
  'mov': _mp4,
  'matroska': _matroska,
  'flv': _flv,
  'asf': _asf,
  'ogg': _ogg,
  'mpeg': _program_stream,
  'mpegts': _transport_stream,
}
