"""The program starts anew with huge pages once, and only where they help."""

import os
import sys

import pytest

from har.train import pages


@pytest.fixture
def started(monkeypatch):
  calls = []
  monkeypatch.setattr(os, 'execve', lambda *call: calls.append(call))
  monkeypatch.setattr(sys, 'platform', 'linux')
  monkeypatch.delenv('GLIBC_TUNABLES', raising=False)
  return calls


def system(monkeypatch, tmp_path, kernel, libc):
  (tmp_path / 'enabled').write_text(kernel)
  monkeypatch.setattr(pages, '_KERNEL', tmp_path / 'enabled')
  monkeypatch.setattr(os, 'confstr', lambda name: libc)


def test_starts_anew_with_the_setting(monkeypatch, tmp_path, started):
  system(monkeypatch, tmp_path, 'always [madvise] never', 'glibc 2.36')
  monkeypatch.setenv('GLIBC_TUNABLES', 'glibc.malloc.check=1')
  pages.restart_with_huge_pages()
  ((program, arguments, environment),) = started
  assert program == sys.executable
  assert arguments == sys.orig_argv
  assert environment['GLIBC_TUNABLES'] == 'glibc.malloc.check=1:glibc.malloc.hugetlb=1'
  monkeypatch.setenv('GLIBC_TUNABLES', environment['GLIBC_TUNABLES'])
  pages.restart_with_huge_pages()
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
  system(monkeypatch, tmp_path, kernel, libc)
  pages.restart_with_huge_pages()
  assert started == []
