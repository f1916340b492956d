"""Frames that come as JPEG, one by one."""

import av

from data_builders.video import MAX_PIXELS
from har.stream.recordings import SourceError

_MOST = min(MAX_PIXELS, 4096 * 2304)


class Decoder:
  """Decodes them as FFmpeg does those of a file, so that a stream is what a recording of it is."""

  def __init__(self) -> None:
    self._codec = av.CodecContext.create('mjpeg', 'r')
    self._codec.options = {'err_detect': 'explode', 'max_pixels': str(_MOST)}
    self._codec.thread_count = 1

  def __call__(self, data: bytes) -> av.VideoFrame:
    """A frame.

    Raises:
      SourceError: it cannot be decoded.
    """
    try:
      frames = self._codec.decode(av.Packet(data))
    except (av.FFmpegError, ValueError) as e:
      reason = ' '.join(str(getattr(e, 'strerror', None) or e).split())
      raise SourceError(f'a frame that cannot be decoded ({reason})') from e
    if len(frames) != 1 or frames[0].is_corrupt:
      raise SourceError('a message that is not one whole picture')
    return frames[0]
