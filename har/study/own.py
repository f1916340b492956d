"""Rows that are our own two-stage experiment: single modalities, their product, their fusion."""

from collections.abc import Sequence

from har.errors import UserError
from har.evaluate.sections import PRODUCT
from har.study.row import Asked, Pair, Row

FUSION = 'fusion'
SPLITS: dict[str, tuple[str, ...]] = {'cross_subject': ()}
CONFIGS = {'utd_mhad': 'utd_mhad', 'mmact': 'mmact'}
"""By dataset, the file in `configs`."""


def modalities(asked: Asked, study: str) -> list[str]:
  """The names of what is fused.

  Raises:
    UserError: the dataset has no such experiment, or it is one modality.
  """
  if asked.dataset not in CONFIGS:
    raise UserError(f'--dataset={asked.dataset}: the study {study} is of {" and ".join(CONFIGS)}')
  names = (asked.modalities or '').split('+')
  if len(set(names)) < 2 or '' in names:
    raise UserError(
      f'--modalities={asked.modalities}: the study {study} needs two or more, such as imu+'
      + {'utd_mhad': 'skeleton', 'mmact': 'rgb'}[asked.dataset]
    )
  return names


def row(
  asked: Asked, names: Sequence[str], name: str, at: float, flags: tuple[str, ...] = ()
) -> Row:
  """An experiment that shows each of its stages and the product; one epoch each if it is quick."""
  arg = '+'.join(names)
  quick = quickly(asked.dataset, (*names, FUSION)) if asked.quick else ()
  return Row(
    name,
    f'configs/{CONFIGS[asked.dataset]}.py:modalities={arg}',
    SPLITS,
    (*flags, *quick),
    benchmark=False,
    stages=(*names, PRODUCT, FUSION),
    at=at,
    pairs=pairs(name, names),
  )


def pairs(name: str, names: Sequence[str]) -> tuple[Pair, ...]:
  """A row's fusion against the product of its experts, and against the best of them."""
  singles = tuple((name, single) for single in names)
  return Pair('product', FUSION, ((name, PRODUCT),)), Pair('single', FUSION, singles)


def quickly(dataset: str, stages: Sequence[str]) -> tuple[str, ...]:
  """Flags for one epoch of each stage, and of MMAct's clips four frames of 32 pixels."""
  flags = [f'--config.stages.{stage}.epochs=1.0' for stage in stages]
  if dataset == 'mmact':
    sizes = {'frames': 4, 'resize': 36, 'size': 32}
    flags += [f'--config.inputs.rgb.{name}={value}' for name, value in sizes.items()]
    flags += ['--config.encoders.rgb.width=0.125', '--config.inputs.imu.length=200']
  return tuple(flags)
