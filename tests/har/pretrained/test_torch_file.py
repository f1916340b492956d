"""PyTorch's files are read as data: right tensors, no code, one error for any damage."""

import collections
import os
import pathlib
import pickle
import random

import numpy as np
import pytest
import torch

from har.errors import UserError
from har.pretrained.torch_file import read_state_dict

FORMATS = pytest.mark.parametrize('zipped', [True, False], ids=['zip', 'legacy'])


def save(content, path, zipped):
  torch.save(content, path, _use_new_zipfile_serialization=zipped)
  return path


def tensors():
  base = torch.arange(24.0)
  out = collections.OrderedDict(
    float=torch.tensor([[1.5, -2.0], [3.0, 4.0]]),
    view=base[4:16].reshape(3, 4).t(),
    parameter=torch.nn.Parameter(torch.tensor([7.0])),
    half=torch.tensor([0.5, 2.0], dtype=torch.float16),
    bfloat=torch.tensor([0.5, -2.0], dtype=torch.bfloat16),
    long=torch.tensor(2**40),
    bool=torch.tensor([True, False]),
    empty=torch.zeros(0, 3),
  )
  out._metadata = {'': {'version': 1}}
  return out


@FORMATS
def test_every_tensor_is_read(tmp_path, zipped):
  found = read_state_dict(save(tensors(), tmp_path / 'a.pth', zipped))
  assert list(found) == list(tensors())
  for name, tensor in tensors().items():
    expected = tensor.detach()
    if name == 'bfloat':
      assert found[name].dtype.name == 'bfloat16'
      expected = expected.float()
    np.testing.assert_array_equal(found[name].astype(expected.numpy().dtype), expected.numpy())
    assert found[name].shape == tuple(tensor.shape)
  assert found['long'].dtype == np.int64
  assert found['view'].tolist() == [[4, 8, 12], [5, 9, 13], [6, 10, 14], [7, 11, 15]]


@FORMATS
def test_a_dict_under_state_dict_is_unwrapped(tmp_path, zipped):
  path = save({'state_dict': {'a': torch.ones(2)}, 'epoch': 3}, tmp_path / 'a.pth', zipped)
  assert read_state_dict(path)['a'].tolist() == [1, 1]


class Touch:
  """When unpickled as usual, creates a file."""

  def __init__(self, path):
    self.path = path

  def __reduce__(self):
    return os.mkdir, (str(self.path),)


@FORMATS
def test_code_is_refused_and_not_run(tmp_path, zipped):
  path = save({'a': torch.ones(2), 'b': Touch(tmp_path / 'ran')}, tmp_path / 'a.pth', zipped)
  with pytest.raises(UserError, match=r'refused: it names (posix|nt)\.mkdir'):
    read_state_dict(path)
  assert not (tmp_path / 'ran').exists()


@FORMATS
@pytest.mark.parametrize('content', [{'a': 3}, {1: torch.ones(1)}, torch.ones(2), [1]], ids=str)
def test_other_content(tmp_path, zipped, content):
  with pytest.raises(UserError, match='state_dict'):
    read_state_dict(save(content, tmp_path / 'a.pth', zipped))


@FORMATS
def test_any_damage_is_a_user_error_or_harmless(tmp_path, zipped):
  path = save(tensors(), tmp_path / 'a.pth', zipped)
  whole = path.read_bytes()
  chance = random.Random(0)
  messages = []
  for i in range(150):
    data = bytearray(whole)
    if i % 2:
      del data[chance.randrange(len(data)) :]
    else:
      for _ in range(3):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    path.write_bytes(data)
    try:
      read_state_dict(path)
    except UserError as error:
      messages.append(str(error))
  assert len(messages) > 75
  assert all(str(path) in message and '\n' not in message for message in messages)


def test_a_pickle_that_numbers_its_objects_too_high(tmp_path):
  path = tmp_path / 'a.pth'
  path.write_bytes(b'\x80\x02}r\xff\xff\xff\x00.')  # LONG_BINPUT 2**24 - 1
  with pytest.raises(UserError, match=r'an object of number 16777215'):
    read_state_dict(path)


def test_a_tensor_beyond_its_storage(tmp_path):
  path = tmp_path / 'a.pth'
  path.write_bytes(
    b''.join(
      pickle.dumps(x, 2) for x in (0x1950A86A20F9469CFC6C, 1001, {'little_endian': True}, {}, [])
    )
  )
  assert read_state_dict(path) == {}
  save({'a': torch.ones(4)}, path, False)
  # The pickled shape (4,) becomes (5,): its storage has four elements.
  data = path.read_bytes()
  at = data.index(b'K\x04\x85')
  path.write_bytes(data[: at + 1] + b'\x05' + data[at + 2 :])
  with pytest.raises(UserError, match='beyond its data'):
    read_state_dict(path)


def test_files_that_are_none():
  with pytest.raises(UserError, match='does not exist'):
    read_state_dict('nowhere.pth')
  with pytest.raises(UserError, match='is no PyTorch checkpoint'):
    read_state_dict(pathlib.Path(__file__))
  with pytest.raises(UserError, match='is no PyTorch checkpoint'):
    read_state_dict(pathlib.Path(__file__).parent)


@pytest.mark.parametrize(
  ('data', 'fault'),
  [
    (b'<!DOCTYPE html><html>Sign in', 'a web page'),
    (b'version https://git-lfs.github.com/spec/v1\noid sha256:00', 'a pointer of Git LFS'),
    (b'<Error><Code>AccessDenied</Code></Error>', "a server's error message"),
    (b'\x1f\x8b\x08' + bytes(99), 'packed by gzip'),
  ],
)
def test_what_stands_in_a_checkpoints_place_is_named(tmp_path, data, fault):
  (tmp_path / 'a.pth').write_bytes(data)
  with pytest.raises(UserError, match=rf'a\.pth: {fault}'):
    read_state_dict(tmp_path / 'a.pth')
