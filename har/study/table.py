"""What a study writes: `study.csv`, `study.json` and the page `study.html`."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import jinja2
from markupsafe import Markup

from har.evaluate import figures
from har.evaluate.files import aligned, write_text
from har.study.grid import RUNTIME, Measured

COLUMNS = (
  *('model', 'stage', 'variant', 'folds', 'examples', 'top1', 'top1_deviation', 'top1_pooled'),
  *(
    'precision',
    'recall',
    'f1',
    'size_mb',
    'gflops',
    'ms_per_frame',
    'frames_per_s',
    'ms_per_clip',
  ),
)
_HEADS = ('Model', 'Variant', 'Top-1', 'Std', 'P', 'R', 'F1', 'MB', 'GFLOPs', 'ms/frame', 'FPS')


def record(one: Measured) -> dict[str, str | int | float]:
  """A row of `study.csv`: fractions, means over the folds; MB, ms of one thread in LiteRT."""
  return {
    'model': one.row,
    'stage': one.stage,
    'variant': one.variant,
    'folds': len(one.metrics),
    'examples': int(sum(m['examples'] for m in one.metrics)),
    'top1': one.mean('top1'),
    'top1_deviation': one.deviation('top1'),
    'top1_pooled': one.pooled,
    **{name: one.mean(name) for name in ('precision', 'recall', 'f1')},
    'size_mb': one.speed('size_mb'),
    'gflops': one.speed('gflops'),
    'ms_per_frame': one.speed('latency_ms_per_frame'),
    'frames_per_s': one.speed('frames_per_s'),
    'ms_per_clip': one.speed('latency_ms_median'),
  }


def _cells(row: Mapping) -> tuple[str, ...]:
  return (
    row['model'],
    row['variant'],
    *(f'{100 * row[n]:.1f}' for n in ('top1', 'top1_deviation', 'precision', 'recall', 'f1')),
    f'{row["size_mb"]:.2f}',
    f'{row["gflops"]:.3g}',
    f'{row["ms_per_frame"]:.3g}',
    f'{row["frames_per_s"]:.0f}',
  )


def write(workdir: Path, measured: Sequence[Measured], facts: Mapping[str, str]) -> str:
  """Writes the three files.

  Args:
    workdir: where to.
    measured: in the order of the table.
    facts: lines of the page's header, such as the command.

  Returns:
    The table for the terminal.

  Raises:
    UserError: a file cannot be written.
  """
  rows = [record(one) for one in measured]
  text = io.StringIO()
  writer = csv.DictWriter(text, COLUMNS, lineterminator='\n')
  writer.writeheader()
  writer.writerows(rows)
  write_text(workdir / 'study.csv', text.getvalue())
  by_fold = [
    row | {'by_fold': [dict(m) for m in one.metrics]}
    for row, one in zip(rows, measured, strict=True)
  ]
  write_text(workdir / 'study.json', json.dumps({'facts': dict(facts), 'rows': by_fold}, indent=2))
  lines = [_cells(row) for row in rows]
  points = [(m.row, m.variant, m.speed('latency_ms_per_frame'), m.mean('top1')) for m in measured]
  loader = jinja2.FileSystemLoader(Path(__file__).parent)
  environment = jinja2.Environment(
    loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True
  )
  page = environment.get_template('study.html.jinja').render(
    facts=facts,
    heads=_HEADS,
    lines=lines,
    runtime=RUNTIME,
    figure=Markup(figures.accuracy_against_latency(points, 'median latency of one frame')),
  )
  write_text(workdir / 'study.html', page)
  return aligned([_HEADS, *lines], left=2)
