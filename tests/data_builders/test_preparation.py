import errno
import io
import pathlib
import sys
import threading

import pytest
import requests
import tensorflow_datasets as tfds

from data_builders import preparation
from har.errors import UserError


@pytest.fixture
def target(tmp_path):
  return tmp_path / 'root' / 'name' / 'config' / '1.0.0'


def build(target: pathlib.Path, error: BaseException | None = None) -> None:
  with preparation.exclusive(target.parents[2], target):
    partial = target.with_name('incomplete.ABC123_1.0.0')
    partial.mkdir(parents=True)
    (partial / 'records').write_bytes(b'half')
    if error:
      raise error
    partial.rename(target)


def test_a_finished_dataset_stays(target):
  build(target)
  assert [path.name for path in target.parent.iterdir()] == ['1.0.0']


@pytest.mark.parametrize('error', [KeyboardInterrupt(), UserError('bad'), ZeroDivisionError()])
def test_a_failure_leaves_nothing(target, error):
  with pytest.raises(type(error)):
    build(target, error)
  assert list(target.parents[2].iterdir()) == []


def test_a_failure_leaves_other_datasets_alone(target):
  other = target.parents[2] / 'name' / 'other' / '1.0.0'
  other.mkdir(parents=True)
  with pytest.raises(KeyError):
    build(target, KeyError('x'))
  assert list((target.parents[2] / 'name').iterdir()) == [other.parent]


def test_what_a_killed_run_left_is_removed(target):
  root = target.parents[2]
  stale = target.with_name('incomplete.ZZZZZZ_1.0.0')
  download = root / 'downloads' / 'name' / 'RGB.zip.tmp.0123'
  kept = root / 'downloads' / 'name' / 'Depth.zip'
  foreign = root / 'downloads' / 'else' / 'a.zip.tmp.0123'
  for folder in (stale, download, kept, foreign):
    folder.mkdir(parents=True)
    (folder / 'part').write_bytes(b'x')
  build(target)
  assert [path.exists() for path in (stale, download, kept, foreign)] == [False, False, True, True]


def test_a_full_disk_is_the_users_to_mend(target):
  full = OSError(errno.ENOSPC, 'No space left on device')
  with pytest.raises(UserError, match=r'No space left on device.*free some space') as caught:
    build(target, full)
  assert str(caught.value).startswith(str(target.parents[2]))
  assert list(target.parents[2].iterdir()) == []


def test_a_full_disk_in_the_words_of_array_record(target):
  error = RuntimeError(
    'Failed to finalize writing of split "train": write() failed: No space left on device; '
    'writing /x/y.array_record-00000-of-00001; at byte 4194304; Failed to close chunk_writer'
  )
  with pytest.raises(UserError, match=r'\(No space left on device\); free some space'):
    build(target, error)


def test_other_runtime_errors_are_not_the_users(target):
  with pytest.raises(RuntimeError, match='something else'):
    build(target, RuntimeError('something else'))


def test_a_root_that_cannot_be_made(tmp_path):
  (tmp_path / 'file').write_bytes(b'')
  with pytest.raises(UserError, match='file/root: cannot be written'):
    build(tmp_path / 'file' / 'root' / 'name' / 'config' / '1.0.0')


def test_one_build_at_a_time_under_a_root(target):
  root, order, inside = target.parents[2], [], threading.Event()

  def second():
    inside.wait(10)
    with preparation.exclusive(root, target):
      order.append('second')

  other = threading.Thread(target=second)
  other.start()
  with preparation.exclusive(root, target):
    inside.set()
    other.join(0.2)
    order.append('first')
  other.join(10)
  assert order == ['first', 'second']


class Terminal(io.StringIO):
  def isatty(self) -> bool:
    return True


def test_progress_is_shown_on_a_terminal(monkeypatch):
  monkeypatch.setattr(sys, 'stderr', Terminal())
  times = iter([0.0, 0.1, 2.0, 3.0])
  monkeypatch.setattr(preparation.time, 'monotonic', lambda: next(times))
  bar = preparation.Progress('name', 3)
  for _ in range(3):
    bar.advance()
  lines = [line.strip() for line in sys.stderr.getvalue().split('\r')]
  assert lines == ['', 'name: 2/3 trials, 1.0/s, 1 s left', 'name: 3/3 trials, 1.0/s, 0 s left']
  assert sys.stderr.getvalue().endswith('\n')


def test_work_that_ends_early_leaves_a_whole_line(monkeypatch):
  monkeypatch.setattr(sys, 'stderr', Terminal())
  times = iter([0.0, 1.0])
  monkeypatch.setattr(preparation.time, 'monotonic', lambda: next(times))
  with preparation.Progress('name', 3) as bar:
    bar.advance()
  assert sys.stderr.getvalue().rstrip(' \n') == '\rname: 1/3 trials, 1.0/s, 2 s left'
  assert sys.stderr.getvalue().endswith('\n')


def test_progress_is_quiet_elsewhere(monkeypatch):
  monkeypatch.setattr(sys, 'stderr', io.StringIO())
  with preparation.Progress('name', 2) as bar:
    bar.advance()
  assert sys.stderr.getvalue() == ''


URLS = {'imu': 'https://owner.example/Inertial.zip', 'rgb': 'https://owner.example/RGB.zip'}
PAGE = 'https://owner.example/'


class Manager:
  def __init__(self, error: Exception | None = None):
    self.error = error

  def download(self, urls):
    if self.error:
      raise self.error
    return {name: pathlib.Path(url).name for name, url in urls.items()}


def answer(monkeypatch, status: int) -> None:
  response = requests.Response()
  response.status_code, response.raw = status, io.BytesIO()
  monkeypatch.setattr(requests, 'get', lambda *_, **__: response)


def test_a_download(monkeypatch):
  answer(monkeypatch, 200)
  expected = {'imu': 'Inertial.zip', 'rgb': 'RGB.zip'}
  assert preparation.download(Manager(), URLS, PAGE) == expected


def test_no_network(monkeypatch):
  def fail(*_, **__):
    raise requests.ConnectionError('no route')

  monkeypatch.setattr(requests, 'get', fail)
  with pytest.raises(UserError, match=r'cannot download Inertial\.zip RGB\.zip') as caught:
    preparation.download(Manager(), URLS, PAGE)
  assert PAGE in str(caught.value)
  assert '--raw_dir' in str(caught.value)


def test_the_owners_server_refuses(monkeypatch):
  answer(monkeypatch, 404)
  with pytest.raises(UserError, match='cannot download'):
    preparation.download(Manager(), URLS, PAGE)
  answer(monkeypatch, 200)
  with pytest.raises(UserError, match='DownloadError'):
    preparation.download(Manager(tfds.download.DownloadError('HTTP code: 503')), URLS, PAGE)
