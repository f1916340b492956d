"""The picture of a study over a number, such as the share of the training data: a line per row."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from har.evaluate import drawing
from har.evaluate.drawing import GRID, MUTED
from har.study.measured import Measured

BARS = 'bars are 95% intervals over the seeds'
_MARKERS = 'osD^vPX'
_APART = 0.012  # of the width of the picture, from one line's points to the next's


def lines(
  series: Mapping[str, Sequence[Measured]],
  colours: Mapping[str, str],
  *,
  label: str,
  ticks: Mapping[float, str],
  metric: str = 'top1',
  title: str = 'Top-1, %',
) -> str:
  """A metric against `Measured.at`, with the intervals over seeds where there are several.

  Args:
    series: by name, in the order of the legend; the points of each in any order.
    colours: of each, the stage's whose colour it has; the first that has it is drawn solid.
    label: of the horizontal axis.
    ticks: its labels.
    metric: of `results.json`, a fraction.
    title: of the vertical axis.
  """
  with drawing.style():
    figure = Figure(dpi=72)
    (ax,) = drawing.axes(figure, [(60, 740)], top=12, height=360, bottom=46, right=220)
    spread = max(ticks) - min(ticks) or 1
    seen: set[str] = set()
    for i, (name, found) in enumerate(series.items()):
      points = sorted((one.at, one) for one in found if one.at is not None)
      # Side by side, so that intervals do not hide one another.
      aside = (i - (len(series) - 1) / 2) * _APART * spread
      y = np.array([100 * one.mean(metric) for _, one in points])
      ends = 100 * np.array([one.interval(metric) for _, one in points])
      ax.errorbar(
        [at + aside for at, _ in points],
        y,
        yerr=np.nan_to_num(np.abs(ends.T - y)),
        color=drawing.colour(colours[name]),
        linestyle='--' if colours[name] in seen else '-',
        marker=_MARKERS[i % len(_MARKERS)],
        markersize=6,
        linewidth=1.8,
        elinewidth=1.2,
        capsize=3,
        label=name,
      )
      seen.add(colours[name])
    ax.set_xticks(list(ticks), list(ticks.values()))
    low, high = ax.get_ylim()
    ax.set_ylim(max(low, 0), min(high, 101))
    ax.yaxis.set_major_locator(MaxNLocator(7))
    ax.set_xlabel(label)
    ax.set_ylabel(title)
    ax.grid(axis='y', color=GRID, linewidth=0.7)
    drawing.bare(ax)
    ax.legend(loc='upper left', bbox_to_anchor=(1.01, 1), labelcolor=MUTED)
    return drawing.svg(figure)
