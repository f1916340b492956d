"""Eight virtual CPU devices for all tests, quick compilation, and a cache of its results."""

import importlib.metadata
import os
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
# Of this process alone: JAX reads entries that another has not written to the end.
_CACHE = tempfile.TemporaryDirectory(prefix='har-xla-')
os.environ['JAX_COMPILATION_CACHE_DIR'] = _CACHE.name
os.environ['JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS'] = '0'
