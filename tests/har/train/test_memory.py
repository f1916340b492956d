"""The program starts anew with an allocator or huge pages once, and only where they help."""

import importlib.metadata
import os
import pathlib
import subprocess
import sys

import pytest

from har.train import memory


@pytest.fixture
def started(monkeypatch):
  calls = []
  monkeypatch.setattr(os, 'execve', lambda *call: calls.append(call))
  monkeypatch.setattr(sys, 'platform', 'linux')
  for name in ('GLIBC_TUNABLES', 'LD_PRELOAD', 'MIMALLOC_PURGE_DELAY'):
    monkeypatch.delenv(name, raising=False)
  return calls


def package(monkeypatch, folder):
  """Has the package of mimalloc in a folder, or nowhere."""

  def files(name):
    assert name == 'cmeel-mimalloc'
    if folder is None:
      raise importlib.metadata.PackageNotFoundError(name)
    paths = [importlib.metadata.PackagePath('cmeel.prefix', 'lib', 'libmimalloc.so')]
    for path in paths:
      path.dist = importlib.metadata.PathDistribution(folder / 'own.dist-info')
      pathlib.Path(path.locate()).parent.mkdir(parents=True)
      pathlib.Path(path.locate()).touch()
    return paths

  monkeypatch.setattr(importlib.metadata, 'files', files)


def system(monkeypatch, tmp_path, kernel, libc):
  (tmp_path / 'enabled').write_text(kernel)
  monkeypatch.setattr(memory, '_KERNEL', tmp_path / 'enabled')
  monkeypatch.setattr(os, 'confstr', lambda name: libc)


def test_starts_anew_with_huge_pages(monkeypatch, tmp_path, started):
  package(monkeypatch, None)
  system(monkeypatch, tmp_path, 'always [madvise] never', 'glibc 2.36')
  monkeypatch.setenv('GLIBC_TUNABLES', 'glibc.malloc.check=1')
  memory.restart_keeping_memory()
  ((program, arguments, environment),) = started
  assert program == sys.executable
  assert arguments == sys.orig_argv
  assert environment['GLIBC_TUNABLES'] == 'glibc.malloc.check=1:glibc.malloc.hugetlb=1'
  monkeypatch.setenv('GLIBC_TUNABLES', environment['GLIBC_TUNABLES'])
  memory.restart_keeping_memory()
  assert len(started) == 1


@pytest.mark.parametrize(
  ('kernel', 'libc'),
  [
    ('[always] madvise never', 'glibc 2.36'),
    ('always madvise [never]', 'glibc 2.36'),
    ('always [madvise] never', 'glibc 2.34'),
    ('always [madvise] never', None),
  ],
)
def test_goes_on_where_it_would_not_help(monkeypatch, tmp_path, started, kernel, libc):
  package(monkeypatch, None)
  system(monkeypatch, tmp_path, kernel, libc)
  memory.restart_keeping_memory()
  assert started == []


def test_starts_anew_with_mimalloc_once(monkeypatch, tmp_path, started):
  package(monkeypatch, tmp_path)
  system(monkeypatch, tmp_path, 'always [madvise] never', 'glibc 2.36')
  monkeypatch.setenv('MIMALLOC_PURGE_DELAY', '5')
  memory.restart_keeping_memory()
  ((_, arguments, environment),) = started
  assert arguments == sys.orig_argv
  library = str(tmp_path / 'cmeel.prefix' / 'lib' / 'libmimalloc.so')
  assert environment['LD_PRELOAD'] == library
  assert environment['MIMALLOC_ALLOW_LARGE_OS_PAGES'] == '1'
  assert environment['MIMALLOC_PURGE_DELAY'] == '5'  # The user's own.
  assert 'GLIBC_TUNABLES' not in environment
  monkeypatch.setenv('LD_PRELOAD', library)
  memory.restart_keeping_memory()
  assert len(started) == 1


@pytest.mark.parametrize('preloaded', ['', 'libnss_wrapper.so', None])
def test_huge_pages_where_mimalloc_is_not_to_be_loaded(monkeypatch, tmp_path, started, preloaded):
  """By the user's wish, or as its place has a blank, at which the linker would cut it."""
  folder = tmp_path if preloaded is not None else tmp_path / 'a folder'
  package(monkeypatch, folder)
  system(monkeypatch, tmp_path, 'always [madvise] never', 'glibc 2.36')
  if preloaded is not None:
    monkeypatch.setenv('LD_PRELOAD', preloaded)
  memory.restart_keeping_memory()
  ((_, _, environment),) = started
  assert environment.get('LD_PRELOAD') == preloaded
  assert environment['GLIBC_TUNABLES'] == 'glibc.malloc.hugetlb=1'


def test_another_allocator_is_left_alone(monkeypatch, tmp_path, started):
  package(monkeypatch, tmp_path)
  system(monkeypatch, tmp_path, 'always [madvise] never', 'glibc 2.36')
  monkeypatch.setenv('LD_PRELOAD', '/usr/lib/libjemalloc.so.2')
  memory.restart_keeping_memory()
  assert started == []


@pytest.mark.skipif(sys.platform != 'linux', reason='there is no such setting elsewhere')
def test_a_program_runs_in_the_installed_library(monkeypatch):
  for name in ('LD_PRELOAD', 'GLIBC_TUNABLES'):
    monkeypatch.delenv(name, raising=False)
  program = (
    'from har.train import memory; memory.restart_keeping_memory(); '
    "print('libmimalloc.so' in open('/proc/self/maps').read())"
  )
  found = subprocess.run([sys.executable, '-c', program], capture_output=True, text=True)
  assert (found.stdout, found.stderr) == ('True\n', '')
