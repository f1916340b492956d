"""Writes a workdir's stages as files that run elsewhere, each checked over the test split."""

import contextlib
import dataclasses
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from har.compress import finished, variants
from har.compress.finished import FinishedStage
from har.compress.options import Scheme
from har.data import loader
from har.errors import UserError
from har.evaluate.anomaly import read_threshold
from har.export import describe, exportable, litert, onnx, optional, stablehlo
from har.export.exportable import Arrays, Runner
from har.train import stage as stage_lib
from har.train.experiment import Experiment

FLOAT = 'float32'
# Largest difference of outputs in float, and smallest share of equal predictions.
LARGEST, FLOAT_AGREEMENT, INT8_AGREEMENT = 1e-3, 1.0, 0.99
# What most int8 outputs that are no logits, INT8_AGREEMENT of them, differ by at most: a share of
# their root mean square.
INT8_ERROR = 0.05
_FEW = 3  # examples in the batch that shows that a file takes one
_STREAMED = 500  # recordings at most that step files are checked on, sample by sample
NEEDED = ('litert_converter', 'ai_edge_litert', 'jax2onnx', 'onnx', 'onnxruntime')


@dataclasses.dataclass(frozen=True)
class TestSplit:
  """Preprocessed test examples of a stage, one at a time.

  Attributes:
    examples: inputs `[1, ...]` by name, masks as 1 and 0.
    labels: true classes.
    rows: of a recording by input, see `describe.usual_rows`.
  """

  examples: list[Arrays]
  labels: np.ndarray
  rows: Mapping[str, int] = dataclasses.field(default_factory=dict)


def run(experiment: Experiment, stages: Sequence[str] | None = None) -> list[Path]:
  """Writes WORKDIR/export/{stage}/{variant}.{tflite,onnx}, float32.stablehlo, and a JSON for each.

  Of a causal model also {variant}.step.{tflite,onnx} and float32.step.stablehlo, which take a
  sample of a stream at a time.

  Args:
    experiment: whose stages are finished.
    stages: names of stages; all if None.

  Returns:
    The files written.

  Raises:
    UserError: an unknown or unfinished stage, a package that is not installed; or, after all other
      files are written, an operation that a target lacks or a file that disagrees with JAX: each
      in a line on stderr, and no such file is left behind.
  """
  return write(choose(experiment, stages), experiment)


def write(stages: Sequence[FinishedStage], experiment: Experiment) -> list[Path]:
  """What `run` does, of stages that are handed down."""
  for name in NEEDED:
    optional.load(name)
  _check_scheme(experiment)
  written, failed = [], []
  for one in stages:
    stage, split = one.name, None
    for variant in variants.available(one):
      made = exportable.load(one, variant)
      split = split or read_split(experiment, stage)
      for form, clips, expected in _checks(made, split):
        for kind, convert, open_file in targets(form):
          path = folder(experiment, stage) / f'{form.stem}.{kind}'
          try:
            _write(experiment, form, path, kind, convert, open_file, clips, expected)
            written.append(path)
          except UserError as e:
            print(f'{path} is not written: {e}', file=sys.stderr, flush=True)
            failed.append(f'{stage}/{path.name}')
  if failed:
    raise UserError(
      f'{len(failed)} of {len(failed) + len(written)} files are not written: {", ".join(failed)}'
    )
  return written


def choose(experiment: Experiment, stages: Sequence[str] | None) -> list[FinishedStage]:
  """The stages asked for.

  Raises:
    UserError: one is unknown.
  """
  for name in stages or ():
    if name not in experiment.deployed:
      raise UserError(f'--stages={name}: the stages are {", ".join(experiment.deployed)}')
  found = finished.of(experiment)
  return [found[name] for name in stages or found]


def folder(experiment: Experiment, stage: str) -> Path:
  """Where a stage's files are."""
  return Path(experiment.context.workdir) / 'export' / stage


def is_int8(variant: str) -> bool:
  """Whether a variant is quantised."""
  return 'int8' in variant.split('_')


def targets(made: exportable.Exportable) -> Iterator[tuple[str, Callable[[], bytes], Any]]:
  """(suffix, what makes the file, what runs it) of each format of a variant."""
  int8 = is_int8(made.variant)
  yield 'tflite', lambda: litert.convert(made.marked, made.inputs, int8=int8), litert.Runner
  yield 'onnx', lambda: onnx.convert(made.marked, made.inputs, int8=int8), onnx.Runner
  if made.variant == FLOAT:
    yield 'stablehlo', lambda: stablehlo.convert(made.call, made.inputs), stablehlo.Runner


def read_split(experiment: Experiment, stage: str) -> TestSplit:
  """The whole test split."""
  one, context = experiment.stages[stage], experiment.context
  batches = loader.eval_batches(
    context.dataset.records(stage_lib.fields(one.inputs)),
    context.splits.test,
    one.inputs,
    batch_size=context.runtime['eval_batch_size'],
  )
  preprocess = jax.jit(lambda batch: one.preprocess(batch))
  examples, labels = [], []
  for batch in batches:
    inputs = jax.device_get(preprocess(batch))
    for i in np.flatnonzero(batch['mask']):
      one_example = {name: x[i : i + 1] for name, x in inputs.items()}
      examples.append({n: exportable.without_bools(x) for n, x in one_example.items()})
      labels.append(batch['label'][i])
  return TestSplit(examples, np.array(labels), describe.usual_rows(one.inputs, context.dataset))


