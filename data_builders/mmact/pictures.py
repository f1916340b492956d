"""Reads a clip's video and stores its frames small."""

import io
from fractions import Fraction

import av
from PIL import Image

from har.errors import UserError

RATE = 30.0
QUALITY = 90
MIN_FRAMES = 2
# Real clips have 1920x1080 pixels and at most 1544 frames.
MAX_PIXELS = 4096 * 2304
MAX_FRAMES = 18000
# Left to itself, FFmpeg takes some text files for playlists and opens what they name.
_OPENED = {'format_whitelist': 'mov,avi,matroska,mpeg,mpegts,asf,flv,ogg'}


def _check_size(width: int, height: int, where: str) -> None:
  if not 0 < width * height <= MAX_PIXELS:
    raise UserError(f'{where}: has frames of {width}x{height} pixels')


def _expected(container, stream) -> int:
  """Frames that must come out; an edit list may show fewer than the file has."""
  declared = stream.frames
  if declared and container.duration and stream.average_rate:
    shown = Fraction(container.duration, av.time_base) * stream.average_rate
    declared = min(declared, round(shown))
  return declared


def shrink(frame: av.VideoFrame, short_side: int) -> bytes:
  """A frame as JPEG, its short side at most `short_side` pixels."""
  scale = min(1.0, short_side / min(frame.width, frame.height))
  size = max(round(frame.width * scale), 1), max(round(frame.height * scale), 1)
  image = frame.to_image(width=size[0], height=size[1], interpolation='AREA')
  buffer = io.BytesIO()
  image.save(buffer, 'JPEG', quality=QUALITY)
  return buffer.getvalue()


def read(data: bytes, where: str, short_side: int) -> list[bytes]:
  """Decodes a video, one frame at a time.

  Args:
    data: the file.
    where: how to name it.
    short_side: pixels of the stored frames' short side, at most.

  Returns:
    All its frames as JPEG.

  Raises:
    UserError: whatever keeps a frame from being decoded, or frames that are missing.
  """
  try:
    with av.open(io.BytesIO(data), 'r', container_options=_OPENED) as container:
      if not container.streams.video:
        raise UserError(f'{where}: has no video stream')
      stream = container.streams.video[0]
      if stream.codec_context is None:
        raise UserError(f'{where}: has video in a format that cannot be decoded')
      _check_size(stream.width, stream.height, where)
      # By default FFmpeg paints over damaged parts of a picture and goes on, and allocates
      # pictures of whatever size the stream asks for.
      stream.codec_context.options = {'err_detect': 'explode', 'max_pixels': str(MAX_PIXELS)}
      stream.codec_context.thread_count = 1  # Clips are what is worked on in parallel.
      expected = _expected(container, stream)
      frames: list[bytes] = []
      for frame in container.decode(stream):
        _check_size(frame.width, frame.height, where)
        if frame.is_corrupt:
          raise UserError(f'{where}: has a damaged frame at {frame.time} s')
        if len(frames) == MAX_FRAMES:
          raise UserError(f'{where}: has more than {MAX_FRAMES} frames')
        frames.append(shrink(frame, short_side))
  except (av.FFmpegError, ValueError, Image.DecompressionBombError) as error:
    reason = getattr(error, 'strerror', None) or error
    raise UserError(f'{where}: not a readable video ({reason})') from error
  if len(frames) < MIN_FRAMES:
    raise UserError(f'{where}: has {len(frames)} frames, fewer than {MIN_FRAMES}')
  if len(frames) < expected - max(2, expected // 50):
    raise UserError(f'{where}: truncated; {len(frames)} of {expected} frames can be decoded')
  return frames
