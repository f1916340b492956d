import io

import numpy as np
import pytest
from PIL import Image

from data_builders.mmact import pictures
from har.errors import UserError
from tests.data_builders.films import film, flat


def test_frames_are_jpeg_with_the_short_side_asked_for():
  frames = pictures.read(film(), 'v.mp4', 24)
  images = [Image.open(io.BytesIO(frame)) for frame in frames]
  assert {(image.format, image.size) for image in images} == {('JPEG', (32, 24))}
  np.testing.assert_allclose([np.asarray(x).mean() for x in images], 20 + 5 * np.arange(12), atol=4)


def test_portrait_and_small_pictures():
  for size, side, stored in (((64, 48), 24, (24, 32)), ((48, 64), 100, (64, 48))):
    frames = pictures.read(film(times=range(2), size=size), 'v.mp4', side)
    assert {Image.open(io.BytesIO(frame)).size for frame in frames} == {stored}


def test_damage_is_an_error_or_decoded_but_never_anything_else():
  whole, rng = film(times=range(8), picture=flat, movflags='faststart'), np.random.default_rng(0)
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


def test_faults_name_the_file():
  with pytest.raises(UserError, match=r'^v.mp4: truncated or damaged'):
    pictures.read(film(movflags='faststart')[:-300], 'v.mp4', 24)
