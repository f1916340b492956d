"""Opens what `--mode=export` wrote: a .tflite file, its description, and its step file."""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from har.errors import UserError

Arrays = dict[str, np.ndarray]
Runner = Callable[[Arrays], Arrays]
LOGITS, ANOMALY, RECONSTRUCTION = 'logits', 'anomaly', 'reconstruction_'
_SIGNATURE = 'serving_default'
_NEEDED = ('stage', 'variant', 'inputs', 'outputs', 'labels', 'sha256')
# Of inputs, those that recordings are read for.
SOURCES = {'signal': 'imu', 'frames': 'video', 'flow': 'video'}
"""What is recorded of each kind of input that can be read here."""


@dataclasses.dataclass(frozen=True)
class Model:
  """An exported model.

  Attributes:
    about: its description, see har/export/README.md.
    run: from inputs `[1, ...]` by name to outputs by name.
    step: the same model as one step of a stream; None if it has no such file.
  """

  about: Mapping[str, Any]
  run: Runner
  step: 'Model | None' = None

  @property
  def labels(self) -> tuple[str, ...]:
    """Names of classes in the order of the logits."""
    return tuple(self.about['labels'])

  @property
  def recorded(self) -> dict[str, Mapping[str, Any]]:
    """Descriptions of the inputs that come from recordings, by name; no masks, no state."""
    return recorded(self.about)

  @property
  def sources(self) -> frozenset[str]:
    """What it reads: 'imu', 'video' or both."""
    return frozenset(SOURCES[one['kind']] for one in self.recorded.values())

  def check(self) -> None:
    """Raises UserError unless recordings can be read for all of its inputs."""
    fields: dict[str, set[str]] = {}
    for name, one in self.recorded.items():
      if one['kind'] not in SOURCES:
        raise UserError(
          f'stage {self.about["stage"]}: its input {name} is of kind {one["kind"]}; what is read '
          f'here is {", ".join(SOURCES)}'
        )
      fields.setdefault(one['kind'], set()).add(one['field'])
    for kind, names in fields.items():
      if len(names) > 1:
        told = ' and '.join(sorted(names))
        raise UserError(
          f'stage {self.about["stage"]}: its inputs of kind {kind} read {told}; one of each kind '
          'is read here'
        )