def _checks(
  made: exportable.Exportable, split: TestSplit
) -> Iterator[tuple[exportable.Exportable, TestSplit, dict[str, Arrays]]]:
  """(form, examples, what JAX gives for them) of each form of a variant.

  JAX's outputs are by what is printed behind them.
  """
  whole = run_jax(made, split)
  yield made, split, {'': whole}
  if made.step is None:
    return
  # Of an absent signal no sample is streamed.
  masks = [n for n in split.examples[0] if n.endswith(('_mask', '_present'))]
  there = np.flatnonzero([all(one[n].any() for n in masks) for one in split.examples])
  places = np.linspace(0, len(there) - 1, min(_STREAMED, len(there))).round().astype(int)
  chosen = there[places]
  clips = TestSplit([split.examples[i] for i in chosen], split.labels[chosen], split.rows)
  expected = {f' in {len(chosen)} recordings sample by sample': run_jax(made.step, clips)}
  if not is_int8(made.variant):
    expected[' from whole clips'] = {name: x[chosen] for name, x in whole.items()}
  yield made.step, clips, expected


def run_jax(made: exportable.Exportable, split: TestSplit, batch_size: int = 32) -> Arrays:
  """The call's outputs by name, as logits `[N, C]`."""
  predict, outs = made.over_clips(jax.jit(made.call)), []
  for start in range(0, len(split.examples), batch_size):
    part = split.examples[start : start + batch_size]
    size = len(part)
    part = part + part[:1] * (batch_size - size if start else 0)
    outs.append({n: x[:size] for n, x in jax.device_get(predict(joined(part))).items()})
  return joined(outs)


def run_file(runner: Runner, split: TestSplit) -> Arrays:
  """A file's outputs by name, as logits `[N, C]`."""
  return joined([runner(one) for one in split.examples])


def joined(outs: Sequence[Arrays]) -> Arrays:
  """Batches of outputs as one."""
  return {name: np.concatenate([one[name] for one in outs]) for name in outs[0]}


def compare(name: str, int8: bool, outs: Arrays, expected: Arrays) -> str:
  """A line on how a file agrees with JAX.

  Raises:
    UserError: it does not.
  """
  agree, lines = outs.keys() == expected.keys(), []
  for key in sorted(outs.keys() & expected.keys()):
    x, y = outs[key], expected[key]
    finite = bool(np.isfinite(x).all())
    largest = float(np.abs(x - y).max()) if finite else float('inf')
    lines.append(f'largest difference of {key} {largest:.2g}')
    if key == exportable.LOGITS:
      equal = float((x.argmax(-1) == y.argmax(-1)).mean()) if finite else 0.0
      agree &= equal >= (INT8_AGREEMENT if int8 else FLOAT_AGREEMENT)
      lines.insert(0, f'{100 * equal:.2f}% equal predictions')
    elif int8:
      most = INT8_ERROR * float(np.sqrt(np.mean(np.square(y))))
      near = float((np.abs(x - y) <= most).mean()) if finite else 0.0
      agree &= near >= INT8_AGREEMENT
      lines[-1] += f', {100 * near:.2f}% within {INT8_ERROR:.0%} of its size'
    agree &= int8 or largest <= LARGEST
  line = ', '.join(lines)
  if not agree:
    raise UserError(f'{name} disagrees with JAX and was removed: {line}')
  return line


def _check_scheme(experiment: Experiment) -> None:
  """Files hold 8 bits and ranges that are known beforehand."""
  scheme = Scheme.from_config(experiment.config.compress.int8)
  for key, value in {'weights': 8, 'activations': 8, 'ranges': 'static'}.items():
    if (found := getattr(scheme, key)) != value:
      raise UserError(f'config.compress.int8.{key}={found!r}: only {value!r} can be exported')


def _write(experiment, made, path, kind, convert, open_file, split, expected) -> None:
  """Converts, checks, and only then puts file and description in place."""
  content = convert()
  with _drafts(path, Path(f'{path}.json')) as (draft, draft_json):
    draft.write_bytes(content)
    runner = open_file(draft)
    description = describe.describe(
      content,
      kind,
      made,
      runner,
      read=experiment.stages[made.stage].inputs,
      dataset=experiment.context.dataset,
      alarm=read_threshold(Path(experiment.context.workdir), made.stage, made.variant),
      rows=split.rows,
      measured=describe.measured_of(Path(experiment.context.workdir), made.stage),
    )
    text = json.dumps(description, indent=2, ensure_ascii=False)
    draft_json.write_text(f'{text}\n', encoding='utf-8')
    int8, predict = is_int8(made.variant), made.over_clips(runner)
    outs = run_file(predict, split)
    lines = [compare(str(path), int8, outs, them) + what for what, them in expected.items()]
    if runner.any_batch:
      few = split.examples[:_FEW]
      first = {name: x[: len(few)] for name, x in next(iter(expected.values())).items()}
      compare(f'{path} (in batches)', int8, predict(joined(few)), first)
  print(f'{path}: {len(content) / 1e6:.2f} MB, {", ".join(lines)}')
  sys.stdout.flush()


@contextlib.contextmanager
def _drafts(*paths: Path) -> Iterator[list[Path]]:
  """Temporary names, made final together if all goes well; else old and new files are removed."""
  drafts = [p.with_name(f'.{os.getpid()}.{p.name}') for p in paths]
  try:
    paths[0].parent.mkdir(parents=True, exist_ok=True)
    for path in paths:
      path.unlink(missing_ok=True)
    yield drafts
    for draft, path in zip(drafts, paths, strict=True):
      os.replace(draft, path)
  except OSError as e:
    raise UserError(f'cannot write {paths[0]}: {e.strerror or e}') from e
  finally:
    for draft in drafts:
      draft.unlink(missing_ok=True)
