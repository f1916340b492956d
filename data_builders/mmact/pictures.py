"""Reads a clip's video and stores its frames small."""

from data_builders import video

RATE = 30.0


def read(data: bytes, where: str, short_side: int) -> list[bytes]:
  """All frames of a video as JPEG.

  Args:
    data: the file.
    where: how to name it.
    short_side: pixels of the stored frames' short side, at most.

  Raises:
    UserError: as `video.read`.
  """
  return video.read(data, where, lambda frame: video.shrink(frame, short_side)).frames
