"""Memory that a training step finds where the last one left it, on CPU."""

import importlib.metadata
import os
import pathlib
import sys

_PACKAGE, _LIBRARY = 'cmeel-mimalloc', 'libmimalloc.so'
# What is freed goes back to the kernel after so many milliseconds without use; see
# `har/train/README.md`, "Speed", for what that is worth.
_KEEPING = {'MIMALLOC_PURGE_DELAY': '10000', 'MIMALLOC_ALLOW_LARGE_OS_PAGES': '1'}
_HUGE_PAGES = 'glibc.malloc.hugetlb=1'
_KERNEL = pathlib.Path('/sys/kernel/mm/transparent_hugepage/enabled')


def restart_keeping_memory() -> None:
  """Starts this program anew with an allocator for training steps, where there is one.

  XLA allocates the memory of a whole training step at each step. glibc gives it back to the kernel
  when the step ends, which then hands it out once more, cleared, in pages of 4 KiB: a quarter
  million page faults for one step of S3D on 4 clips. mimalloc (the package `cmeel-mimalloc`) keeps
  it, in pages of 2 MiB. Without that package glibc is asked for such pages.

  To be called before anything else that must not happen twice. Does nothing where neither helps or
  the environment has another allocator; `LD_PRELOAD=` before the command leaves mimalloc out.
  """
  found = _settings() if sys.platform == 'linux' else {}
  if not found:
    return
  for stream in (sys.stdout, sys.stderr):
    stream.flush()
  os.execve(sys.executable, sys.orig_argv, {**_KEEPING, **os.environ, **found})


def _settings() -> dict[str, str]:
  """Of the environment, what is to be set; empty where nothing is."""
  preloaded = os.environ.get('LD_PRELOAD')
  if preloaded is None and (library := _installed()):
    return {'LD_PRELOAD': library}
  if 'malloc' in (preloaded or ''):
    return {}
  tunables = os.environ.get('GLIBC_TUNABLES', '')
  if 'glibc.malloc.hugetlb' in tunables or not _huge_pages_help():
    return {}
  return {'GLIBC_TUNABLES': ':'.join(filter(None, (tunables, _HUGE_PAGES)))}


def _installed() -> str:
  """Where mimalloc's library is; '' if it cannot be loaded from there."""
  try:
    files = importlib.metadata.files(_PACKAGE) or []
  except importlib.metadata.PackageNotFoundError:
    return ''
  places = [str(file.locate()) for file in files if file.name == _LIBRARY]
  # Several libraries are told apart by blanks and colons.
  return next((p for p in places if not set(p) & set(' :') and os.path.exists(p)), '')


def _huge_pages_help() -> bool:
  if not _KERNEL.exists() or '[madvise]' not in _KERNEL.read_text():
    return False
  name, _, version = (os.confstr('CS_GNU_LIBC_VERSION') or '').partition(' ')
  numbers = tuple(int(part) for part in version.split('.') if part.isdigit())
  return name == 'glibc' and numbers >= (2, 35)
