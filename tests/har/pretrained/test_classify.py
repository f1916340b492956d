"""Pictures are given the classes that features and classifier say."""

import dataclasses
import types

import jax
import numpy as np
import pytest

from har.errors import UserError
from har.models import registry
from har.models.s3d import S3D
from har.pretrained import classify
from har.pretrained import registry as published
from har.pretrained.convert import Pretrained
from tests import fakes
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


def test_what_cannot_classify(tmp_path, found, monkeypatch):
  with pytest.raises(UserError, match='S3D is no network for single pictures'):
    classify.top([], S3D(), 'a.pth', 12)
  backbone = dataclasses.replace(found, classifier=None)
  monkeypatch.setattr(published, 'load', lambda *_: ('rgb', backbone))
  with pytest.raises(UserError, match=r'b\.pth is a backbone alone, without a classifier'):
    classify.describe([str(tmp_path / 'a.png')], settings())
  with pytest.raises(UserError, match=r'cannot be read: .*none\.png'):
    classify.describe([str(tmp_path / 'none.png')], settings())
