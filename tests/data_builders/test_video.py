import io
import pathlib
import struct
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from data_builders import video
from har.errors import UserError
from tests.data_builders import films
from tests.data_builders.films import film


def rgb(frame: av.VideoFrame) -> np.ndarray:
  return frame.to_ndarray(format='rgb24').astype(int)


def count(data: bytes) -> int:
  return len(video.read(data, 'v', lambda frame: None).frames)


@pytest.mark.parametrize(('form', 'codec', 'options'), films.FINISHED + films.UNFINISHED)
def test_all_frames_come_in_order_with_their_rate(form, codec, options, tmp_path):
  data = film(form, codec, **options)
  frames, rate = video.read(data, 'v', lambda frame: rgb(frame).mean())
  np.testing.assert_allclose(frames, 20 + 5 * np.arange(12), atol=4)
  assert rate == pytest.approx(30)
  # A path may look like a protocol, and a name like that of another container.
  path = tmp_path / 'cache:2.avi'
  path.write_bytes(data)
  assert video.read(path, 'v', lambda frame: rgb(frame).mean()) == (frames, rate)


def test_frames_that_were_dropped_while_recording_are_none():
  times = [i + 3 * (i >= 5) for i in range(12)]
  for codec, b_frames in (('mjpeg', 0), ('mpeg4', 0), ('mpeg4', 2)):
    frames, rate = video.read(film('avi', codec, times, b_frames=b_frames), 'v', rgb)
    np.testing.assert_allclose([x.mean() for x in frames], 20 + 5 * np.arange(12), atol=4)
    assert rate == pytest.approx(30 * 11 / 14)


@pytest.mark.parametrize('declared', [0, 11, 13, 1000])
def test_the_number_of_frames_in_a_header_is_no_measure(declared):
  data = bytearray(film('avi', 'mjpeg'))
  struct.pack_into('<I', data, data.index(b'strh') + 40, declared)
  assert count(bytes(data)) == 12


@pytest.mark.parametrize(
  ('form', 'codec'), [('avi', 'mjpeg'), ('mp4', 'libx264'), ('matroska', 'libx264')]
)
def test_tags_may_be_in_any_encoding(form, codec):
  data = film(form, codec, title='Kueche XX').replace(b'Kueche XX', b'K\xfcche \x8c\xd3 ')
  assert b'\x8c' in data
  assert count(data) == 12


def test_a_cover_picture_is_no_video():
  data = film(cover=True)
  for tagged in (data, films.cover_first(data)):
    frames, rate = video.read(tagged, 'v', rgb)
    assert (len(frames), frames[0].shape, rate) == (12, (48, 64, 3), 30)


def test_sound_alone_is_no_video():
  buffer = io.BytesIO()
  with av.open(buffer, 'w', format='mp4') as container:
    films.add_sound(container, 1)
  with pytest.raises(UserError, match=r'^v: has no video stream$'):
    count(buffer.getvalue())
  buffer = io.BytesIO()
  with av.open(buffer, 'w', format='mp4') as container:
    poster = container.add_stream('mjpeg', rate=1)
    poster.height, poster.width, poster.pix_fmt = 96, 96, 'yuvj420p'
    poster.disposition = av.stream.Disposition.attached_pic
    films.add_sound(container, 1)
    frame = av.VideoFrame.from_ndarray(films.flat(9, (96, 96)), format='rgb24')
    container.mux([*poster.encode(frame), *poster.encode(None)])
  with pytest.raises(UserError, match=r'^v: has no video stream, only a cover picture$'):
    count(buffer.getvalue())


@pytest.mark.parametrize('sound', [0, 0.5, 2])
@pytest.mark.parametrize('b_frames', [0, 2])
def test_an_edit_list_hides_frames(sound, b_frames):
  data = film(
    times=range(24), b_frames=b_frames, sound=sound, picture=lambda i, size: films.flat(i, size)
  )
  assert count(data) == 24
  frames, rate = video.read(films.trim(data, 8, 10), 'v', lambda frame: rgb(frame).mean())
  np.testing.assert_allclose(frames, 20 + 5 * np.arange(8, 18), atol=4)
  assert rate == 30


