"""Whatever a prepared dataset was made of is edited; it is told, or harmless, and never silent."""

import dataclasses
import json
import os
import pathlib
import shutil
import sys
import types
import zlib

import pytest

import data_builders
from data_builders import fingerprint, source_code
from har.data import dataset
from har.errors import UserError

# Of a derived class of ours, and of one by TFDS's guide.
OURS = """
class Builder(preparation.Builder, skip_registration=True):
  def __init__(self, *, raw_dir=None, data_dir=None, gain=1, workers=0, config=None, version=None):
    self.raw_dir = pathlib.Path(raw_dir) if raw_dir else None
    super().__init__(data_dir=data_dir, config=config, version=version)
    self._original_state.update(raw_dir=raw_dir, gain=gain, workers=workers)
    self.gain = gain

  def _shard_iterators_per_split(self, dl_manager):
    return {'train': [functools.partial(self._examples, self.raw_dir)]}

  def download_and_prepare(self, **kwargs):
    preparation.build(self, super().download_and_prepare, **kwargs)
"""
GUIDE = """
class Builder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
  MANUAL_DOWNLOAD_INSTRUCTIONS = 'Pass the folder.'

  def __init__(self, *, gain=1, workers=0, **kwargs):
    super().__init__(**kwargs)
    self.gain = gain

  def _split_generators(self, dl_manager):
    return {'train': self._generate_examples(dl_manager.manual_dir)}

  def _generate_examples(self, raw_dir):
    yield from self._examples(raw_dir)
"""
SHARED = """
  VERSION = tfds.core.Version('1.0.0')
  pkg_dir_path = tfds.core.Path(__file__).parent

  def _info(self):
    return self.dataset_info_from_configs(
      features=tfds.features.FeaturesDict({
        'key': tfds.features.Text(),
        'label': tfds.features.ClassLabel(names=['stir', 'pour']),
        'subject': np.int32,
        'imu': tfds.features.Tensor(shape=(None, 2), dtype=np.float32),
      }),
      metadata=tfds.core.MetadataDict(
        rates={'imu': 50.0}, train_subjects=[1], abnormal=[], counted={}
      ),
    )

  def _examples(self, raw_dir):
    for path in sorted(raw_dir.glob('*.csv')):
      action, subject = path.stem.split('_')
      self.info.metadata['counted'] = {'files': 4}
      imu = reading.read(path) * self.gain
      yield path.stem, {'key': path.stem, 'label': action, 'subject': int(subject), 'imu': imu}
"""
IMPORTS = '''"""Cooks."""
import functools, pathlib
import numpy as np
import tensorflow_datasets as tfds
from data_builders import preparation
from data_builders.NAME import reading
'''
READING = '''"""Reads a file."""
import numpy as np

def read(path):
  return np.loadtxt(path, np.float32, delimiter=',', ndmin=2)
'''


@dataclasses.dataclass
class Kitchen:
  """A dataset of one's own: code, raw files and what is asked for."""

  folder: pathlib.Path
  name: str
  given: dict = dataclasses.field(default_factory=dict)
  with_raw: bool = True

  @property
  def raw(self) -> pathlib.Path:
    return self.folder / 'raw'

  @property
  def code(self) -> pathlib.Path:
    return self.folder / 'code' / self.name / f'{self.name}_dataset_builder.py'

  def edit(self, old: str, new: str, file: str = '') -> None:
    path = self.code.with_name(file) if file else self.code
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))

  def load(self) -> dataset.Dataset:
    for module in [m for m in sys.modules if m.startswith(f'data_builders.{self.name}')]:
      sys.modules.pop(module)
    with pytest.MonkeyPatch.context() as patch:
      patch.setattr(sys, 'dont_write_bytecode', True)
      path = [*data_builders.__path__, str(self.folder / 'code')]
      patch.setattr(data_builders, '__path__', path)
      return dataset.load(
        self.name,
        ('imu',),
        data_dir=str(self.folder / 'data'),
        raw_dir=str(self.raw) if self.with_raw else None,
        builder_options=self.given,
      )


def create(folder: pathlib.Path, kind: str) -> Kitchen:
  one = Kitchen(folder, f'kitchen_{kind}')
  one.code.parent.mkdir(parents=True)
  (one.code.parent / '__init__.py').touch()
  text = IMPORTS + {'ours': OURS, 'guide': GUIDE}[kind] + SHARED
  one.code.write_text(text.replace('NAME', one.name))
  (one.code.parent / 'reading.py').write_text(READING)
  one.raw.mkdir()
  for i, name in enumerate(('stir_1', 'pour_1', 'stir_2', 'pour_2')):
    (one.raw / f'{name}.csv').write_text(f'{i},1\n2,3\n')
  one.load()
  return one


