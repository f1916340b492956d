"""Huge memory pages for training on CPU."""

import os
import pathlib
import sys

_SETTING = 'glibc.malloc.hugetlb=1'
_KERNEL = pathlib.Path('/sys/kernel/mm/transparent_hugepage/enabled')


def restart_with_huge_pages() -> None:
  """Starts this program anew with huge pages for large allocations, where that helps.

  XLA allocates the memory of a whole training step at each step, and the kernel hands it out in
  pages of 4 KiB: a quarter million page faults, and up to a third of the time, for one step of S3D
  on 4 clips. glibc asks for pages of 2 MiB if the environment says so when a program starts. To be
  called before anything else that must not happen twice. Does nothing where the setting is there
  already, is not needed (the kernel always gives huge pages), or is not understood (glibc before
  2.35, other systems).
  """
  tunables = os.environ.get('GLIBC_TUNABLES', '')
  if 'glibc.malloc.hugetlb' in tunables or not _helps():
    return
  joined = ':'.join(filter(None, (tunables, _SETTING)))
  for stream in (sys.stdout, sys.stderr):
    stream.flush()
  os.execve(sys.executable, sys.orig_argv, os.environ | {'GLIBC_TUNABLES': joined})


def _helps() -> bool:
  if sys.platform != 'linux' or not _KERNEL.exists() or '[madvise]' not in _KERNEL.read_text():
    return False
  name, _, version = (os.confstr('CS_GNU_LIBC_VERSION') or '').partition(' ')
  numbers = tuple(int(part) for part in version.split('.') if part.isdigit())
  return name == 'glibc' and numbers >= (2, 35)
