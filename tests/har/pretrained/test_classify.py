"""Pictures and videos are given the classes that features and classifier say."""

import dataclasses
import types

import jax
import numpy as np
import pytest

from har.errors import UserError
from har.models import registry
from har.models.c3d import C3D
from har.pretrained import classify
from har.pretrained import registry as published
from har.pretrained.convert import Pretrained
from tests import fakes
from tests.data_builders import raw_trees
from tests.fakes import TinyFrames as Tiny


@pytest.fixture
def found(tmp_path, monkeypatch):
  """Random weights, and two pictures."""
  rng = np.random.default_rng(0)
  variables = fakes.draw_variables(Tiny(), np.zeros((1, 1, 12, 12, 3), np.float32))
  classifier = {'kernel': rng.standard_normal((16, 7)), 'bias': rng.standard_normal(7)}
  statistics = (0.5, 0.4, 0.3), (0.2, 0.3, 0.2)
  whole = Pretrained(variables['params'], variables['batch_stats'], classifier, 'us', *statistics)
  monkeypatch.setattr(published, 'load', lambda *_: ('rgb', whole))
  monkeypatch.setitem(registry.ENCODERS, 'tiny', Tiny)
  for name in 'ab':
    picture = rng.integers(0, 256, (12, 12, 3), np.uint8)
    (tmp_path / f'{name}.png').write_bytes(fakes.encode(picture, 'PNG'))
    np.save(tmp_path / f'{name}.npy', picture)
  (tmp_path / 'labels').write_text('\n'.join('ABCDEFG'))
  return whole


def settings(**changes):
  given = {'kind': 'tiny', 'options': '{}', 'weights': 'b.pth', 'labels': '', 'size': 12}
  given['frames'] = 4
  return types.SimpleNamespace(**(given | changes))


def test_classes_and_their_probabilities(tmp_path, found):
  files = [str(tmp_path / f'{name}.png') for name in 'ab']
  lines = classify.describe(files, settings(labels=str(tmp_path / 'labels')))
  clip = np.stack([np.load(tmp_path / f'{name}.npy') for name in 'ab']) / 255
  x = np.float32((clip - found.mean) / found.std)[None]
  variables = {'params': found.params, 'batch_stats': found.batch_stats}
  features = np.asarray(jax.jit(Tiny().apply)(variables, x).sequence[0])
  shares = jax.nn.softmax(features @ found.classifier['kernel'] + found.classifier['bias'])
  assert len(lines) == 2
  for file, line, row in zip(files, lines, np.asarray(shares), strict=True):
    order = np.argsort(-row)[:5]
    seen = ', '.join(f'{"ABCDEFG"[i]} {100 * row[i]:.0f}%' for i in order)
    assert line == f'{file}: {seen}'


def test_a_video_is_one_clip(tmp_path, found, monkeypatch):
  encoder = C3D(width=0.125)
  variables = fakes.draw_variables(encoder, np.zeros((1, 4, 12, 12, 3), np.float32))
  rng = np.random.default_rng(2)
  classifier = {'kernel': rng.standard_normal((64, 7)), 'bias': rng.standard_normal(7)}
  whole = dataclasses.replace(
    found,
    params=variables['params'],
    batch_stats=variables['batch_stats'],
    classifier=classifier,
  )
  monkeypatch.setattr(published, 'load', lambda *_: ('rgb', whole))
  # Grey frames, of which the middle of each pair is seen.
  frames = [np.full((24, 32, 3), 20 * t, np.uint8) for t in range(8)]
  (tmp_path / 'a.avi').write_bytes(raw_trees.avi(frames))
  given = settings(kind='c3d', options="{'width': 0.125}")
  (line,) = classify.describe([str(tmp_path / 'a.avi')], given)
  grey = np.array([1, 3, 5, 7]) * 20
  clip = np.broadcast_to(np.uint8(grey)[:, None, None, None], (4, 12, 12, 3))
  ((classes,), (shares,)) = classify.top(clip, encoder, 'b.pth')
  assert line == f'{tmp_path}/a.avi: ' + ', '.join(
    f'{i} {100 * p:.0f}%' for i, p in zip(classes, shares, strict=True)
  )
  x = np.float32((clip / 255 - found.mean) / found.std)[None]
  features = encoder.apply(variables, x).pooled[0]
  expected = jax.nn.softmax(features @ classifier['kernel'] + classifier['bias'])
  np.testing.assert_allclose(shares, np.sort(expected)[::-1][:5], rtol=1e-4)


def test_what_cannot_classify(tmp_path, found, monkeypatch):
  backbone = dataclasses.replace(found, classifier=None)
  monkeypatch.setattr(published, 'load', lambda *_: ('rgb', backbone))
  with pytest.raises(UserError, match=r'b\.pth is a backbone alone, without a classifier'):
    classify.describe([str(tmp_path / 'a.png')], settings())
  with pytest.raises(UserError, match=r'cannot be read: .*none\.png'):
    classify.describe([str(tmp_path / 'none.png')], settings())
