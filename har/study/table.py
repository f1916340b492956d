"""What a study writes: `study.csv`, `study.json` and the page `study.html`."""

import csv
import dataclasses
import io
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from har.evaluate.files import aligned, write_text
from har.study.measured import RUNTIME, Measured

_SPEEDS = {
  'size_mb': 'size_mb',
  'gflops': 'gflops',
  'ms_per_frame': 'latency_ms_per_frame',
  'frames_per_s': 'frames_per_s',
  'ms_per_clip': 'latency_ms_median',
}
"""Columns of `study.csv` by those of `benchmark.csv`."""
COLUMNS = (
  *('model', 'stage', 'variant', 'quick', 'folds', 'seeds', 'examples'),
  *('top1', 'top1_deviation', 'top1_deviation_of_seeds', 'top1_pooled', 'published'),
  *('precision', 'recall', 'f1', *_SPEEDS),
)
QUICK = 'QUICK VERSION: NO RESULT'


@dataclasses.dataclass(frozen=True)
class Picture:
  """A study's picture.

  Attributes:
    title: heads it.
    label: what it shows, in words.
    svg: itself.
  """

  title: str
  label: str
  svg: str


def record(one: Measured, quick: bool = False) -> dict[str, str | int | float | bool | None]:
  """A row of `study.csv`: fractions, means over the runs; MB, ms of one thread in LiteRT.

  None stands for what there is not: a deviation of one value, the speed of what was not measured.
  """
  found: dict[str, Any] = {
    'model': one.row,
    'stage': one.stage,
    'variant': one.variant,
    'quick': quick,
    'folds': len(one.metrics),
    'seeds': one.seeds,
    'examples': one.examples,
    'top1': one.mean('top1'),
    'top1_deviation': one.deviation('top1'),
    'top1_deviation_of_seeds': one.deviation_of_seeds('top1'),
    'top1_pooled': one.pooled,
    'published': one.published,
    **{name: one.mean(name) for name in ('precision', 'recall', 'f1')},
    **{name: one.speed(column) for name, column in _SPEEDS.items()},
  }
  return {n: None if isinstance(x, float) and math.isnan(x) else x for n, x in found.items()}


def _percent(value: float) -> str:
  return f'{100 * value:.1f}'


_COLUMNS: dict[str, tuple[str, Callable[[Any], str]]] = {
  'model': ('Model', str),
  'variant': ('Variant', str),
  'top1': ('Top-1', _percent),
  'top1_deviation': ('Std', _percent),
  'top1_deviation_of_seeds': ('Std of seeds', _percent),
  'published': ('Published', lambda value: f'{100 * value:.2f}'),
  'precision': ('P', _percent),
  'recall': ('R', _percent),
  'f1': ('F1', _percent),
  'size_mb': ('MB', '{:.2f}'.format),
  'gflops': ('GFLOPs', '{:.3g}'.format),
  'ms_per_frame': ('ms/frame', '{:.3g}'.format),
  'frames_per_s': ('FPS', '{:.0f}'.format),
}


def write(
  workdir: Path,
  measured: Sequence[Measured],
  picture: Picture | None,
  facts: Mapping[str, str],
  *,
  quick: bool = False,
) -> str:
  """Writes the three files.

  Args:
    workdir: where to.
    measured: in the order of the table.
    picture: of the study; None if there is nothing to show.
    facts: lines of the page's header, such as the command; `study` is its title.
    quick: whether all of it says that it is no result.

  Returns:
    The table for the terminal.

  Raises:
    UserError: a file cannot be written.
  """
  rows = [record(one, quick) for one in measured]
  text = io.StringIO()
  writer = csv.DictWriter(text, COLUMNS, lineterminator='\n')
  writer.writeheader()
  writer.writerows(rows)
  write_text(workdir / 'study.csv', text.getvalue())
  by_run = [row | {'runs': _runs(one)} for row, one in zip(rows, measured, strict=True)]
  content = {'quick': quick, 'facts': dict(facts), 'rows': by_run}
  write_text(workdir / 'study.json', json.dumps(content, indent=2))
  # A column that no row has a value for is left out of what people read.
  shown = [n for n in _COLUMNS if any(row[n] is not None for row in rows)]
  heads = [_COLUMNS[n][0] for n in shown]
  lines = [['-' if row[n] is None else _COLUMNS[n][1](row[n]) for n in shown] for row in rows]
  loader = jinja2.FileSystemLoader(Path(__file__).parent)
  environment = jinja2.Environment(
    loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True
  )
  page = environment.get_template('study.html.jinja').render(
    facts=facts,
    heads=heads,
    lines=lines,
    runtime=RUNTIME,
    speed='size_mb' in shown,
    quick=QUICK if quick else '',
    picture=picture,
    svg=Markup(picture.svg) if picture else '',
  )
  write_text(workdir / 'study.html', page)
  if not rows:
    return 'no row is complete'
  return '\n'.join([*[QUICK] * quick, aligned([heads, *lines], left=2)])


def _runs(one: Measured) -> list[dict[str, Any]]:
  """The figures of every run."""
  return [
    {'split': split, 'seed': seed, **metrics}
    for split, seeds in one.metrics.items()
    for seed, metrics in seeds.items()
  ]
