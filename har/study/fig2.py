"""Fig. 2 of Choi et al. (arXiv 2211.04331): accuracy against the share of the training data.

A share is drawn once for each seed, class by class and person by person (see
`har.data.draws.draw_fraction`): the same examples for single modalities and fusion, and those of a
smaller share are among those of a larger one.
"""

from collections.abc import Sequence

from har.study import figure, own
from har.study.measured import Measured
from har.study.row import Asked, Row
from har.study.table import Picture

SHARES = (0.1, 0.25, 0.5, 0.75, 1.0)
_QUICK = (0.25, 1.0)


def rows(asked: Asked) -> list[Row]:
  """A row for each share: its single modalities, the product of these, and the trained fusion.

  Args:
    asked: its modalities are two or more.

  Raises:
    UserError: it is asked for something else.
  """
  names = own.modalities(asked, 'fig2')
  return [
    own.row(asked, names, _name(share), share, (f'--config.dataset.train_fraction={share}',))
    for share in (_QUICK if asked.quick else SHARES)
  ]


def _name(share: float) -> str:
  return f'train_{round(100 * share)}'


def picture(measured: Sequence[Measured]) -> Picture | None:
  """Top-1 against the share, a line for each stage."""
  if not measured:
    return None
  series: dict[str, list[Measured]] = {}
  for one in measured:
    series.setdefault(one.stage, []).append(one)
  shares = sorted({one.at for one in measured if one.at is not None})
  svg = figure.lines(
    series,
    {name: name for name in series},
    label=f'share of the training data; {figure.BARS}',
    ticks={share: f'{round(100 * share)}%' for share in shares},
  )
  return Picture(
    'Accuracy against the share of the training data',
    'Top-1 accuracy against the share of the training data, a line for each modality and fusion',
    svg,
  )