def two_films(default: int) -> bytes:
  """A dim film of 64x48 and a bright one of 32x32; one of them is the default."""
  buffer = io.BytesIO()
  with av.open(buffer, 'w', format='matroska') as container:
    streams = [container.add_stream('libx264', rate=30) for _ in range(2)]
    for i, (stream, size) in enumerate(zip(streams, ((48, 64), (32, 32)), strict=True)):
      stream.height, stream.width = size
      stream.pix_fmt = 'yuv420p'
      stream.disposition = av.stream.Disposition.default if i == default else 0
    for i in range(3):
      for stream, level in zip(streams, (0, 30), strict=True):
        frame = av.VideoFrame.from_ndarray(
          films.flat(level, (stream.height, stream.width)), format='rgb24'
        )
        frame.pts, frame.time_base = i, Fraction(1, 30)
        container.mux(stream.encode(frame))
    for stream in streams:
      container.mux(stream.encode(None))
  return buffer.getvalue()


@pytest.mark.parametrize(('default', 'shape'), [(0, (48, 64, 3)), (1, (32, 32, 3))])
def test_of_several_films_the_default_is_read(default, shape):
  frames, _ = video.read(two_films(default), 'v', rgb)
  assert [frame.shape for frame in frames] == [shape] * 3


def test_the_rate_of_uneven_frames_is_their_average():
  times = np.cumsum([1, 1, 1, 7] * 10).tolist()
  for form in ('mp4', 'matroska'):
    frames, rate = video.read(film(form, times=times), 'v', rgb)
    assert len(frames) == 40
    assert rate == pytest.approx(12, rel=0.03)


FORMATS = [
  ('mp4', 'libx264', 'yuv444p', SQUARE := films.SIZE),
  ('mp4', 'libx264', 'yuv420p10le', SQUARE),
  ('matroska', 'libx264', 'yuv422p10le', (46, 62)),
  ('mp4', 'libx264', 'yuv444p', (47, 63)),
  ('matroska', 'ffv1', 'yuv420p', (47, 63)),
  ('mov', 'png', 'rgba', SQUARE),
  ('mov', 'qtrle', 'argb', SQUARE),
  ('avi', 'rawvideo', 'bgr24', SQUARE),
  ('webm', 'libvpx-vp9', 'yuva420p', SQUARE),
]


@pytest.mark.parametrize(('form', 'codec', 'pixels', 'size'), FORMATS)
def test_any_format_of_pixels(form, codec, pixels, size):
  data = (
    film(form, codec, range(3), films.quarters, size, pixels)
    if not size[0] % 2
    else film(form, codec, range(3), films.flat, size, pixels)
  )
  frames, _ = video.read(data, 'v', rgb)
  assert [frame.shape for frame in frames] == [(*size, 3)] * 3
  if not size[0] % 2:
    np.testing.assert_allclose(corners(frames[1]), films.QUARTERS, atol=30)


@pytest.mark.parametrize('mode', ['L', 'P', 'LA', 'RGBA', 'I;16'])
def test_grey_palettes_and_transparency(mode):
  image = Image.fromarray(films.quarters(0)).convert('L' if mode == 'I;16' else mode)
  if mode == 'I;16':
    image = Image.fromarray(np.asarray(image).astype(np.uint16) * 257)
  frames, _ = video.read(stills('mov', 'png', [image] * 3), 'v', rgb)
  grey = np.array(
    [
      [float(Image.new('RGB', (1, 1), tuple(map(int, c))).convert('L').getpixel((0, 0)))] * 3
      for c in films.QUARTERS
    ]
  )
  wanted = films.QUARTERS if mode in ('P', 'RGBA') else grey
  np.testing.assert_allclose(corners(frames[1]), wanted, atol=6)


def stills(form: str, codec: str, images: list[Image.Image], **options) -> bytes:
  """A film whose frames are image files."""
  buffer = io.BytesIO()
  with av.open(buffer, 'w', format=form) as container:
    stream = container.add_stream(codec, rate=30)
    stream.height, stream.width, stream.pix_fmt = 48, 64, films.PIXELS[codec]
    for i, image in enumerate(images):
      file = io.BytesIO()
      image.save(file, {'mjpeg': 'JPEG', 'png': 'PNG'}[codec], **options)
      packet = av.Packet(file.getvalue())
      packet.stream, packet.pts, packet.dts, packet.time_base = stream, i, i, Fraction(1, 30)
      container.mux(packet)
  return buffer.getvalue()


