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
from har.study.measured import FLOAT, PARTS, RUNTIME, Measured
from har.study.paired import Outcome

_SPEEDS = {
  'size_mb': 'size_mb',
  'gflops': 'gflops',
  'ms_per_frame': 'latency_ms_per_frame',
  'frames_per_s': 'frames_per_s',
  'ms_per_clip': 'latency_ms_median',
}
"""Columns of `study.csv` by those of `benchmark.csv`."""
KINDS = {'product': 'the product', 'single': 'the best single', 'row': 'another row'}
"""What a row is tested against, see `har.study.row.Pair`, and its words."""
_PARTS = tuple(f'top1_{part}' for part in PARTS)
COLUMNS = (
  *('model', 'stage', 'variant', 'quick', 'at', 'folds', 'seeds', 'examples'),
  *('top1', 'top1_low', 'top1_high'),
  *('top1_deviation', 'top1_deviation_of_seeds', 'top1_pooled', 'published'),
  *('precision', 'recall', 'f1'),
  *_PARTS,
  *(f'{kind}{end}' for kind in KINDS for end in ('', '_difference', '_p')),
  *_SPEEDS,
)
TEST_HEADS = ['Row', 'Against', 'Examples', 'Fixed', 'Broke', 'Difference', 'p']
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


def record(
  one: Measured, quick: bool = False, tested: Sequence[Outcome] = ()
) -> dict[str, str | int | float | bool | None]:
  """A row of `study.csv`: fractions, means over the runs; MB, ms of one thread in LiteRT.

  None stands for what there is not: a deviation of one value, the speed of what was not measured.
  Of `tested` are taken those that test this row.
  """
  low, high = one.interval('top1')
  found: dict[str, Any] = {
    'model': one.row,
    'stage': one.stage,
    'variant': one.variant,
    'quick': quick,
    'at': one.at,
    'folds': len(one.metrics),
    'seeds': one.seeds,
    'examples': one.examples,
    'top1': one.mean('top1'),
    'top1_low': low,
    'top1_high': high,
    'top1_deviation': one.deviation('top1'),
    'top1_deviation_of_seeds': one.deviation_of_seeds('top1'),
    'top1_pooled': one.pooled,
    'published': one.published,
    **{name: one.mean(name) for name in ('precision', 'recall', 'f1', *_PARTS)},
    **{name: one.speed(column) for name, column in _SPEEDS.items()},
  }
  for kind in KINDS:
    found |= {kind: None, f'{kind}_difference': None, f'{kind}_p': None}
  for test in tested:
    if (test.row, test.stage, FLOAT) == (one.row, one.stage, one.variant):
      found[test.kind] = f'{test.other_row}/{test.other_stage}'
      found[f'{test.kind}_difference'], found[f'{test.kind}_p'] = test.difference, test.p
  return {n: None if isinstance(x, float) and math.isnan(x) else x for n, x in found.items()}


def _percent(value: float) -> str:
  return f'{100 * value:.1f}'


_COLUMNS: dict[str, tuple[str, Callable[[Any], str]]] = {
  'model': ('Model', str),
  'stage': ('Stage', str),
  'variant': ('Variant', str),
  'top1': ('Top-1', _percent),
  'top1_low': ('95% from', _percent),
  'top1_high': ('to', _percent),
  'top1_deviation': ('Std', _percent),
  'top1_deviation_of_seeds': ('Std of seeds', _percent),
  'top1_hidden': ('Hidden', _percent),
  'top1_others': ('Others', _percent),
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
  tested: Sequence[Outcome],
  picture: Picture | None,
  facts: Mapping[str, str],
  *,
  quick: bool = False,
) -> str:
  """Writes the three files.

  Args:
    workdir: where to.
    measured: in the order of the table.
    tested: pairs of them.
    picture: of the study; None if there is nothing to show.
    facts: lines of the page's header, such as the command; `study` is its title.
    quick: whether all of it says that it is no result.

  Returns:
    The table for the terminal.

  Raises:
    UserError: a file cannot be written.
  """
  rows = [record(one, quick, tested) for one in measured]
  text = io.StringIO()
  writer = csv.DictWriter(text, COLUMNS, lineterminator='\n')
  writer.writeheader()
  writer.writerows(rows)
  write_text(workdir / 'study.csv', text.getvalue())
  by_run = [row | {'runs': _runs(one)} for row, one in zip(rows, measured, strict=True)]
  tests = [one.plain() for one in tested]
  content = {'quick': quick, 'facts': dict(facts), 'rows': by_run, 'tests': tests}
  write_text(workdir / 'study.json', json.dumps(content, indent=2))
  heads, lines = _shown(rows)
  test_lines = [_test_line(one) for one in tested]
  page = _template().render(
    facts=facts,
    heads=heads,
    lines=lines,
    tests=test_lines,
    test_heads=TEST_HEADS,
    runtime=RUNTIME,
    speed=_COLUMNS['size_mb'][0] in heads,
    parts=_COLUMNS[_PARTS[0]][0] in heads,
    quick=QUICK if quick else '',
    picture=picture,
    svg=Markup(picture.svg) if picture else '',
  )
  write_text(workdir / 'study.html', page)
  if not rows:
    return 'no row is complete'
  texts = [aligned([heads, *lines], left=2)]
  if tested:
    texts += ['', aligned([TEST_HEADS, *test_lines], left=2)]
  return '\n'.join([*[QUICK] * quick, *texts])


def _shown(rows: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
  """Heads and lines for people: without columns that no row has a value for."""
  names = [n for n in _COLUMNS if any(row[n] is not None for row in rows)]
  if all(len({row['stage'] for row in rows if row['model'] == m}) == 1 for m in _models(rows)):
    names = [n for n in names if n != 'stage']
  lines = [['-' if row[n] is None else _COLUMNS[n][1](row[n]) for n in names] for row in rows]
  return [_COLUMNS[n][0] for n in names], lines


def _template() -> jinja2.Template:
  loader = jinja2.FileSystemLoader(Path(__file__).parent)
  environment = jinja2.Environment(
    loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True
  )
  return environment.get_template('study.html.jinja')


def _models(rows: Sequence[Mapping[str, Any]]) -> list[str]:
  return list(dict.fromkeys(row['model'] for row in rows))


def _test_line(one: Outcome) -> list[str]:
  """Of the table of tests."""
  p = '< 0.0001' if one.p < 1e-4 else f'{one.p:.4f}'
  sides = f'{one.row} {one.stage}', f'{one.other_row} {one.other_stage}'
  counts = [str(one.examples), str(one.fixed), str(one.broke)]
  return [*sides, *counts, f'{100 * one.difference:+.1f}', p]


def _runs(one: Measured) -> list[dict[str, Any]]:
  """The figures of every run."""
  return [
    {'split': split, 'seed': seed, **metrics}
    for split, seeds in one.metrics.items()
    for seed, metrics in seeds.items()
  ]
