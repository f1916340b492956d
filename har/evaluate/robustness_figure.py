"""The picture of robustness: what each corruption costs each stage, as a heat map."""

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np

from har.evaluate import drawing
from har.evaluate.drawing import GRID, INK, MUTED

_ROW, _COLUMN, _NAMES = 17, 74, 330
_WORST = 0.6
"""The drop with the darkest colour."""


def heat_map(found: Mapping[str, Any]) -> str:
  """Rows are corruptions, columns stages; a cell holds the figure, its colour says what is lost."""
  columns, rows = found['columns'], found['rows']
  with drawing.style():
    figure = drawing.figure()
    (ax,) = drawing.axes(
      figure,
      [(_NAMES, _COLUMN * len(columns))],
      top=34,
      height=_ROW * (len(rows) + 1),
      bottom=8,
      right=12,
    )
    ax.set_xlim(0, len(columns))
    ax.set_ylim(len(rows) + 1, 0)
    ax.set_xticks(np.arange(len(columns)) + 0.5, columns)
    ax.set_yticks(np.arange(len(rows) + 1) + 0.5, ['clean', *map(_label, rows)])
    ax.xaxis.tick_top()
    for column, name in enumerate(columns):
      clean = found['clean'][name]
      for row, value in enumerate([clean, *(r['values'][name] for r in rows)]):
        _cell(ax, column, row, value, clean)
    for i, (before, after) in enumerate(itertools.pairwise(rows)):
      if before['group'] != after['group']:
        ax.axhline(i + 2, color=MUTED, linewidth=1)
    ax.axhline(1, color=MUTED, linewidth=1)
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0, labelsize=10)
    return drawing.svg(figure)


def _cell(ax: Any, column: int, row: int, value: float | None, clean: float | None) -> None:
  if value is None or clean is None:
    ax.text(column + 0.5, row + 0.5, '\N{EN DASH}', ha='center', va='center', color=GRID)
    return
  lost = clean - value
  # Drops are red and gains blue: both are seen by who tells no red from green.
  colour, strength = ('#d6455d', lost) if lost > 0 else ('#3b78d8', -lost)
  alpha = min(strength / _WORST, 1) * 0.75
  ax.axhspan(
    row,
    row + 1,
    column / ax.get_xlim()[1],
    (column + 1) / ax.get_xlim()[1],
    color=colour,
    alpha=alpha,
    linewidth=0,
  )
  ax.text(
    column + 0.5, row + 0.5, f'{100 * value:.1f}', ha='center', va='center', color=INK, fontsize=10
  )


def _label(row: Mapping[str, Any]) -> str:
  own = row['group'] if row['group'] != row['corruption'] else ''
  what = row['corruption']
  return ' '.join(filter(None, (f'{own}:' if own else '', what, row['severity_text'])))