def corners(pixels: np.ndarray) -> np.ndarray:
  """Means of the middles of the quarters: upper left, upper right, lower left, lower right."""
  height, width = pixels.shape[:2]
  y, x = height // 8, width // 8
  parts = [
    pixels[top : top + 2 * y, left : left + 2 * x]
    for top in (y, height - 3 * y)
    for left in (x, width - 3 * x)
  ]
  return np.array([part.mean((0, 1)) for part in parts])


# How a point to the right and one below come to lie (a, b and c, d), and which quarter of the
# stored frame is then in each corner.
TURNS = [
  ((1, 0, 0, 1), [0, 1, 2, 3]),
  ((0, 1, -1, 0), [2, 0, 3, 1]),  # Clockwise.
  ((-1, 0, 0, -1), [3, 2, 1, 0]),
  ((0, -1, 1, 0), [1, 3, 0, 2]),  # Counterclockwise.
  ((-1, 0, 0, 1), [1, 0, 3, 2]),
  ((1, 0, 0, -1), [2, 3, 0, 1]),
  ((0, 1, 1, 0), [0, 2, 1, 3]),
  ((0, -1, -1, 0), [3, 1, 2, 0]),
]


@pytest.mark.parametrize(('matrix', 'order'), TURNS)
@pytest.mark.parametrize('aspect', [None, Fraction(4, 3)])
def test_frames_are_turned_as_the_file_tells(matrix, order, aspect):
  data = film(times=range(3), picture=films.quarters, aspect=aspect)
  frames, rate = video.read(films.turn(data, *matrix), 'v', rgb)
  width = 64 * 4 // 3 if aspect else 64
  shape = (48, width, 3) if matrix[0] else (width, 48, 3)
  assert [frame.shape for frame in frames] == [shape] * 3
  np.testing.assert_allclose(corners(frames[1]), films.QUARTERS[order], atol=30)
  assert rate == 30


@pytest.mark.parametrize(('angle', 'order'), [(90, 3), (180, 2), (270, 1)])
def test_other_containers_turn_frames_too(angle, order):
  data = film('matroska', times=range(3), picture=films.quarters, rotation=angle)
  frames, _ = video.read(data, 'v', rgb)
  np.testing.assert_allclose(corners(frames[1]), films.QUARTERS[TURNS[order][1]], atol=30)


@pytest.mark.parametrize(('orientation', 'order'), [(1, 0), (6, 1), (3, 2), (8, 3)])
def test_pictures_that_are_turned_by_themselves(orientation, order):
  exif = Image.Exif()
  exif[0x0112] = orientation
  data = stills('avi', 'mjpeg', [Image.fromarray(films.quarters(0))] * 3, exif=exif)
  frames, _ = video.read(data, 'v', rgb)
  np.testing.assert_allclose(corners(frames[1]), films.QUARTERS[TURNS[order][1]], atol=30)


def test_a_slanting_film_is_refused():
  data = bytearray(films.turn(film(), 1, 1, -1, 1))
  with pytest.raises(UserError, match=r'^v: is to be shown turned by 45 degrees$'):
    count(bytes(data))


@pytest.mark.parametrize(
  ('form', 'codec', 'aspect', 'width'),
  [
    ('mp4', 'libx264', (16, 15), 68),
    ('mp4', 'libx264', (8, 9), 57),
    ('matroska', 'libx264', (2, 1), 128),
    ('avi', 'mpeg4', (12, 11), 70),
    ('mpegts', 'libx264', (4, 3), 85),
    ('mp4', 'libx264', (512, 513), 64),  # What scaling to whole pixels leaves.
  ],
)
def test_pixels_become_square(form, codec, aspect, width):
  data = film(form, codec, range(12), films.quarters, aspect=Fraction(*aspect))
  frames, _ = video.read(data, 'v', rgb)
  assert [frame.shape for frame in frames] == [(48, width, 3)] * 12
  np.testing.assert_allclose(corners(frames[1]), films.QUARTERS, atol=30)


def changing(second: tuple[int, int]) -> bytes:
  """Motion JPEG that goes on with frames of another size."""
  sizes = (films.SIZE, films.SIZE, second, second)
  return stills('avi', 'mjpeg', [Image.fromarray(films.quarters(0, size)) for size in sizes])