def recorded(about: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
  """The inputs of a description that are recordings."""
  return {name: one for name, one in about['inputs'].items() if 'steps' in one}


def open_model(
  path: str | Path,
  variant: str = 'float32',
  stage: str = '',
  given: Collection[str] = (),
  threads: int = 1,
) -> Model:
  """Opens an exported model.

  Args:
    path: a .tflite file, a stage's folder, or the folder `export` of a workdir.
    variant: of the file, where a folder is given.
    stage: its name, where a folder holds several.
    given: 'imu' and 'video', what there is a recording of: of several stages those that read just
      that are looked at, and of those the last.
    threads: of LiteRT.

  Raises:
    UserError: nothing there, nothing that fits, a damaged or foreign file.
  """
  file = locate(Path(path), variant, stage, given)
  model = _open(file, threads)
  model.check()
  step = file.with_name(f'{file.name.removesuffix(".tflite")}.step.tflite')
  return dataclasses.replace(model, step=_open(step, threads) if step.exists() else None)


def locate(path: Path, variant: str, stage: str, given: Collection[str]) -> Path:
  """The .tflite file that is meant, see `open_model`."""
  if not path.exists():
    raise UserError(f'{path}: no such file or folder; --mode=export writes one')
  if path.is_file():
    if path.suffix != '.tflite' or path.name.endswith('.step.tflite'):
      raise UserError(f'{path}: give a file VARIANT.tflite, or the folder that it is in')
    return path
  name = f'{variant}.tflite'
  if (path / name).exists():
    return path / name
  found = {file.parent.name: file for file in sorted(path.glob(f'*/{name}'))}
  if not found:
    others = sorted({file.name for file in [*path.glob('*.tflite'), *path.glob('*/*.tflite')]})
    raise UserError(f'{path}: holds no {name}; it has {", ".join(others) or "no .tflite file"}')
  return found[choose({name: describe(file) for name, file in found.items()}, stage, given, path)]


def choose(
  stages: Mapping[str, Mapping[str, Any]], stage: str, given: Collection[str], where: Any
) -> str:
  """The name of the stage that is meant, of descriptions by name; see `open_model`."""
  if stage:
    if stage not in stages:
      raise UserError(f'{where} has no stage {stage}, but {", ".join(stages)}')
    return stage
  reads = {
    name: frozenset(SOURCES.get(one['kind'], one['kind']) for one in recorded(about).values())
    for name, about in stages.items()
  }
  fit = [name for name, kinds in reads.items() if kinds == frozenset(given)]
  if len(stages) == 1:
    fit = list(stages)
  if not fit:
    told = ', '.join(f'{name} ({" and ".join(sorted(kinds))})' for name, kinds in reads.items())
    raise UserError(
      f'{where}: no stage reads {" and ".join(sorted(given))} and nothing else; there are {told}'
    )
  if len(fit) > 1:
    raise UserError(f'{where}: several stages read that; choose one of {", ".join(fit)}')
  return fit[0]


def describe(file: Path) -> dict[str, Any]:
  """The description beside a file.

  Raises:
    UserError: there is none, or it is not one of ours.
  """
  path = file.with_name(f'{file.name}.json')
  try:
    about = json.loads(path.read_text(encoding='utf-8'))
  except OSError as e:
    raise UserError(f'{path}: {e.strerror or e}; it belongs beside {file.name}') from e
  except ValueError as e:
    raise UserError(f'{path}: not a description of an exported file ({e})') from e
  if not isinstance(about, dict) or any(name not in about for name in _NEEDED):
    raise UserError(f'{path}: not a description of an exported file')
  return about


def _open(file: Path, threads: int) -> Model:
  about, content = describe(file), file.read_bytes()
  if hashlib.sha256(content).hexdigest() != about['sha256']:
    raise UserError(f'{file}: is not the file that {file.name}.json describes; export it again')
  return Model(about, LiteRunner(content, str(file), threads))


class LiteRunner:
  """Runs a .tflite file on one example at a time."""

  def __init__(self, content: bytes, where: str, threads: int = 1):
    """Takes the file's content, and how to name it.

    Raises:
      UserError: LiteRT is not installed, or cannot run the file.
    """
    try:
      from ai_edge_litert import interpreter
    except ImportError as e:
      raise UserError('LiteRT is missing: pip install -r requirements-edge.txt') from e
    self._where = where
    try:
      self._interpreter = interpreter.Interpreter(model_content=content, num_threads=threads)
      self._interpreter.allocate_tensors()
      signature = self._interpreter.get_signature_runner(_SIGNATURE)
    except (ValueError, RuntimeError) as e:
      raise UserError(f'{where}: LiteRT cannot run it: {" ".join(str(e).split())}') from e
    self._inputs = {n: d['index'] for n, d in signature.get_input_details().items()}
    self._outputs = {n: d['index'] for n, d in signature.get_output_details().items()}

  def __call__(self, inputs: Mapping[str, np.ndarray]) -> Arrays:
    """Outputs `[1, ...]` by name, of inputs `[1, ...]`; others are left alone."""
    try:
      for name, index in self._inputs.items():
        self._interpreter.set_tensor(index, np.asarray(inputs[name], np.float32))
      self._interpreter.invoke()
    except (ValueError, RuntimeError) as e:
      raise UserError(f'{self._where}: LiteRT cannot run it: {" ".join(str(e).split())}') from e
    return {name: self._interpreter.get_tensor(index) for name, index in self._outputs.items()}
