import io
import pathlib
import tempfile

import av
import numpy as np
import pytest
from PIL import Image

from data_builders.mmact import pictures
from har.errors import UserError


def video(count=12, height=48, width=64, codec='libx264', form='mp4', fps=30, **options):
  """A video whose frames become brighter from one to the next."""
  # Some of the muxer's options need a file to go back in.
  with (
    tempfile.NamedTemporaryFile() as file,
    av.open(file.name, 'w', format=form, options=options) as container,
  ):
    stream = container.add_stream(codec, rate=fps)
    stream.height, stream.width, stream.pix_fmt = height, width, 'yuv420p'
    for i in range(count):
      picture = np.full((height, width, 3), 20 + 15 * i % 220, np.uint8)
      container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format='rgb24')))
    container.mux(stream.encode(None))
    container.close()
    return pathlib.Path(file.name).read_bytes()


def sizes(frames):
  return {Image.open(io.BytesIO(frame)).size for frame in frames}


def test_frames_are_jpeg_with_the_short_side_asked_for():
  frames = pictures.read(video(), 'v.mp4', 24)
  assert len(frames) == 12
  assert sizes(frames) == {(32, 24)}
  means = [np.asarray(Image.open(io.BytesIO(frame))).mean() for frame in frames]
  np.testing.assert_allclose(means, 20 + 15 * np.arange(12), atol=4)
  assert Image.open(io.BytesIO(frames[0])).format == 'JPEG'


def test_portrait_and_small_pictures():
  assert sizes(pictures.read(video(height=64, width=48), 'v.mp4', 24)) == {(24, 32)}
  assert sizes(pictures.read(video(), 'v.mp4', 100)) == {(64, 48)}


def test_other_codecs_and_containers_are_read():
  assert len(pictures.read(video(codec='mpeg4'), 'v.mp4', 24)) == 12
  assert len(pictures.read(video(codec='mpeg4', form='avi'), 'v.mp4', 24)) == 12


def audio():
  buffer = io.BytesIO()
  with av.open(buffer, 'w', format='mp4') as container:
    stream = container.add_stream('aac', rate=16000, layout='mono')
    silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), 'fltp', 'mono')
    silence.sample_rate = 16000
    container.mux(stream.encode(silence))
    container.mux(stream.encode(None))
  return buffer.getvalue()


@pytest.mark.parametrize(
  ('data', 'message'),
  [
    (b'', 'v.mp4: not a readable video'),
    (b'nothing at all' * 50, 'v.mp4: not a readable video'),
    (video()[:-300], 'v.mp4: not a readable video'),  # Without its index.
    (audio(), 'v.mp4: has no video stream'),
    (video(count=1), 'v.mp4: has 1 frames, fewer than 2'),
  ],
)
def test_what_cannot_be_decoded(data, message):
  with pytest.raises(UserError, match=message):
    pictures.read(data, 'v.mp4', 24)


def test_a_truncated_video_is_noticed_although_it_decodes():
  data = video(count=60, movflags='faststart')
  with pytest.raises(UserError, match=r'v.mp4: (truncated|not a readable)'):
    pictures.read(data[: len(data) * 3 // 4], 'v.mp4', 24)


def test_oversized_frames_are_refused_before_they_are_decoded(monkeypatch):
  monkeypatch.setattr(pictures, 'MAX_PIXELS', 64 * 48 - 1)
  monkeypatch.setattr(pictures, 'shrink', None)
  with pytest.raises(UserError, match=r'v.mp4: has frames of 64x48 pixels'):
    pictures.read(video(), 'v.mp4', 24)


def test_endless_videos_are_refused(monkeypatch):
  monkeypatch.setattr(pictures, 'MAX_FRAMES', 11)
  with pytest.raises(UserError, match=r'v.mp4: has more than 11 frames'):
    pictures.read(video(), 'v.mp4', 24)


def test_damage_is_an_error_or_decoded_but_never_anything_else():
  whole, rng = video(count=8, movflags='faststart'), np.random.default_rng(0)
  refused = 0
  for _ in range(60):
    data = bytearray(whole)
    for place in rng.integers(0, len(data), rng.integers(1, 30)):
      data[place] ^= 1 << rng.integers(8)
    try:
      pictures.read(bytes(data), 'v.mp4', 24)
    except UserError:
      refused += 1
  assert refused > 20
