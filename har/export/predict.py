"""A timeline of a recording by a workdir: `--mode=predict`.

The exported file runs where there is one, and needs no data set; else the stage itself, in JAX. All
else is `har.stream`, so that both give the same timeline.
"""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from har.data import inputs as inputs_lib
from har.errors import UserError
from har.export import describe, direct
from har.objectives.registry import OBJECTIVES
from har.stream import exported, predict, recordings
from har.stream.options import Options
from har.train.experiment import Experiment


def run(
  config: Any,
  workdir: Path,
  paths: Sequence[str],
  options: Options,
  open_experiment: Callable[[], Experiment],
  *,
  output: str | None = None,
  variant: str = 'float32',
  stages: Sequence[str] | None = None,
) -> list[Path]:
  """Writes `timeline.csv`, `timeline.json` and `timeline.png`.

  Args:
    config: of the experiment.
    workdir: of a run.
    paths: a recording's file, or a pair of them, see `har.stream.recordings`.
    options: of windows and events.
    open_experiment: called where nothing is exported.
    output: folder; `predictions` of the workdir if None.
    variant: of the model.
    stages: the stage that predicts; None: the one that reads what the files hold, and nothing else.

  Returns:
    The files written.

  Raises:
    UserError: no stage fits, it is not finished, or a recording that it does not take.
  """
  if len(stages or ()) > 1:
    raise UserError(f'--stages={",".join(stages or ())}: one stage predicts')
  chosen = (stages or [''])[0]
  given = {recordings.kind(path) for path in paths}
  stage = exported.choose(_reads(config), chosen, given, f'--workdir={workdir}')
  file = workdir / 'export' / stage / f'{variant}.tflite'
  if file.exists():
    model = exported.open_model(file)
  else:
    model = exported.Model(*direct.load(open_experiment(), stage, variant))
    model.check()
  # What has been measured since the export.
  about = {**model.about, **describe.measured_of(workdir, stage)}
  model = dataclasses.replace(model, about=about)
  return predict.predict(model, paths, Path(output or workdir / 'predictions'), options)


def _reads(config: Any) -> dict[str, dict[str, Any]]:
  """The inputs of each stage that is deployed, as descriptions have them."""
  kinds = {name: inputs_lib.build(name, given).kind for name, given in config.inputs.items()}
  return {
    stage: {'inputs': {n: {'kind': kinds[n], 'steps': []} for n in config.stages[stage].modalities}}
    for stage in config.order
    if OBJECTIVES[config.stages[stage].objective.kind].deployed
  }
