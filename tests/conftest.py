"""Eight virtual CPU devices for all tests, quick compilation, and a cache of its results."""

import contextlib
import gc
import importlib
import importlib.metadata
import os
import pathlib
import tempfile

os.environ['XLA_FLAGS'] = (
  os.environ.get('XLA_FLAGS', '')
  + ' --xla_force_host_platform_device_count=8'
  # Tests compile much and run little.
  + ' --xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true'
)
if importlib.metadata.version('jaxlib').startswith('0.10.'):
  # Halve the compilation of S3D's training step; later versions end at a flag they do not know.
  os.environ['XLA_FLAGS'] += ' --xla_cpu_use_fusion_emitters=false'
  # Each part that can be compiled beside the others takes some work of its own.
  os.environ['XLA_FLAGS'] += ' --xla_cpu_parallel_codegen_split_count=1'
os.environ['JAX_PLATFORMS'] = 'cpu'
# What earlier sessions compiled is kept, `pytest --cache-clear` removes it. JAX reads entries that
# another process has not written to the end, so each writes into a folder of its own.
_KEPT = pathlib.Path(__file__).parent.parent / '.pytest_cache' / 'd' / 'xla'
_MOST_KEPT = 20_000  # Entries; those of code that has changed are never used again.
_KEPT.mkdir(parents=True, exist_ok=True)
_CACHE = tempfile.TemporaryDirectory(prefix='xla-', dir=_KEPT.parent)
os.environ['JAX_COMPILATION_CACHE_DIR'] = _CACHE.name
os.environ['JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS'] = '0'
# Else an entry's key depends on its folder.
os.environ['JAX_PERSISTENT_CACHE_ENABLE_XLA_CACHES'] = 'none'
# Before anything is compiled: hundreds of tests later its import has ended the process.
with contextlib.suppress(ImportError):
  importlib.import_module('litert_converter.mlir')

# Tracing makes so many objects that looking for garbage as often as ever takes a tenth of a test.
gc.set_threshold(50_000, 20, 20)


def _share(source, target):
  """Has the entries of one folder in another, too, each at once and whole."""
  for path in source.glob('*-cache'):
    with contextlib.suppress(FileExistsError, FileNotFoundError):
      os.link(path, target / path.name)


_share(_KEPT, pathlib.Path(_CACHE.name))

_LONGEST = (
  'configs/test_configs.py',
  'test_launch.py',
  'test_processes.py',
  'har/compress/test_run.py',
  'har/train/test_loop.py',
  'har/compress/test_quantise.py',
)


def pytest_configure(config):
  """Has workers take files in the order of collection: those of few, long tests would be last."""
  config.option.loadscopereorder = False


def pytest_unconfigure():
  """Keeps what was compiled, unless that is too much by now."""
  if len(os.listdir(_KEPT)) > _MOST_KEPT:
    for path in _KEPT.iterdir():
      path.unlink(missing_ok=True)
  _share(pathlib.Path(_CACHE.name), _KEPT)


def pytest_collection_modifyitems(items):
  """Puts the files first that take longest, beside which workers can take many short ones."""
  places = {pathlib.Path(__file__).parent / n: i for i, n in enumerate(_LONGEST)}
  items.sort(key=lambda item: places.get(item.path, len(_LONGEST)))