def test_frames_of_another_size_are_scaled_to_the_first():
  frames, _ = video.read(changing((96, 128)), 'v', rgb)
  assert [frame.shape for frame in frames] == [(48, 64, 3)] * 4
  np.testing.assert_allclose(corners(frames[3]), films.QUARTERS, atol=30)
  with pytest.raises(UserError, match=r'^v: changes from frames of 64x48 to 64x96 pixels at 0.06'):
    count(changing((96, 64)))


def picture_file(form: str) -> bytes:
  buffer = io.BytesIO()
  images = [Image.new('RGB', (64, 48), colour) for colour in ('red', 'blue', 'green')]
  images[0].save(
    buffer, form, **({'save_all': True, 'append_images': images[1:]} if form == 'GIF' else {})
  )
  return buffer.getvalue()


@pytest.mark.parametrize(
  ('data', 'fault'),
  [
    (b'', 'not a readable video'),
    (b'nothing at all' * 50, 'not a readable video'),
    (picture_file('PNG'), 'not a readable video .only AVI, MP4'),
    (picture_file('JPEG'), 'not a readable video .only AVI, MP4'),
    (picture_file('GIF'), 'not a readable video .only AVI, MP4'),
    (b'#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:9,\nSECRET\n#EXT-X-ENDLIST\n', 'not a readable'),
    (b"ffconcat version 1.0\nfile 'SECRET'\n", 'not a readable video .only AVI, MP4'),
    (b'<!DOCTYPE html><html>Log in</html>', 'a web page'),
    (b'version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n', 'a pointer of Git LFS'),
    (film(times=[0]), 'has 1 frames, fewer than 2'),
  ],
)
def test_what_is_no_video_is_named(data, fault, tmp_path):
  secret = tmp_path / 'secret.mp4'
  secret.write_bytes(film())
  with pytest.raises(UserError, match=f'^v: {fault}') as caught:
    count(data.replace(b'SECRET', str(secret).encode()))
  assert '\n' not in str(caught.value)


def test_a_path_that_is_not_there():
  with pytest.raises(UserError, match=r'^v: not a readable video \(No such file'):
    video.read(pathlib.Path('nowhere.mp4'), 'v', rgb)


def test_limits_name_themselves(monkeypatch):
  monkeypatch.setattr(video, 'MAX_FRAMES', 11)
  with pytest.raises(UserError, match=r'^v: has more than 11 frames; cut it into shorter videos$'):
    count(film())
  monkeypatch.setattr(video, 'MAX_PIXELS', 64 * 48 - 1)
  with pytest.raises(UserError, match=r'^v: has frames of 64x48 pixels, more than 3071$'):
    count(film())
  monkeypatch.setattr(video, 'MAX_PIXELS', 64 * 48 + 1)
  with pytest.raises(UserError, match=r'^v: has frames of 128x48 pixels, more than 3073$'):
    count(film(aspect=Fraction(2)))


def test_frames_are_given_away_one_by_one():
  seen = []

  def convert(frame):
    seen.append(frame.pts)
    if len(seen) == 3:
      raise UserError('enough')

  with pytest.raises(UserError, match=r'^enough$'):
    video.read(film(times=range(40)), 'v', convert)
  assert len(seen) == 3


def test_frames_become_small_jpegs():
  frame = av.VideoFrame.from_ndarray(films.quarters(0, (480, 640)), format='rgb24')
  image = Image.open(io.BytesIO(video.shrink(frame, 120)))
  assert (image.format, image.size) == ('JPEG', (160, 120))
  np.testing.assert_allclose(corners(np.asarray(image)), films.QUARTERS, atol=4)
  assert Image.open(io.BytesIO(video.shrink(frame, 1000))).size == (640, 480)
  upright = av.VideoFrame.from_ndarray(films.quarters(0, (640, 480)), format='rgb24')
  assert Image.open(io.BytesIO(video.shrink(upright, 120))).size == (120, 160)
  assert len(video.shrink(frame, 120, quality=20)) < len(video.shrink(frame, 120))
  line = av.VideoFrame.from_ndarray(films.flat(0, (2, 640)), format='rgb24')
  assert Image.open(io.BytesIO(video.shrink(line, 1))).size == (320, 1)
