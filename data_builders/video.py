"""Reads video files, whatever their container and size, and stores frames small."""

import contextlib
import errno
import io
import math
import pathlib
import struct
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any, BinaryIO, Generic, NamedTuple, TypeVar

import av
import numpy as np
from PIL import Image

from data_builders import containers, litter
from har.errors import UserError

T = TypeVar('T')

QUALITY = 90
MIN_FRAMES = 2
MAX_FRAMES = 108_000
"""An hour at 30 frames a second."""
MAX_PIXELS = 8192 * 4608
"""Of a frame, both as it is stored and with square pixels."""
# Left to itself, FFmpeg takes some text files for playlists and opens what they name.
_CONTAINERS = 'mov,avi,matroska,mpeg,mpegts,asf,flv,ogg'
_NAMES = 'AVI, MP4, MOV, Matroska, WebM, MPEG, ASF, FLV or Ogg'


class Video(NamedTuple, Generic[T]):
  """A video that was read to its end.

  Attributes:
    frames: what became of each frame, in the order in which they are shown.
    rate: frames a second, on average if they are not even.
  """

  frames: list[T]
  rate: float


def shrink(frame: av.VideoFrame, short_side: int, quality: int = QUALITY) -> bytes:
  """A frame as JPEG, its short side at most `short_side` pixels."""
  scale = min(1.0, short_side / min(frame.width, frame.height))
  size = max(round(frame.width * scale), 1), max(round(frame.height * scale), 1)
  image = frame.to_image(width=size[0], height=size[1], interpolation='AREA')
  buffer = io.BytesIO()
  image.save(buffer, 'JPEG', quality=quality)
  return buffer.getvalue()


def read(
  source: bytes | pathlib.Path, where: str, convert: Callable[[av.VideoFrame], T]
) -> Video[T]:
  """Decodes a video frame by frame, so that only what is kept of them takes memory.

  Frames come as they are meant to be seen: turned and mirrored as the file tells, with square
  pixels, without those that an edit list hides. Of several video streams that are no cover pictures
  the default is read, or else the largest. Frames that change their size but not their shape are
  scaled to the first one's size.

  Args:
    source: the file's content, or where it is.
    where: how to name it to the user.
    convert: what to keep of a frame; it may raise `UserError`.

  Raises:
    UserError: a file that is no video or ends too early (see `containers.missing`), a frame that
      cannot be decoded, one of more than `MAX_PIXELS`, fewer than `MIN_FRAMES` or more than
      `MAX_FRAMES` of them, or no rate.
  """
  frames: list[T] = []
  times: list[int] = []
  with opened(source, where) as film:
    for frame in film.frames:
      if len(frames) == MAX_FRAMES:
        raise UserError(f'{where}: has more than {MAX_FRAMES} frames; cut it into shorter videos')
      if frame.pts is not None:
        times.append(frame.pts)
      with _told(where):
        frames.append(convert(frame))
    if len(frames) < MIN_FRAMES:
      raise UserError(f'{where}: has {len(frames)} frames, fewer than {MIN_FRAMES}')
    return Video(frames, _rate(film, times, where))


class Film(NamedTuple):
  """A video that is being read.

  Attributes:
    frames: as `read` has them, one after the other; each knows its `time`, in seconds.
    rate: frames a second as the file tells; 0 if it does not.
    time_base: seconds of a frame's `pts`.
  """

  frames: Iterator[av.VideoFrame]
  rate: float
  time_base: Fraction


@contextlib.contextmanager
def opened(source: bytes | pathlib.Path, where: str) -> Iterator[Film]:
  """Opens a video of any length, to be gone through once; what goes wrong is told as by `read`."""
  with contextlib.ExitStack() as stack:
    with _told(where):
      film = _film(stack.enter_context(_open(source)), where, stack)
    yield film


