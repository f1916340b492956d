"""The table of robustness: as CSV, JSON, page and text."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from har.data.corrupt.suite import SHIFT, Case
from har.errors import UserError
from har.evaluate import robustness_figure
from har.evaluate.files import aligned, write_text

NAME = 'robustness'
HARMLESS = 0.02
"""What a figure may lose by a shift that is harmless."""

Figures = Mapping[str, float | None]
Against = Mapping[str, Mapping[str, Any]]
"""Of trained fusions, by stage: `fixed`, examples that they alone get right, `broke`, those that
the product of single models alone does, and `p`, see `har.metrics.classification.sign_test`."""


def table(
  clean: Figures,
  against: Against,
  rows: Sequence[tuple[Case, Figures, Against]],
  facts: Mapping[str, Any],
) -> dict[str, Any]:
  """What `robustness.json` holds.

  Args:
    clean: the figure of each column on the recordings as they are; None where there is none.
    against: of these, the trained fusions against the product.
    rows: both under each corruption.
    facts: what else is to be told.

  Returns:
    `facts`, `columns`, `clean`, `against_product`, `rows` (`group`, `corruption`, `field`,
    `severity`, `unit`, `values` by column and `against_product`), `drops` (by group and column, the
    mean over the group's rows that have a figure of what is lost) and `harmless_shift` (see
    `harmless_shift`).
  """
  plain: list[dict[str, Any]] = [
    {
      'group': case.group,
      'corruption': case.what,
      'field': case.field,
      'severity': case.severity,
      'unit': case.unit,
      'severity_text': case.severity_text,
      'values': {name: values.get(name) for name in clean},
      'against_product': dict(tests),
    }
    for case, values, tests in rows
  ]
  groups = dict.fromkeys(case.group for case, *_ in rows)
  drops = {group: {name: _drop(clean, plain, group, name) for name in clean} for group in groups}
  found = {**facts, 'columns': list(clean), 'clean': dict(clean), 'against_product': dict(against)}
  found |= {'rows': plain, 'drops': drops}
  return found | {'harmless_shift': {name: harmless_shift(found, name) for name in clean}}


def _drop(clean: Figures, rows: Sequence[Mapping[str, Any]], group: str, name: str) -> float | None:
  before = clean[name]
  lost = [
    before - row['values'][name]
    for row in rows
    if row['group'] == group and row['values'][name] is not None and before is not None
  ]
  return sum(lost) / len(lost) if lost else None


def harmless_shift(found: Mapping[str, Any], name: str) -> float | None:
  """Seconds that a column loses at most `HARMLESS` by, either way, and by less; None if unknown.

  0 if the smallest that was tried does harm.
  """
  by_size: dict[float, list[float]] = {}
  for row in found['rows']:
    value, before = row['values'].get(name), found['clean'].get(name)
    if row['group'] == SHIFT and value is not None and before is not None:
      by_size.setdefault(abs(row['severity']), []).append(before - value)
  if not by_size:
    return None
  most = 0.0
  for size in sorted(by_size):
    if max(by_size[size]) > HARMLESS + 1e-9:
      break
    most = size
  return most


def write(folder: Path, found: Mapping[str, Any]) -> list[Path]:
  """Writes the three files, and prints the table.

  Raises:
    UserError: they cannot be written.
  """
  buffer = io.StringIO()
  csv.writer(buffer, lineterminator='\n').writerows(_csv_rows(found))
  text = json.dumps(found, indent=1, ensure_ascii=False, allow_nan=False)
  written = [
    write_text(folder / f'{NAME}.csv', buffer.getvalue()),
    write_text(folder / f'{NAME}.json', f'{text}\n'),
    write_text(folder / f'{NAME}.html', _page(found)),
  ]
  print(text_table(found))
  print(f'robustness: {written[-1]}')
  return written


def read(folder: Path) -> dict[str, Any] | None:
  """What `robustness.json` holds; None if there is none.

  Raises:
    UserError: the file is damaged.
  """
  path = folder / f'{NAME}.json'
  if not path.exists():
    return None
  try:
    return dict(json.loads(path.read_text(encoding='utf-8')))
  except (OSError, ValueError, TypeError) as error:
    raise UserError(f'cannot read {path}: {error}: run --mode=robustness again') from error


def text_table(found: Mapping[str, Any]) -> str:
  """The table for the terminal, in per cent, with the mean drop of each group below."""
  tested = list(found['against_product'])
  heads = [f'{name} against product' for name in tested]
  lines = [['Group', 'Corruption', 'Severity', *found['columns'], *heads]]
  first = {'group': 'clean', 'corruption': '', 'severity_text': '', 'values': found['clean']}
  for row in ({**first, 'against_product': found['against_product']}, *found['rows']):
    cells = _cells(row['values'], found['columns'])
    tests = [against(row['against_product'].get(name)) for name in tested]
    lines.append([row['group'], row['corruption'], row['severity_text'], *cells, *tests])
  lines += [
    [group, 'mean drop', '', *_cells(drops, found['columns']), *([''] * len(tested))]
    for group, drops in found['drops'].items()
  ]
  return aligned(lines, left=3)


def percent(value: float | None) -> str:
  """A figure in per cent; a dash where there is none."""
  return '-' if value is None else f'{100 * value:.1f}'


def against(test: Mapping[str, Any] | None) -> str:
  """A test in few words; a dash where there is none."""
  if test is None:
    return '-'
  p = '< 0.0001' if test['p'] < 1e-4 else f'= {test["p"]:.4f}'
  return f'+{test["fixed"]} -{test["broke"]}, p {p}'


def _cells(values: Mapping[str, float | None], columns: Sequence[str]) -> list[str]:
  return [percent(values[name]) for name in columns]


def _csv_rows(found: Mapping[str, Any]) -> list[list[Any]]:
  """Rows of the CSV file, head first; empty where there is no figure."""
  columns = found['columns']

  def cells(values: Mapping[str, float | None]) -> list[Any]:
    return ['' if values[n] is None else round(float(values[n] or 0), 6) for n in columns]

  tested = [(name, key) for name in found['against_product'] for key in ('fixed', 'broke', 'p')]

  def tests(given: Against) -> list[Any]:
    return [given[name][key] if name in given else '' for name, key in tested]

  heads = [f'{name}_{key}' for name, key in tested]
  rows = [['group', 'corruption', 'field', 'severity', 'unit', 'seed', *columns, *heads]]
  clean = [*cells(found['clean']), *tests(found['against_product'])]
  rows.append(['clean', '', '', '', '', found['seed'], *clean])
  for row in found['rows']:
    names = ('group', 'corruption', 'field', 'severity', 'unit')
    figures = [*cells(row['values']), *tests(row['against_product'])]
    rows.append([*(row[name] for name in names), found['seed'], *figures])
  return rows


def _page(found: Mapping[str, Any]) -> str:
  environment = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=jinja2.StrictUndefined,
  )
  environment.filters['percent'] = percent
  environment.filters['against'] = against
  titles = {'top1': 'Top-1', 'auroc': 'AUROC'}
  return environment.get_template(f'{NAME}.html.jinja').render(
    found=found,
    titles=titles,
    figure=Markup(robustness_figure.heat_map(found)),
    harmless=HARMLESS,
  )
