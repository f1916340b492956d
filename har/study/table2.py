"""Table 2 of Choi et al. (arXiv 2211.04331): single modalities, fusion and rivals on UTD-MHAD."""

import dataclasses
from collections.abc import Sequence

from har.errors import UserError
from har.study.measured import Measured
from har.study.row import Asked, Row
from har.study.table import Picture

_SPLITS: dict[str, tuple[str, ...]] = {'cross_subject': ()}

PUBLISHED = {
  'hamlet': 0.9512,
  'mumu': 0.976,
  'cmc': 0.9604,
  'cmc_cmkm': 0.9767,
  'vskd': 0.9697,
  'paper_imu': 0.8542,
  'paper_rgb': 0.7476,
  'paper_fusion_of_imu_rgb': 0.9605,
}
"""Top-1 on UTD-MHAD by row; the sources, and what data they are of, stand in configs/README.md."""


def rows(asked: Asked) -> list[Row]:
  """The rows of the table: the paper's recipe, ours, and the rivals.

  Args:
    asked: its dataset is utd_mhad; its modalities are imu and one or more others.

  Raises:
    UserError: it is asked for something else.
  """
  if asked.dataset != 'utd_mhad':
    raise UserError(f'--dataset={asked.dataset}: the study table2 is of utd_mhad')
  names = (asked.modalities or '').split('+')
  if 'imu' not in names or len(names) < 2:
    raise UserError(
      f'--modalities={asked.modalities}: the study table2 needs imu and another, such as '
      'imu+skeleton'
    )
  found = [*_own(names), *_rivals(names)]
  return [_quick(row, names) for row in found if _is_quick(row)] if asked.quick else found


def _own(names: Sequence[str]) -> list[Row]:
  """Single modalities and their fusion, by the paper's hyperparameters and by ours."""
  everything, found = '+'.join(names), []
  for prefix, recipe in (('paper_', ',recipe=paper'), ('', '')):
    for name in names:
      found.append(_row(f'{prefix}{name}', 'utd_mhad', f'{name}{recipe}'))
    found.append(_row(f'{prefix}fusion', 'utd_mhad', f'{everything}{recipe}'))
    if prefix and set(names) == {'imu', 'rgb'}:
      of_pair = PUBLISHED['paper_fusion_of_imu_rgb']
      found[-1] = dataclasses.replace(found[-1], published=of_pair)
  return found


def _rivals(names: Sequence[str]) -> list[Row]:
  everything = '+'.join(names)
  found = [_row(name, f'baselines/{name}', everything) for name in ('hamlet', 'mumu')]
  found += [
    _row('cmc', 'baselines/cmc', f'{everything},mining=none,classifier=mlp'),
    _row('cmc_cmkm', 'baselines/cmc', f'{everything},mining=cmkm,classifier=mlp'),
  ]
  teachers = [name for name in names if name != 'imu']
  for teacher in teachers:
    row = _row('vskd', 'baselines/vskd', f'imu+{teacher}')
    several = len(teachers) > 1
    found.append(dataclasses.replace(row, name=f'vskd_{teacher}') if several else row)
  return found


def _row(name: str, config: str, arg: str) -> Row:
  return Row(
    name,
    f'configs/{config}.py:modalities={arg}',
    _SPLITS,
    benchmark=False,
    published=PUBLISHED.get(name),
  )


def _is_quick(row: Row) -> bool:
  """Whether a row is among the quick ones: the fusion, which has all single ones, and rivals."""
  return 'baselines' in row.config or row.name == 'fusion'


def _quick(row: Row, names: Sequence[str]) -> Row:
  """One epoch a stage."""
  stages = {
    'fusion': (*names, 'fusion'),
    'hamlet': ('fusion',),
    'mumu': ('fusion',),
    'cmc': ('contrast', 'fusion'),
    'cmc_cmkm': ('views', 'contrast', 'fusion'),
  }
  trained = stages.get(row.name)
  if trained is None:  # VSKD: its teacher stands last in its modalities.
    trained = (row.config.rpartition('+')[2], 'imu')
  flags = tuple(f'--config.stages.{stage}.epochs=1.0' for stage in trained)
  return dataclasses.replace(row, flags=(*row.flags, *flags))


def picture(measured: Sequence[Measured]) -> Picture | None:
  """None: what there is to see stands in the table."""
  del measured
  return None