@contextlib.contextmanager
def _told(where: str) -> Iterator[None]:
  """Makes a UserError of what PyAV and Pillow raise."""
  try:
    yield
  except (av.FFmpegError, OSError, ValueError, Image.DecompressionBombError) as error:
    reason = ' '.join(str(getattr(error, 'strerror', None) or error).split())
    if getattr(error, 'errno', None) == errno.EINVAL:  # A container of another kind.
      reason = f'only {_NAMES} are'
    raise UserError(f'{where}: not a readable video ({reason})') from error


def _open(source: bytes | pathlib.Path) -> BinaryIO:
  # Handed a path, FFmpeg would take what precedes a colon for a protocol.
  return io.BytesIO(source) if isinstance(source, bytes) else open(source, 'rb')


def _film(file: BinaryIO, where: str, stack: contextlib.ExitStack) -> Film:
  if problem := litter.mistaken(file.read(1024)):
    raise UserError(f'{where}: {problem}')
  file.seek(0)
  container = stack.enter_context(
    av.open(
      file,
      'r',
      container_options={'format_whitelist': _CONTAINERS},
      metadata_errors='replace',
    )
  )
  place = file.tell()
  if problem := containers.missing(file, container.format.name):
    raise UserError(f'{where}: truncated or damaged; {problem}')
  file.seek(place)
  stream = _main_stream(container, where)
  _check_size(stream.width, stream.height, where)
  # By default FFmpeg paints over damaged parts of a picture and goes on, and allocates pictures
  # of whatever size the stream asks for.
  stream.codec_context.options = {'err_detect': 'explode', 'max_pixels': str(MAX_PIXELS)}
  stream.codec_context.thread_count = 1  # Videos are what is worked on in parallel.
  nominal = float(stream.average_rate or stream.base_rate or 0)
  return Film(_upright_frames(container, stream, where), nominal, stream.time_base)


def _upright_frames(container: Any, stream: Any, where: str) -> Iterator[av.VideoFrame]:
  upright = _Upright(stream.sample_aspect_ratio or Fraction(1), where)
  with _told(where):
    for frame in _frames(container, stream, where):
      yield upright(frame)


def _check_size(width: int, height: int, where: str) -> None:
  if width * height > MAX_PIXELS:
    raise UserError(f'{where}: has frames of {width}x{height} pixels, more than {MAX_PIXELS}')


def _main_stream(container: Any, where: str) -> Any:
  streams = container.streams.video
  if not streams:
    raise UserError(f'{where}: has no video stream')
  films = [stream for stream in streams if not _is_cover(stream)]
  if not films:
    raise UserError(f'{where}: has no video stream, only a cover picture')
  # The first of the best.
  stream = max(films, key=lambda s: (bool(_disposition(s) & _DEFAULT), _area(s)))
  if stream.codec_context is None or not _area(stream):
    raise UserError(f'{where}: has video in a format that cannot be decoded')
  return stream


_DEFAULT, _ATTACHED, _THUMBNAILS = 0x1, 0x400, 0x800


def _disposition(stream: Any) -> int:
  flags = getattr(stream, 'disposition', 0)  # PyAV 14 does not tell it.
  return getattr(flags, 'value', flags)


def _is_cover(stream: Any) -> bool:
  if hasattr(stream, 'disposition'):
    return bool(_disposition(stream) & (_ATTACHED | _THUMBNAILS))
  return not stream.frames and not stream.average_rate


def _area(stream: Any) -> int:
  context = stream.codec_context
  return context.width * context.height if context else 0


def _frames(container: Any, stream: Any, where: str) -> Iterator[av.VideoFrame]:
  def check(frame: av.VideoFrame) -> av.VideoFrame:
    if frame.is_corrupt:
      raise UserError(f'{where}: has a damaged frame at {frame.time} s')
    return frame

  for packet in container.demux(stream):
    if packet.is_corrupt:
      raise UserError(f'{where}: truncated or damaged at byte {packet.pos}')
    if packet.size:  # One without content would tell the decoder that the end has come.
      yield from map(check, stream.decode(packet))
  for frame in stream.decode(None):
    frame.time_base = stream.time_base  # Otherwise of the packet, and there is none.
    yield check(frame)


