"""The published I3D file becomes our variables, and nothing in it is run."""

import pickle

import flax.traverse_util
import jax
import numpy as np
import pytest

from har.errors import UserError
from har.models.i3d import I3D
from har.pretrained import array_file, i3d, registry
from tests import fakes

WIDTH = 0.125


def published(width=WIDTH):
  """Variables of ours, and nested as in the published file."""
  ours = fakes.draw_variables(I3D(width=width), np.zeros((1, 1, 8, 8, 3), np.float32))
  rng = np.random.default_rng(3)
  features = i3d.layout(width)['classifier', 'kernel'][1][-2]
  ours['classifier'] = {
    'kernel': rng.standard_normal((features, 400), np.float32),
    'bias': rng.standard_normal(400).astype(np.float32),
  }
  flat, theirs = flax.traverse_util.flatten_dict(ours), {}
  for path, (name, shape) in i3d.layout(width).items():
    value = flat[path]
    if name.endswith(('/mean', '/var')):
      value = value.reshape(1, 1, 1, 1, -1)
    theirs[name] = value.reshape(shape) if path[0] == 'classifier' else value
  return ours, flax.traverse_util.unflatten_dict(theirs, sep='/')


@pytest.fixture(scope='module')
def both():
  return published()


@pytest.mark.parametrize('protocol', [3, 4])
def test_every_variable_arrives(tmp_path, both, protocol):
  ours, theirs = both
  path = tmp_path / 'i3d.ckpt'
  path.write_bytes(pickle.dumps(theirs, protocol))
  name, found = registry.load(str(path), {'rgb': I3D(width=WIDTH)}, 'init_from')
  assert (name, found.mean, found.std) == ('rgb', (0.5,) * 3, (0.5,) * 3)
  given = {'params': found.params, 'batch_stats': found.batch_stats}
  given['classifier'] = found.classifier
  assert jax.tree.structure(given) == jax.tree.structure(ours)
  jax.tree.map(np.testing.assert_array_equal, given, ours)


def test_the_published_names_and_sizes():
  layout = i3d.layout(1.0)
  names = dict(layout.values())
  assert len(layout) == 57 * 4 + 2
  assert names['params/Mixed_5b/Branch_1/Conv3d_0b_3x3/Conv_0/kernel'] == (3, 3, 3, 160, 320)
  assert names['batch_stats/Conv3d_1a_7x7/BatchNorm_0/var'] == (64,)
  assert names['params/Logits/Conv3d_0c_1x1/Conv_0/kernel'] == (1, 1, 1, 1024, 400)


def test_numpys_older_name_is_read(tmp_path):
  data = pickle.dumps({'a': np.arange(3, dtype=np.float32)}, 3)
  other = data.replace(b'numpy._core.', b'numpy.core.')
  for i, content in enumerate({data, other}):
    (tmp_path / str(i)).write_bytes(content)
    assert array_file.read(tmp_path / str(i))['a'].tolist() == [0, 1, 2]


class Call:
  def __reduce__(self):
    return print, ('run',)


@pytest.mark.parametrize(
  ('content', 'match'),
  [
    (pickle.dumps({'a': Call()}), r'is refused: it names builtins\.print'),
    (pickle.dumps({'a': [1.0]}), 'holds something else than nested dicts of arrays'),
    (pickle.dumps({'a': np.array([None])}), "damaged .*arrays of 'O8'"),
    (pickle.dumps({'a': np.ones(9)})[:-20], 'truncated or damaged'),
    (b'\x80\x04N.', 'holds something else'),
    (b'\x80\x04}r\xff\xff\xff\x00.', 'damaged .*an object of number 16777215'),
    (b'}p16777215\n.', 'damaged .*an object of number 16777215'),
    (b'<!DOCTYPE html><html>', 'a web page'),
  ],
  ids=['call', 'list', 'object', 'truncated', 'none', 'number', 'old number', 'page'],
)
def test_anything_else_is_one_error(tmp_path, capsys, content, match):
  path = tmp_path / 'a.ckpt'
  path.write_bytes(content)
  with pytest.raises(UserError, match=match) as error:
    i3d.load(str(path))
  assert '\n' not in str(error.value)
  assert capsys.readouterr().out == ''


def test_what_repeats_without_end(tmp_path, monkeypatch):
  nested = {'a': np.ones(1)}
  for _ in range(40):
    nested = {'a': nested, 'b': nested}
  path = tmp_path / 'a.ckpt'
  path.write_bytes(pickle.dumps(nested, 4))
  with pytest.raises(UserError, match='holds more than 10000 entries'):
    array_file.read(path)
  monkeypatch.setattr(array_file, 'MAX_BYTES', 10)
  with pytest.raises(UserError, match='is larger than'):
    array_file.read(path)


def test_other_networks_and_sources(tmp_path, both):
  path = tmp_path / 'a.ckpt'
  path.write_bytes(pickle.dumps(both[1], 4))
  with pytest.raises(UserError, match=r'is no complete I3D of width 1\.0 .* instead of'):
    i3d.load(str(path))
  with pytest.raises(UserError, match='cannot be read'):
    i3d.load(str(tmp_path / 'none.ckpt'))
  with pytest.raises(UserError, match="unknown pretrained weights 'i3d': use i3d-kinetics400"):
    i3d.load('i3d')
