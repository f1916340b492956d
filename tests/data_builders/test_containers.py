import io
import struct

import av
import numpy as np
import pytest

from data_builders import containers, video
from har.errors import UserError
from tests.data_builders import films
from tests.data_builders.films import film


def count(data: bytes) -> int:
  return len(video.read(data, 'v', lambda frame: None).frames)


def places(data: bytes, seed: int = 0) -> list[int]:
  """Where to cut: anywhere, beside packets and near the end."""
  with av.open(io.BytesIO(data)) as container:
    packets = {packet.pos for packet in container.demux() if packet.pos}
  anywhere = np.random.default_rng(seed).integers(1, len(data), 12).tolist()
  near = {place + by for place in sorted(packets)[::3] for by in (-8, 0, 1)}
  return sorted({*anywhere, *near, *range(len(data) - 12, len(data))} - {0, len(data)})


@pytest.mark.parametrize(('form', 'codec', 'options'), films.FINISHED)
def test_a_cut_is_noticed_wherever_it_is(form, codec, options):
  data = film(form, codec, picture=films.noise, **options)
  assert count(data) == 12
  for place in places(data):
    with pytest.raises(UserError, match=r'^v: '):
      count(data[:place])


@pytest.mark.parametrize(('form', 'codec', 'options'), films.UNFINISHED)
def test_without_sizes_a_cut_is_noticed_within_a_part(form, codec, options):
  data = film(form, codec, picture=films.noise, **options)
  with av.open(io.BytesIO(data)) as container:
    packets = [packet.pos for packet in container.demux() if packet.pos]
  for place in packets[3:8]:
    with pytest.raises(UserError, match=r'^v: '):
      count(data[: place + 150])


def test_sizes_that_writers_get_wrong_and_what_others_append():
  data = bytearray(film('avi', 'mjpeg'))
  (size,) = struct.unpack_from('<I', data, 4)
  for wrong in (size + 5, size + 10**6, 0, 2**32 - 1):
    struct.pack_into('<I', data, 4, wrong)
    assert count(bytes(data)) == 12
  struct.pack_into('<I', data, 4, size)
  assert count(bytes(data) + bytes(300)) == 12
  for form, codec in (('mp4', 'libx264'), ('matroska', 'libx264'), ('asf', 'wmv2')):
    assert count(film(form, codec) + bytes(300)) == 12


def test_a_hole_in_the_chain_of_parts_is_noticed():
  for form, codec in (('avi', 'mjpeg'), ('matroska', 'mjpeg')):
    data = film(form, codec, picture=films.noise)
    with av.open(io.BytesIO(data)) as container:
      packet = [packet.pos for packet in container.demux() if packet.pos][5]
    hole = data[: packet - 40] + bytes(80) + data[packet + 40 :]
    with pytest.raises(UserError, match=r'^v: truncated or damaged; the .* at byte'):
      count(hole)


def test_an_unpadded_chunk_of_odd_size_is_no_damage():
  data = film('avi', 'mjpeg')
  at = data.index(b'movi')
  end = at + struct.unpack_from('<I', data, at - 4)[0]
  movi, place = b'movi', at + 4
  while place < end:
    (length,) = struct.unpack_from('<I', data, place + 4)
    content = data[place + 8 : place + 8 + length]
    content += b'\0' * (length % 2 == 0)
    movi += data[place : place + 4] + struct.pack('<I', len(content)) + content
    place += 8 + length + length % 2
  assert count(data[: at - 4] + struct.pack('<I', len(movi)) + movi + data[end:]) == 12


def test_what_is_missing_names_sizes():
  data = film()
  assert containers.missing(io.BytesIO(data), 'mov,mp4,m4a,3gp,3g2,mj2') == ''
  problem = containers.missing(io.BytesIO(data[:-1]), 'mov,mp4,m4a,3gp,3g2,mj2')
  assert problem == f'the file should have at least {len(data)} bytes and has {len(data) - 1}'
  assert containers.missing(io.BytesIO(data), 'another') == ''


def page(flags: int, stream: int, content: bytes) -> bytes:
  lacing = bytes([255] * (len(content) // 255) + [len(content) % 255])
  head = struct.pack('<4sBBQIIIB', b'OggS', 0, flags, 0, stream, 0, 0, len(lacing))
  return head + lacing + content


def test_ogg_pages():
  first, second, last = page(2, 7, b'a' * 30), page(0, 7, b'b' * 600), page(4, 7, b'c')
  assert containers.missing(io.BytesIO(first + second + last), 'ogg') == ''
  assert containers.missing(io.BytesIO(first + second + last + bytes(9)), 'ogg') == ''
  for cut in range(1, len(second + last)):
    assert containers.missing(io.BytesIO((first + second + last)[:-cut]), 'ogg')
  other = page(2, 8, b'd') + page(4, 8, b'e')
  assert containers.missing(io.BytesIO(first + other), 'ogg')


def test_parts_of_large_avi_files():
  """Each has its list; an index in the first one knows where the others are."""

  def riff(kind: bytes, content: bytes) -> bytes:
    return b'RIFF' + struct.pack('<I', 4 + len(content)) + kind + content

  def pieces(name: bytes, kind: bytes, *chunks: bytes) -> bytes:
    content = b''.join(chunks)
    return name + struct.pack('<I', len(kind + content)) + kind + content

  def frames(count: int) -> bytes:
    return pieces(b'LIST', b'movi', *[pieces(b'00dc', b'', bytes(100))] * count)

  for offset in (0, 1000):
    index = struct.pack('<HBBI4s12xQII', 4, 0, 0, 1, b'00dc', offset, 100, 5)
    header = pieces(b'LIST', b'hdrl', pieces(b'LIST', b'strl', pieces(b'indx', b'', index)))
    first, second = (
      riff(b'AVI ', header + frames(3) + pieces(b'idx1', b'', bytes(48))),
      riff(b'AVIX', frames(6)),
    )
    assert 400 < len(first) < 1000 < 1100 < len(first + second)
    assert containers.missing(io.BytesIO(first + second), 'avi') == ''
    assert bool(containers.missing(io.BytesIO(first), 'avi')) == (offset > 0)
    assert containers.missing(io.BytesIO((first + second)[:-60]), 'avi')