@pytest.fixture(scope='module', params=['ours', 'guide'])
def built(request, tmp_path_factory):
  return create(tmp_path_factory.mktemp('built') / 'it', request.param)


@pytest.fixture
def kitchen(built, tmp_path):
  """A copy of code, raw files and prepared data, times kept."""
  shutil.copytree(built.folder, tmp_path / 'it')
  return Kitchen(tmp_path / 'it', built.name)


def touch(one: Kitchen) -> None:
  for path in one.raw.iterdir():
    os.utime(path, ns=(1, 10**18))


def litter(one: Kitchen) -> None:
  for name in ('Thumbs.db', '.DS_Store', '._stir_1.csv', '.git/index', '@eaDir/stir_1.csv'):
    (one.raw / name).parent.mkdir(exist_ok=True)
    (one.raw / name).write_bytes(b'x')


def write(name: str, text: str):
  return lambda one: (one.raw / name).write_text(text)


def option(**given):
  return lambda one: one.given.update(given)


def edit(old: str, new: str, file: str = ''):
  return lambda one: one.edit(old, new, file)


def aside(one: Kitchen) -> None:
  one.with_raw = False


def swap(one: Kitchen) -> None:
  (one.raw / 'stir_1.csv').rename(one.raw / 'x')
  (one.raw / 'pour_1.csv').rename(one.raw / 'stir_1.csv')
  (one.raw / 'x').rename(one.raw / 'pour_1.csv')


EDITS = {
  'class order': (edit("['stir', 'pour']", "['pour', 'stir']"), r"with classes \['stir', 'pour'\]"),
  'class name': (edit("'pour']", "'tip']"), r"and the builder has \['stir', 'tip'\] now"),
  'class added': (edit("'pour']", "'pour', 'cut']"), r"has \['stir', 'pour', 'cut'\] now"),
  'field': (edit("'subject': np.int32,", "'subject': np.int64,"), r'with field subject .*int32'),
  'training people': (edit('subjects=[1]', 'subjects=[2]'), r'with train_subjects \[1\], .*\[2\]'),
  'abnormal': (edit('abnormal=[]', "abnormal=['stir']"), r"with abnormal \[\], .*\['stir'\]"),
  'rate': (edit("'imu': 50.0", "'imu': 25.0"), 'with rates .*50.0.*25.0'),
  'option': (option(gain=2), 'with gain 1, and the builder has 2 now'),
  'option, spelt out': (option(gain=1), ''),
  'option that alters nothing': (option(workers=3), ''),
  'code': (edit('* self.gain', '* self.gain + 1'), 'by other code of .*_dataset_builder; delete'),
  'code beside it': (edit("','", "';'", 'reading.py'), r'by other code of .*\.reading; delete'),
  'comment': (edit('imu = reading', '# Why.\n      imu   =  reading'), ''),
  'docstring': (edit('Reads a file.', 'Reads one.', 'reading.py'), ''),
  'file replaced': (
    write('stir_1.csv', '0,1\n2,3\n4,5\n'),
    r'1 with other content \(stir_1\.csv: 8 bytes then, 12 now\); .* without --raw_dir',
  ),
  'file corrected': (write('stir_1.csv', '0,1\n2,9\n'), r'1 with other content \(stir_1\.csv\);'),
  'file added': (write('stir_3.csv', '0,1\n'), r'1 new \(stir_3\.csv\)'),
  'file removed': (lambda one: (one.raw / 'pour_2.csv').unlink(), r'1 gone \(pour_2\.csv\)'),
  'trial relabelled': (
    lambda one: (one.raw / 'stir_2.csv').rename(one.raw / 'pour_3.csv'),
    r'1 new \(pour_3\.csv\), 1 gone \(stir_2\.csv\)',
  ),
  'trials swapped': (swap, r'2 with other content \(pour_1\.csv, stir_1\.csv\)'),
  'raw folder moved': (lambda one: None, ''),  # The fixture does.
  'raw folder copied without times': (touch, ''),
  'litter': (litter, ''),
  'without raw files': (aside, ''),
  'fingerprint damaged': (
    lambda one: next(one.folder.rglob(fingerprint.FILE)).write_text('{'),
    r'fingerprint\.json: cannot be read; delete its folder',
  ),
}


def tree(folder: pathlib.Path) -> dict[pathlib.Path, tuple[int, bytes]]:
  files = [path for path in folder.rglob('*') if path.is_file()]
  return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


