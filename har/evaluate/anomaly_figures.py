"""Pictures of what stages detect, as SVG fragments of the report."""

from collections.abc import Mapping

import numpy as np

from har.evaluate import drawing
from har.evaluate.drawing import ALARM, GRID, MUTED

_BINS = 40


def distributions(
  stage: str, scores: np.ndarray, abnormal: np.ndarray, threshold: float | None
) -> str:
  """Histograms of the scores `[M]` of normal and abnormal recordings, and the threshold."""
  # A reconstruction's error spans orders of magnitude; log-odds are below 0 for the most part.
  logarithmic = bool((scores > 0).all())
  shown = np.log10(scores) if logarithmic else scores
  edges = np.histogram_bin_edges(shown, _BINS)
  with drawing.style():
    figure = drawing.figure()
    (ax,) = drawing.axes(figure, [(60, 620)], top=12, height=220, bottom=46, right=20)
    for own, ink, label in (
      (shown[~abnormal], drawing.colour(stage), 'normal'),
      (shown[abnormal], ALARM, 'abnormal'),
    ):
      ax.hist(own, edges, color=ink, alpha=0.5, label=f'{label}, {len(own)}')
    if threshold is not None and (threshold > 0 or not logarithmic):
      at = np.log10(threshold) if logarithmic else threshold
      ax.axvline(at, color=MUTED, linewidth=1.5, linestyle='--', label='threshold')
    ax.legend(labelcolor=MUTED)
    ax.set_xlabel('score, its power of ten' if logarithmic else 'score')
    ax.set_ylabel('recordings')
    ax.grid(color=GRID, linewidth=0.7)
    drawing.bare(ax)
    return drawing.svg(figure)


def receiver(stage: str, curves: Mapping[str, np.ndarray], abnormal: np.ndarray) -> str:
  """Sensitivity against the share of normal recordings with an alarm.

  Args:
    stage: names the colour of the first curves, its forms.
    curves: scores `[M]` by name; those of other names than the stage's variants are baselines.
    abnormal: bool `[M]`.
  """
  from sklearn import metrics  # Takes a second.

  with drawing.style():
    figure = drawing.figure()
    (ax,) = drawing.axes(figure, [(60, 330)], top=12, height=330, bottom=46, right=20)
    for i, (name, scores) in enumerate(curves.items()):
      false, found, _ = metrics.roc_curve(abnormal, scores)
      look = {'color': drawing.colour(stage), 'linestyle': '-' if not i else '--'}
      ax.plot(false, found, label=name, **look)
    ax.plot([0, 1], [0, 1], color=GRID)
    ax.legend(loc='lower right', labelcolor=MUTED)
    for axis in (ax.xaxis, ax.yaxis):
      axis.set_major_formatter(drawing.percent())
    ax.set_xlabel('normal recordings with an alarm')
    ax.set_ylabel('abnormal ones found')
    ax.grid(color=GRID, linewidth=0.7)
    drawing.bare(ax)
    return drawing.svg(figure)
