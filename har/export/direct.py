"""A finished stage as somebody who has its exported file sees it, without the file."""

from collections.abc import Callable, Mapping
from typing import Any

import jax

from har.compress import finished
from har.errors import UserError
from har.evaluate.anomaly import read_threshold
from har.export import describe, exportable
from har.export.exportable import Arrays
from har.train.experiment import Experiment


class _Names:
  """For a description: nothing is called otherwise inside, and batches are of one."""

  any_batch = False

  def __init__(self, made: exportable.Exportable):
    self.names: Mapping[str, str] = {name: name for name in (*made.inputs, *made.outputs)}


def load(
  experiment: Experiment, stage: str, variant: str
) -> tuple[dict[str, Any], Callable[[Arrays], Arrays]]:
  """The description that would stand beside the file, and JAX in place of what runs it.

  Raises:
    UserError: no such stage or variant, or it is not finished.
  """
  if stage not in experiment.deployed:
    raise UserError(f'--stages={stage}: the stages are {", ".join(experiment.deployed)}')
  made = exportable.load(finished.of(experiment)[stage], variant)
  read, dataset = experiment.stages[stage].inputs, experiment.context.dataset
  rows = describe.usual_rows(read, dataset)
  measured = describe.measured_of(experiment.context.workdir, stage)
  about = describe.describe(
    b'',
    'stablehlo',
    made,
    _Names(made),
    read=read,
    dataset=dataset,
    alarm=read_threshold(experiment.context.workdir, stage, variant),
    rows=rows,
    measured=measured,
  )
  call = jax.jit(made.call)
  return about | {'format': 'jax', 'sha256': ''}, lambda inputs: jax.device_get(
    call({n: inputs[n] for n in made.inputs})
  )
