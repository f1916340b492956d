"""What is in a folder is found whatever the folder's name."""

import pytest
from etils import epath

from har import paths


@pytest.mark.parametrize('name', ['a[b]', 'a[0:3]', 'a*', 'a?', 'x**y', '{a,b}', 'plain', '[', '~'])
def test_a_folder_s_own_name_is_no_pattern(name, tmp_path):
  folder = epath.Path(tmp_path / name)
  folder.mkdir()
  (tmp_path / 'ab').mkdir(exist_ok=True)
  for other in (folder, epath.Path(tmp_path / 'ab')):
    (other / 'x.json').touch()
    (other / f'{other.name[0]}.txt').touch()
  assert list(folder.glob('*.json')) == [folder / 'x.json']
  assert {path.name for path in folder.glob('*')} == {'x.json', f'{name[0]}.txt'}
  assert isinstance(next(folder.glob('x*')), epath.Path)
  assert list((folder / 'none').glob('*')) == []


def test_what_etils_refuses_it_still_refuses(tmp_path):
  with pytest.raises(NotImplementedError, match='Recursive'):
    list(epath.Path(tmp_path).glob('**/x'))
  assert paths._by_pattern is not epath.Path(tmp_path).glob.__func__