class _Upright:
  """Makes frames look as they are meant to: turned, with square pixels, of one size."""

  def __init__(self, aspect: Fraction, where: str):
    """Takes the width of a pixel by its height, and how to name the file."""
    # Scaling to whole pixels leaves ratios such as 512:513, which nobody means.
    self._aspect, self._where = aspect if abs(aspect - 1) > 0.01 else Fraction(1), where
    self._size: tuple[int, int] | None = None
    self._turn: tuple[int, tuple[bool, bool, bool]] | None = None

  def __call__(self, frame: av.VideoFrame) -> av.VideoFrame:
    # Frames whose side data were looked at are kept until garbage is collected: PyAV lets frame and
    # data refer to each other. So this is done where the angle changes only.
    angle = getattr(frame, 'rotation', 0)
    if self._turn is None or self._turn[0] != angle:
      self._turn = angle, self._orientation(frame)
    swap, flip_x, flip_y = self._turn[1]
    width, height = max(round(frame.width * self._aspect), 1), frame.height
    _check_size(width, height, self._where)
    size = (height, width) if swap else (width, height)
    first = self._size = self._size or size
    if size != first:
      if abs(size[0] * first[1] / (size[1] * first[0]) - 1) > 0.02:
        raise UserError(
          f'{self._where}: changes from frames of {first[0]}x{first[1]} to {size[0]}x{size[1]} '
          f'pixels at {frame.time} s'
        )
      width, height = first[::-1] if swap else first
    same = (frame.width, frame.height) == (width, height)
    if same and not (swap or flip_x or flip_y):
      return frame
    pixels = frame.to_ndarray(format='rgb24', width=width, height=height, interpolation='BICUBIC')
    pixels = pixels.swapaxes(0, 1) if swap else pixels
    pixels = pixels[:: -1 if flip_y else 1, :: -1 if flip_x else 1]
    turned = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels, np.uint8), format='rgb24')
    turned.pts, turned.time_base = frame.pts, frame.time_base
    return turned

  def _orientation(self, frame: Any) -> tuple[bool, bool, bool]:
    """Whether x and y are swapped, and then which of them are turned round."""
    a, b, c, d = _matrix(frame)
    straight, crossed = max(abs(a), abs(d)), max(abs(b), abs(c))
    if min(straight, crossed) * 50 > max(straight, crossed):
      angle = math.degrees(math.atan2(b, a))
      raise UserError(f'{self._where}: is to be shown turned by {angle:.0f} degrees')
    return (True, c < 0, b < 0) if crossed > straight else (False, a < 0, d < 0)


def _matrix(frame: Any) -> tuple[float, float, float, float]:
  """a, b, c and d, with which x' = a x + c y and y' = b x + d y."""
  try:
    matrix = frame.side_data.get('DISPLAYMATRIX')
  except ValueError:  # The frame has something else, too, that PyAV does not know, such as EXIF.
    angle = math.radians(getattr(frame, 'rotation', 0))
    return math.cos(angle), -math.sin(angle), math.sin(angle), math.cos(angle)
  if not matrix:
    return 1, 0, 0, 1
  a, b, _, c, d = struct.unpack_from('=5i', bytes(matrix))
  return a, b, c, d


def _rate(film: Film, times: list[int], where: str) -> float:
  """Frames a second: the one in the file if its frames' times agree, or else that of the times."""
  nominal = film.rate
  span = float((max(times) - min(times)) * film.time_base) if times else 0.0
  # A frame or two are missing from the clock of many a file, such as DivX's.
  if nominal and (not span or abs(span * nominal - (len(times) - 1)) < max(1.5, len(times) / 20)):
    return nominal
  if not span:
    raise UserError(f'{where}: has neither a rate nor times of its frames')
  return (len(times) - 1) / span
