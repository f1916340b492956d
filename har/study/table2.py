"""Table 2 of Choi et al. (arXiv 2211.04331): single modalities, fusion and rivals."""

import dataclasses
from collections.abc import Sequence

from har.errors import UserError
from har.evaluate.sections import PRODUCT
from har.study import own
from har.study.measured import Measured
from har.study.row import LAST, Asked, Pair, Row
from har.study.table import Picture

PUBLISHED = {
  'utd_mhad': {
    'hamlet': 0.9512,
    'mumu': 0.976,
    'cmc': 0.9604,
    'cmc_cmkm': 0.9767,
    'vskd': 0.9697,
    'paper_imu': 0.8542,
    'paper_rgb': 0.7476,
    'paper_fusion_of_imu_rgb': 0.9605,
  },
  # Of the rivals that table has F1, or what is not told to be Top-1 in their papers.
  'mmact': {'paper_imu': 0.6428, 'paper_rgb': 0.7189, 'paper_fusion_of_imu_rgb': 0.8405},
}
"""Top-1 by dataset and row; the sources, and what data they are of, stand in configs/README.md."""


def rows(asked: Asked) -> list[Row]:
  """The rows of the table: the paper's recipe, ours where there is one, and the rivals.

  Args:
    asked: its modalities are imu and one or more others.

  Raises:
    UserError: it is asked for something else.
  """
  names = own.modalities(asked, 'table2')
  if 'imu' not in names:
    raise UserError(f'--modalities={asked.modalities}: the study table2 needs imu and another')
  found = [*_own(asked.dataset, names), *_rivals(asked.dataset, names)]
  if not asked.quick:
    return found
  return [_quick(asked.dataset, row, names) for row in found if _is_quick(asked.dataset, row)]


def _fusion(dataset: str) -> str:
  """The row that rivals are tested against: our fusion, or else the paper's."""
  return own.FUSION if dataset == 'utd_mhad' else 'paper_fusion'


def _own(dataset: str, names: Sequence[str]) -> list[Row]:
  """Single modalities and their fusion, by the paper's hyperparameters and by ours."""
  everything, found = '+'.join(names), []
  recipes = {'paper_': ',recipe=paper', '': ''} if dataset == 'utd_mhad' else {'paper_': ''}
  for prefix, recipe in recipes.items():
    for name in names:
      found.append(_row(dataset, f'{prefix}{name}', dataset, f'{name}{recipe}'))
    fusion = _row(dataset, f'{prefix}fusion', dataset, f'{everything}{recipe}')
    of_pair = PUBLISHED[dataset]['paper_fusion_of_imu_rgb']
    found.append(
      dataclasses.replace(
        fusion,
        stages=(PRODUCT, LAST),
        pairs=own.pairs(fusion.name, names),
        published=of_pair if prefix and set(names) == {'imu', 'rgb'} else None,
      )
    )
  return found


def _rivals(dataset: str, names: Sequence[str]) -> list[Row]:
  """Each against our fusion; VSKD's student against the IMU alone, as a stage of the fusion."""
  everything = '+'.join(names)
  more = '' if dataset == 'utd_mhad' else f',dataset={dataset}'

  def rival(name: str, config: str, arg: str, stage: str = LAST) -> Row:
    row = _row(dataset, name, f'baselines/{config}', f'{arg}{more}')
    return dataclasses.replace(row, pairs=(Pair('row', LAST, ((_fusion(dataset), stage),)),))

  found = [rival(name, name, everything) for name in ('hamlet', 'mumu')]
  found += [
    rival('cmc', 'cmc', f'{everything},mining=none,classifier=mlp'),
    rival('cmc_cmkm', 'cmc', f'{everything},mining=cmkm,classifier=mlp'),
  ]
  teachers = [name for name in names if name != 'imu']
  for teacher in teachers:
    row = rival('vskd', 'vskd', f'imu+{teacher}', 'imu')
    several = len(teachers) > 1
    found.append(dataclasses.replace(row, name=f'vskd_{teacher}') if several else row)
  return found


def _row(dataset: str, name: str, config: str, arg: str) -> Row:
  return Row(
    name,
    f'configs/{config}.py:modalities={arg}',
    own.SPLITS,
    benchmark=False,
    published=PUBLISHED[dataset].get(name),
  )


def _is_quick(dataset: str, row: Row) -> bool:
  """Whether a row is among the quick ones: the fusion, which has all single ones, and rivals."""
  return 'baselines' in row.config or row.name == _fusion(dataset)


def _quick(dataset: str, row: Row, names: Sequence[str]) -> Row:
  """One epoch a stage."""
  stages = {
    _fusion(dataset): (*names, 'fusion'),
    'hamlet': ('fusion',),
    'mumu': ('fusion',),
    'cmc': ('contrast', 'fusion'),
    'cmc_cmkm': ('views', 'contrast', 'fusion'),
  }
  trained = stages.get(row.name)
  if trained is None:  # VSKD: its teacher is named behind imu.
    trained = (row.config.partition('imu+')[2].partition(',')[0], 'imu')
  flags = own.quickly(dataset, trained)
  return dataclasses.replace(row, flags=(*row.flags, *flags))


def picture(measured: Sequence[Measured]) -> Picture | None:
  """None: what there is to see stands in the table."""
  del measured
  return None
