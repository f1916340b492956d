"""The table of what was exported: size, speed, memory and accuracy in each runtime."""

import csv
import io
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from har.compress import run as compression
from har.compress import variants
from har.compress.finished import FinishedStage
from har.errors import UserError
from har.evaluate.files import aligned, write_text
from har.export import exportable, litert, onnx, stablehlo
from har.export import run as export
from har.train.experiment import Experiment

COLUMNS = (
  'stage',
  'variant',
  'runtime',
  'threads',
  'size_mb',
  'parameters',
  'gflops',
  'latency_ms_median',
  'latency_ms_p95',
  'latency_ms_per_frame',
  'clips_per_s',
  'frames_per_s',
  'memory_mb',
  'top1',
)
THREADS = (1, 2)
_ROOT = Path(__file__).parents[2]


def run(
  experiment: Experiment, stages: Sequence[str] | None = None, *, command: str = ''
) -> list[dict[str, Any]]:
  """Exports every variant, measures it, prints the table and writes WORKDIR/benchmark.csv.

  Args:
    experiment: whose stages are finished.
    stages: names of stages; all if None.
    command: for the header of the report, which is written anew; if empty, it is not.

  Returns:
    A dict of `COLUMNS` for each row.

  Raises:
    UserError: what `har.export.run.run` raises, or a file could not be measured.
  """
  chosen = export.choose(experiment, stages)
  export.write(chosen, experiment)
  rows = []
  for one in chosen:
    split = export.read_split(experiment, one.name)
    for variant in variants.available(one):
      rows += _measure_variant(one, variant, split)
  print(text_table(rows))
  text = io.StringIO()
  writer = csv.DictWriter(text, COLUMNS, lineterminator='\n')
  writer.writeheader()
  writer.writerows(rows)
  path = write_text(Path(experiment.context.workdir) / 'benchmark.csv', text.getvalue())
  print(f'benchmark: {path}')
  if command:
    compression.evaluate(experiment, command=command)
  return rows


def _measure_variant(
  of: FinishedStage, variant: str, split: export.TestSplit
) -> list[dict[str, Any]]:
  made = exportable.load(of, variant)
  base = _float_form(variant)
  plain = exportable.load(of, base) if base != variant else made
  counted = variants.make(of, base).variables['params']
  facts = {
    'stage': of.name,
    'variant': variant,
    'parameters': sum(leaf.size for leaf in jax.tree.leaves(counted)),
    'gflops': round(flops(plain) / 1e9, 6),
  }
  place = export.folder(of.experiment, of.name)
  videos = [n for n, one in of.stage.inputs.items() if one.is_video]
  rows = []
  with tempfile.TemporaryDirectory() as scratch:
    inputs = Path(scratch) / 'inputs.npz'
    given: dict[str, Any] = {n: split.examples[0][n] for n in made.inputs}
    np.savez(inputs, **given)
    program = Path(scratch) / f'{variant}.stablehlo'
    program.write_bytes(stablehlo.convert(made.call, made.inputs))
    files: dict[str, tuple[Path, Any]] = {
      'jax': (program, lambda: export.run_jax(made, split)),
      'litert': (path := place / f'{variant}.tflite', _outputs(litert.Runner, path, split)),
      'onnxruntime': (path := place / f'{variant}.onnx', _outputs(onnx.Runner, path, split)),
    }
    for runtime, (file, outputs) in files.items():
      logits = outputs().get(exportable.LOGITS)
      top1 = '' if logits is None else round(float((logits.argmax(-1) == split.labels).mean()), 6)
      for threads in THREADS:
        measured = _subprocess(runtime, file, threads, inputs)
        row = facts | {'runtime': runtime, 'threads': threads, 'top1': top1}
        row['size_mb'] = round(file.stat().st_size / 1e6, 4)
        row |= summary(measured, clip_length(made.inputs, videos))
        rows.append({name: row[name] for name in COLUMNS})
  return rows


def _outputs(runner: Any, path: Path, split: export.TestSplit):
  return lambda: export.run_file(runner(path), split)


def _float_form(variant: str) -> str:
  """The variant that a quantised one was made of."""
  parts = variant.split('_')
  return variant if 'int8' not in parts else parts[0].replace('int8', variants.FLOAT)


def flops(made: exportable.Exportable) -> float:
  """Floating-point operations of one example; a multiply-accumulate is two."""
  costs: Any = jax.jit(made.call).lower(made.inputs).cost_analysis()
  return float(costs['flops'])


def clip_length(inputs: Mapping[str, jax.ShapeDtypeStruct], videos: Collection[str]) -> int:
  """Frames in an example of the inputs that are video, or samples of its longest signal."""
  found = [spec.shape[1] for name, spec in inputs.items() if name in videos]
  return max(found or [spec.shape[1] for spec in inputs.values() if len(spec.shape) > 1])


def summary(measured: Mapping[str, Any], frames: int) -> dict[str, float]:
  """The columns that a measurement gives."""
  latencies = measured['latency_ms']
  median = float(np.median(latencies))
  return {
    'latency_ms_median': round(median, 4),
    'latency_ms_p95': round(float(np.percentile(latencies, 95)), 4),
    'latency_ms_per_frame': round(median / frames, 5),
    'clips_per_s': round(1e3 / median, 2),
    'frames_per_s': round(1e3 * frames / median, 1),
    'memory_mb': round(measured['memory_mb'], 2),
  }


def _subprocess(runtime: str, file: Path, threads: int, inputs: Path) -> dict[str, Any]:
  environment = {**os.environ, 'JAX_PLATFORMS': 'cpu', 'TF_CPP_MIN_LOG_LEVEL': '3'}
  environment['PYTHONPATH'] = os.pathsep.join([str(_ROOT), environment.get('PYTHONPATH', '')])
  command = [
    sys.executable,
    '-m',
    'har.export.measure',
    runtime,
    str(file),
    str(threads),
    str(inputs),
  ]
  done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
  if done.returncode:
    lines = done.stderr.strip().splitlines() or [f'exit status {done.returncode}']
    raise UserError(f'{file} could not be measured in {runtime}: {lines[-1]}')
  return json.loads(done.stdout.strip().splitlines()[-1])


def text_table(rows: Sequence[Mapping[str, Any]]) -> str:
  """The rows, aligned, for the terminal."""
  heads: tuple[str, ...] = (
    'Stage',
    'Variant',
    'Runtime',
    'Threads',
    'MB',
    'Parameters',
    'GFLOPs',
    'ms',
    'p95',
  )
  heads += ('ms/frame', 'clips/s', 'frames/s', 'Memory MB', 'Top-1')
  lines: list[tuple[str, ...]] = [heads]
  for row in rows:
    lines.append(
      (
        row['stage'],
        row['variant'],
        row['runtime'],
        str(row['threads']),
        f'{row["size_mb"]:.2f}',
        f'{row["parameters"]:,}',
        f'{row["gflops"]:.4g}',
        f'{row["latency_ms_median"]:.2f}',
        f'{row["latency_ms_p95"]:.2f}',
        f'{row["latency_ms_per_frame"]:.3g}',
        f'{row["clips_per_s"]:.1f}',
        f'{row["frames_per_s"]:.0f}',
        f'{row["memory_mb"]:.1f}',
        '-' if row['top1'] == '' else f'{100 * row["top1"]:.1f}',
      )
    )
  return aligned(lines, left=3)
