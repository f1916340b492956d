"""Memory for training on CPU: huge pages, kept from step to step."""

import os
import pathlib
import sys

_PREFIX = 'glibc.malloc.'
_SETTINGS = {
  'hugetlb': 1,
  'mmap_max': 0,  # no memory of its own for a large allocation, as that is given back when freed
  'trim_threshold': 2**63 - 1,
  'arena_max': 1,  # for all threads together, or each would keep its own
}
_KERNEL = pathlib.Path('/sys/kernel/mm/transparent_hugepage/enabled')


def restart_with_huge_pages() -> None:
  """Starts this program anew with huge pages for large allocations, which it keeps.

  XLA allocates the memory of a whole training step at each step, and the kernel hands it out in
  pages of 4 KiB: a quarter million page faults, and up to a third of the time, for one step of S3D
  on 4 clips. glibc asks for pages of 2 MiB, and keeps what is freed, if the environment says so as
  a program starts. To be called before anything else that must not happen twice. Does nothing where
  any setting of huge pages is there already, is not needed (the kernel always gives them), or is
  not understood (glibc before 2.35, other systems).
  """
  tunables = os.environ.get('GLIBC_TUNABLES', '')
  if f'{_PREFIX}hugetlb' in tunables or not _helps():
    return
  ours = (f'{_PREFIX}{k}={v}' for k, v in _SETTINGS.items() if f'{_PREFIX}{k}=' not in tunables)
  joined = ':'.join(filter(None, (tunables, *ours)))
  for stream in (sys.stdout, sys.stderr):
    stream.flush()
  os.execve(sys.executable, sys.orig_argv, os.environ | {'GLIBC_TUNABLES': joined})


def _helps() -> bool:
  if sys.platform != 'linux' or not _KERNEL.exists() or '[madvise]' not in _KERNEL.read_text():
    return False
  name, _, version = (os.confstr('CS_GNU_LIBC_VERSION') or '').partition(' ')
  numbers = tuple(int(part) for part in version.split('.') if part.isdigit())
  return name == 'glibc' and numbers >= (2, 35)
