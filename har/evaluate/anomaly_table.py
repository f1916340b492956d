"""What stages and baselines detect as a table: of one run, or the mean of several."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from har.evaluate.files import aligned
from har.metrics.alarms import FALSE_ALARM_RATES, SENSITIVITY

Block = Mapping[str, Any]

_AT = f'at {SENSITIVITY:.0%} sensitivity'
HEAD = (
  *('Detector', 'Variant', 'AUROC', 'Std', 'AP'),
  *(f'Sens. at {rate:.0%} false' for rate in FALSE_ALARM_RATES),
  f'False/h {_AT}',
  *('Sens.', 'False alarms', 'False/h'),
)
"""The last three are those of the threshold."""


def blocks(table: Mapping[str, Any]) -> dict[tuple[str, str], Block]:
  """Figures by detector and variant of a run's results: stages, each with its baselines behind."""
  found: dict[tuple[str, str], Block] = {}
  anomaly = table.get('anomaly', {})
  for stage, variants in anomaly.get('stages', {}).items():
    found |= {(stage, variant): block for variant, block in variants.items()}
    methods = anomaly['baselines'].get(stage, {}).get('methods', {})
    for name, block in methods.items():
      found[f'{stage}: {name}', 'labels' if block['labels'] else 'baseline'] = block
  return found


def rows(tables: Iterable[Mapping[str, Any]]) -> list[list[str]]:
  """A row for each detector, means over the runs; see `HEAD`. Empty where nothing is detected."""
  by_name: dict[tuple[str, str], list[Block]] = {}
  for table in tables:
    for name, block in blocks(table).items():
      by_name.setdefault(name, []).append(block)
  return [[*name, *_cells(found)] for name, found in by_name.items()]


def text(tables: Iterable[Mapping[str, Any]]) -> str:
  """The table for the terminal; empty where nothing is detected."""
  found = rows(tables)
  return aligned([list(HEAD), *found], left=2) if found else ''


def never(tables: Sequence[Mapping[str, Any]], stage: str, variant: str) -> list[list[str]]:
  """Alarms of people without an abnormal recording, by class, summed over the runs."""
  counts: dict[str, list[int]] = {}
  for table in tables:
    block = table['anomaly']['stages'][stage][variant]
    for row in block['never_abnormal']:
      own = counts.setdefault(row['name'], [0, 0])
      own[0] += row['normal']
      own[1] += row.get('false', 0)
  counts['all'] = [sum(pair[i] for pair in counts.values()) for i in range(2)]
  return [
    [name, str(total), str(false), _percent(false / max(total, 1))]
    for name, (total, false) in counts.items()
  ]


def _cells(found: Sequence[Block]) -> list[str]:
  auroc = [block['auroc'] for block in found if 'auroc' in block]
  deviation = statistics.stdev(auroc) if len(auroc) > 1 else None
  texts = [_percent(_mean(auroc)), _percent(deviation)]
  texts.append(_percent(_mean(block.get('average_precision') for block in found)))
  for rate in map(str, FALSE_ALARM_RATES):
    texts.append(_percent(_mean(block.get('sensitivity_at', {}).get(rate) for block in found)))
  chosen = [block.get('at_sensitivity') or {} for block in found]
  texts.append(_number(_mean(one.get('false_alarms_per_hour') for one in chosen)))
  fitted = [block.get('at_threshold') or {} for block in found]
  for key in ('sensitivity', 'false_alarm_rate'):
    texts.append(_percent(_mean(one.get(key) for one in fitted)))
  return [*texts, _number(_mean(one.get('false_alarms_per_hour') for one in fitted))]


def _mean(values: Iterable[float | None]) -> float | None:
  known = [value for value in values if value is not None]
  return statistics.mean(known) if known else None


def _percent(value: float | None) -> str:
  return '-' if value is None else f'{100 * value:.1f}'


def _number(value: float | None) -> str:
  return '-' if value is None else f'{value:.1f}'