@pytest.mark.parametrize('name', EDITS)
def test_what_was_edited_is_told_or_harmless(name, kitchen, capfd):
  change, message = EDITS[name]
  change(kitchen)
  before = tree(kitchen.folder / 'data')
  if not message:
    assert len(kitchen.load().index) == 4
    assert capfd.readouterr() == ('', '')
  else:
    with pytest.raises(UserError, match=message) as caught:
      kitchen.load()
    assert '\n' not in str(caught.value)
    assert 'elete' in str(caught.value)
  assert tree(kitchen.folder / 'data') == before


def test_a_folder_that_was_deleted_is_built_anew(kitchen):
  kitchen.edit('* self.gain', '* self.gain + 1')
  with pytest.raises(UserError, match='delete this folder to have it built anew') as caught:
    kitchen.load()
  shutil.rmtree(str(caught.value).partition(': ')[0])
  assert sorted(r['imu'][0, 0] for r in kitchen.load().records(('imu',))) == [1, 2, 3, 4]


def test_without_its_fingerprint_it_is_used_with_a_note(kitchen, capfd):
  kitchen.edit('* self.gain', '* self.gain + 1')
  next(kitchen.folder.rglob(fingerprint.FILE)).unlink()
  kitchen.load()
  assert 'has no fingerprint.json: changes of raw files, options and' in capfd.readouterr().err


def test_too_much_to_take_checksums_of(built, tmp_path, monkeypatch):
  monkeypatch.setattr(fingerprint, 'CHECKSUM_BYTES', 31)
  one = create(tmp_path / 'it', built.name.partition('_')[2])
  one.load()
  touch(one)
  with pytest.raises(UserError, match=r'4 of another time and the same size .*if they are copies'):
    one.load()
  one.with_raw = False
  one.load()


def test_built_without_raw_files_and_opened_with_them(kitchen):
  path = next(kitchen.folder.rglob(fingerprint.FILE))
  path.write_text(json.dumps({**json.loads(path.read_text()), 'files': None}))
  with pytest.raises(UserError, match=r'was built without --raw_dir, not from .*raw; delete'):
    kitchen.load()


def test_data_prepared_inside_the_raw_folder(built, tmp_path):
  one = create(tmp_path / 'it', built.name.partition('_')[2])
  shutil.rmtree(one.folder / 'data')
  (one.folder / 'data').symlink_to(one.raw / 'data')
  (one.raw / 'data').mkdir()
  one.load()
  assert len(one.load().index) == 4


def test_a_record_version_stands_for_the_code(tmp_path):
  one = create(tmp_path / 'it', 'ours')
  shutil.rmtree(one.folder / 'data')
  one.edit('  VERSION =', '  RECORD_VERSION = 3\n  VERSION =')
  one.load()
  one.edit('* self.gain', '* self.gain + 0')
  one.load()
  one.edit('RECORD_VERSION = 3', 'RECORD_VERSION = 4')
  with pytest.raises(UserError, match='by other code of RECORD_VERSION'):
    one.load()


def test_code_has_one_digest_in_all_versions_of_python():
  tree = source_code.ast.parse('def f(a: int = 1) -> None:\n  "x"\n  return f"{a!r:>3} b" + "c"\n')
  assert source_code._form(tree) == [
    'Module',
    ('body', [[
      'FunctionDef',
      ('name', "'f'"),
      ('args', ['arguments',
        ('args', [['arg', ('arg', "'a'"), ('annotation', ['Name', ('id', "'int'")])]]),
        ('defaults', [['Constant', ('value', '1')]])]),
      ('body', [[
        'Return',
        ('value', ['BinOp',
          ('left', ['JoinedStr', ('values', [
            ['FormattedValue', ('value', ['Name', ('id', "'a'")]), ('conversion', '114'),
             ('format_spec', ['JoinedStr', ('values', [['Constant', ('value', "'>3'")]])])],
            ['Constant', ('value', "' b'")]])]),
          ('op', ['Add']),
          ('right', ['Constant', ('value', "'c'")])])]]),
      ('returns', ['Constant', ('value', 'None')])]]),
  ]  # fmt: skip


def test_long_lists_say_only_what_differs():
  old, new = [f'class {i}' for i in range(30)], [f'class {i}' for i in range(1, 32)]
  assert fingerprint.difference('classes', old, new) == (
    'with 30 classes, and the builder has 31 now (new: class 30, class 31; gone: class 0)'
  )
  assert fingerprint.difference('classes', old, old[::-1]).endswith('(in another order)')


def test_pipes_are_no_raw_files(tmp_path):
  (tmp_path / 'a.csv').write_bytes(b'1')
  os.mkfifo(tmp_path / 'b.csv')
  builder = types.SimpleNamespace(data_dir_root=tmp_path / 'data')
  found = fingerprint.measure(builder, tmp_path, checksums=True)
  assert {name: entry[2] for name, entry in found.items()} == {'a.csv': zlib.crc32(b'1')}
