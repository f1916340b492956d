"""Measures one file in a process of its own, so that threads and memory are its alone.

python -m har.export.measure RUNTIME FILE THREADS INPUTS.npz   # prints JSON
"""

import contextlib
import json
import os
import resource
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np

RUNTIMES = ('jax', 'litert', 'onnxruntime')
WARM_UP, FEWEST, MOST, SECONDS = 5, 20, 500, 2.0


def measure(runtime: str, file: Path, threads: int, inputs: Mapping[str, np.ndarray]) -> dict:
  """Latency and memory of one example at a time.

  Args:
    runtime: one of `RUNTIMES`.
    file: .stablehlo, .tflite or .onnx.
    threads: of computation.
    inputs: one example.

  Returns:
    `latency_ms` (a list) and `memory_mb`: the highest during loading and running, above what was
    taken before.
  """
  if hasattr(os, 'sched_setaffinity'):
    # JAX takes as many threads as it sees cores.
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
  make = _runner(runtime)
  before = _peak_bytes(reset=True)
  runner = make(file, threads)
  for _ in range(WARM_UP):
    runner(inputs)
  latencies: list[float] = []
  while len(latencies) < FEWEST or (sum(latencies) < SECONDS and len(latencies) < MOST):
    start = time.perf_counter()
    runner(inputs)
    latencies.append(time.perf_counter() - start)
  memory = _peak_bytes() - before
  return {'latency_ms': [1e3 * s for s in latencies], 'memory_mb': memory / 1e6}


def _runner(runtime: str):
  """What opens a file, with its libraries loaded."""
  if runtime == 'litert':
    from har.export import litert, optional

    optional.load('ai_edge_litert.interpreter')
    return litert.Runner
  if runtime == 'onnxruntime':
    from har.export import onnx, optional

    optional.load('onnxruntime')
    return onnx.Runner
  import jax

  from har.export import stablehlo

  jax.devices()
  return lambda file, threads: stablehlo.Runner(file)


def _peak_bytes(reset: bool = False) -> int:
  """The most memory that this process has held, since the reset where the system can."""
  if reset:
    with contextlib.suppress(OSError):
      Path('/proc/self/clear_refs').write_text('5')
  with contextlib.suppress(OSError, StopIteration):
    lines = Path('/proc/self/status').read_text().splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith('VmHWM')))
  scale = 1 if sys.platform == 'darwin' else 1024
  return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale


def main(argv: list[str]) -> None:
  """See above."""
  runtime, file, threads, inputs = argv
  with np.load(inputs) as stored:
    example = {name: stored[name] for name in stored}
  print(json.dumps(measure(runtime, Path(file), int(threads), example)))


if __name__ == '__main__':
  main(sys.argv[1:])
