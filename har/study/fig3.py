"""Fig. 3 of Choi et al. (arXiv 2211.04331): classes that one modality shows in the test alone.

A row hides classes from one modality: from its first stage, from the fusion, from what validates
(see `har.data.hidden`). Its fusion sees them in the others: IMU*+V and IMU+V* of the paper; its
single modality is the paper's IMU* or V*, which may not answer them. Which classes, the seed draws:
the same for all modalities, and those of a smaller number are among those of a larger one.
"""

from collections.abc import Sequence

from har.evaluate.sections import PRODUCT
from har.study import figure, own
from har.study.measured import Measured
from har.study.own import FUSION
from har.study.row import Asked, Row
from har.study.table import Picture

COUNTS = (1, 3, 5)
_QUICK = (3,)
_NONE = 'hidden_0'
UNITS = {
  ('utd_mhad', 'imu'): (
    '--config.inputs.imu.mean=(0.0, 0.0, 0.0, 0.0, 0.0, 0.0)',
    '--config.inputs.imu.std=(1.0, 1.0, 1.0, 100.0, 100.0, 100.0)',
  )
}
"""Of inputs that the config scales by statistics of all classes: sizes of the units in their place,
in all rows. The other inputs have none."""


def rows(asked: Asked) -> list[Row]:
  """A row where nothing is hidden, then one for each number of classes and modality.

  Args:
    asked: its modalities are two or more.

  Raises:
    UserError: it is asked for something else.
  """
  names = own.modalities(asked, 'fig3')
  units = tuple(flag for name in names for flag in UNITS.get((asked.dataset, name), ()))
  found = [own.row(asked, names, _NONE, 0, units)]
  for count in _QUICK if asked.quick else COUNTS:
    for name in names:
      flags = (
        f'--config.dataset.hidden_from={(name,)!r}',
        f'--config.dataset.hidden={count}',
        f'--config.inputs.{name}.optional=True',
        *units,
      )
      row = own.row(asked, names, f'hidden_{count}_from_{name}', count, flags)
      found.append(row)
  return found


def picture(measured: Sequence[Measured]) -> Picture | None:
  """Top-1 against the number of hidden classes; a star marks whom they are hidden from."""
  series: dict[str, list[Measured]] = {}
  colours = {}
  whole = [one for one in measured if one.row == _NONE]
  for one in measured:
    if one.row == _NONE:
      continue
    hidden = one.row.rpartition('_from_')[2]
    others = sorted({own.stage for own in measured} - {hidden, PRODUCT, FUSION})
    parts = '+'.join([f'{hidden}*', *others])
    names = {hidden: f'{hidden}*', PRODUCT: f'product {parts}', FUSION: f'fusion {parts}'}
    if one.stage in names:
      name = names[one.stage]
      colours[name] = one.stage
      series.setdefault(name, [w for w in whole if w.stage == one.stage]).append(one)
  if not series:
    return None
  counts = sorted({one.at for points in series.values() for one in points if one.at is not None})
  svg = figure.lines(
    dict(sorted(series.items(), key=lambda item: _order(colours[item[0]]))),
    colours,
    label=f'classes hidden from the modality with a star; {figure.BARS}',
    ticks={count: f'{count:g}' for count in counts},
  )
  return Picture(
    'Accuracy against the number of hidden classes',
    'Top-1 accuracy on all classes against the number of classes that one modality shows in the '
    'test alone',
    svg,
  )


def _order(stage: str) -> int:
  return {PRODUCT: 1, FUSION: 2}.get(stage, 0)
