"""The report's figures as SVG fragments that stand in an HTML page and take on its colours."""

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from har.evaluate import drawing
from har.evaluate.drawing import ALARM, GRID, INK, MUTED
from har.evaluate.files import file_size
from har.metrics.detection import Detections
from har.objectives.objective import Selection

RIGHT, WRONG = '#3b78d8', '#e0762f'
MOST_POINTS = 400


def learning_curves(stage: str, rows: Sequence[Mapping], selection: Selection) -> str:
  """Loss and the objective's figure against the epoch, training and validation.

  Args:
    stage: names the colour.
    rows: dicts with `step`, `epoch`, `split` ('train' or 'validation'), `loss` and the figure,
      either of which may be absent or None. Of rows with one step and split the last counts.
    selection: the figure; one to be maximised is a fraction.
  """
  with drawing.style():
    figure = drawing.figure()
    axes = drawing.axes(figure, [(60, 470), (640, 430)], top=30, height=210, bottom=46, right=10)
    corner = 'lower right' if selection.maximise else 'upper right'
    panels = (('loss', 'Loss', 'upper right'), (selection.name, selection.title, corner))
    for ax, (field, title, corner) in zip(axes, panels, strict=True):
      lines = {split: _series(rows, split, field) for split in ('train', 'validation')}
      for split, look in (('train', {'alpha': 0.45}), ('validation', {'linewidth': 2})):
        if lines[split][0].size:
          one = 'o' if lines[split][0].size == 1 else None
          ax.plot(*lines[split], color=drawing.colour(stage), label=split, marker=one, **look)
          ax.legend(loc=corner, labelcolor=MUTED)
      ax.set_title(title, loc='left')
      ax.set_xlabel('epoch')
      ax.grid(color=GRID, linewidth=0.7)
      ax.margins(x=0.02)
      drawing.bare(ax)
    if selection.maximise:
      axes[1].set_ylim(-0.02, 1.02)
      axes[1].yaxis.set_major_formatter(drawing.percent())
    return drawing.svg(figure)


def scores_by_class(stage: str, detections: Detections) -> str:
  """A detector's score of each example, a row of points per class, the highest medians on top."""
  scores, labels = detections.scores, detections.labels
  seen = sorted(set(labels.tolist()), key=lambda c: -np.median(scores[labels == c]))
  shown = [detections.class_names[c] for c in seen]
  names = drawing.labels(shown, detections.abnormal)
  left = drawing.text_width(names) + 14
  with drawing.style():
    figure = drawing.figure()
    height = 22.0 * len(seen)
    (ax,) = drawing.axes(figure, [(left, 1060 - left)], top=12, height=height, bottom=46, right=20)
    for row, label in enumerate(seen):
      own = scores[labels == label]
      ink = ALARM if shown[row] in detections.abnormal else drawing.colour(stage)
      ax.plot(own, np.full(len(own), row), 'o', color=ink, markersize=5, alpha=0.45)
      ax.plot([np.median(own)], [row], '|', color=INK, markersize=14, markeredgewidth=2)
    if (scores > 0).all():
      ax.set_xscale('log')
      for axis_format in (ax.xaxis.set_major_formatter, ax.xaxis.set_minor_formatter):
        axis_format(drawing.written('{:g}'.format))
    ax.set_ylim(len(seen) - 0.5, -0.5)
    ax.set_yticks(range(len(seen)), names, fontsize=10.5)
    ax.set_xlabel('score of an example; the bar is the class median')
    ax.grid(axis='x', color=GRID, linewidth=0.7)
    drawing.bare(ax)
    drawing.flag(ax.get_yticklabels(), shown, detections.abnormal)
    return drawing.svg(figure)


def signal(x: np.ndarray) -> str:
  """A recorded signal [T, C] against its samples, each run of three channels in a panel."""
  groups = [x[:, i : i + 3] for i in range(0, x.shape[1], 3)]
  with drawing.style():
    figure = drawing.figure()
    width = (1060 - 50 * len(groups)) / len(groups)
    spans = [(50 + i * (width + 50), width) for i in range(len(groups))]
    axes = drawing.axes(figure, spans, top=8, height=90, bottom=24, right=10)
    for ax, group in zip(axes, groups, strict=True):
      ax.plot(group, linewidth=1)
      ax.grid(color=GRID, linewidth=0.7)
      ax.margins(x=0.01)
      drawing.bare(ax)
    return drawing.svg(figure)


def confusion_matrix(counts: np.ndarray, class_names: Sequence[str], flagged: Iterable[str]) -> str:
  """[true, predicted] counts; a cell is as strong as its share of the true class's examples."""
  classes = len(class_names)
  cell = min(46.0, 650 / classes)
  size = 9.5 if cell < 30 else 12
  names = drawing.labels(class_names, flagged)
  margin = drawing.text_width(names) + 26
  with drawing.style():
    figure = drawing.figure()
    (ax,) = drawing.axes(
      figure, [(margin, cell * classes)], top=6, height=cell * classes, bottom=margin, right=8
    )
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    for true, predicted in zip(*np.nonzero(counts), strict=True):
      shade = RIGHT if true == predicted else WRONG
      opacity = 0.12 + 0.58 * shares[true, predicted]
      corner = (predicted - 0.5, true - 0.5)
      ax.add_patch(drawing.rectangle(corner, 1, 1, facecolor=shade, alpha=opacity, linewidth=0))
      count = str(counts[true, predicted])
      ax.text(predicted, true, count, ha='center', va='center_baseline', fontsize=size)
    ax.set_xlim(-0.5, classes - 0.5)
    ax.set_ylim(classes - 0.5, -0.5)
    ax.set_xticks(range(classes), names, rotation=90, fontsize=10.5)
    ax.set_yticks(range(classes), names, fontsize=10.5)
    ax.set_xticks(np.arange(classes + 1) - 0.5, minor=True)
    ax.set_yticks(np.arange(classes + 1) - 0.5, minor=True)
    ax.grid(which='minor', color=GRID, linewidth=0.6)
    ax.tick_params(which='both', length=0)
    ax.set_axisbelow(True)
    ax.set_xlabel('predicted class')
    ax.set_ylabel('true class')
    drawing.flag(ax.get_xticklabels() + ax.get_yticklabels(), class_names, flagged)
    return drawing.svg(figure)


def class_bars(
  f1: Mapping[str, np.ndarray], class_names: Sequence[str], flagged: Iterable[str]
) -> str:
  """Per-class F1 [C] of each stage, a column of horizontal bars per stage."""
  classes, names = len(class_names), drawing.labels(class_names, flagged)
  left, gap, pitch = drawing.text_width(names) + 14, 34, 19
  width = min(420.0, (1060 - left) / len(f1) - gap)
  with drawing.style():
    figure = drawing.figure()
    spans = [(left + i * (width + gap), width) for i in range(len(f1))]
    axes = drawing.axes(figure, spans, top=28, height=classes * pitch, bottom=12, right=gap)
    for ax, (stage, values) in zip(axes, f1.items(), strict=True):
      ax.barh(range(classes), np.ones(classes), height=0.66, color=GRID, alpha=0.45)
      ax.barh(range(classes), values, height=0.66, color=drawing.colour(stage), alpha=0.85)
      for place, value in enumerate(values):
        ax.text(1.02, place, f'{100 * value:.0f}', va='center_baseline', fontsize=10, color=MUTED)
      ax.set_title(f'{stage}, mean {100 * np.mean(values):.1f}', loc='left')
      ax.set_xlim(0, 1)
      ax.set_ylim(classes - 0.5, -0.5)
      ax.set_xticks([])
      ax.set_yticks(range(classes), names if ax is axes[0] else [''] * classes, fontsize=10.5)
      ax.tick_params(length=0)
      for spine in ax.spines.values():
        spine.set_visible(False)
    drawing.flag(axes[0].get_yticklabels(), class_names, flagged)
    return drawing.svg(figure)


def accuracy_against_size(
  points: Sequence[tuple[str, str, float, float]], label: str = 'size of the parameters'
) -> str:
  """Top-1 against the model's size.

  Args:
    points: (stage, variant, size in bytes, Top-1 in [0, 1]); what was quantised is joined to what
      it was made from.
    label: what the size is of.
  """
  return _accuracy_against(points, label, file_size)


def accuracy_against_latency(
  points: Sequence[tuple[str, str, float, float]], label: str = 'median latency of one example'
) -> str:
  """Top-1 against time.

  Args:
    points: (stage, variant, milliseconds, Top-1 in [0, 1]); joined likewise.
    label: what takes the time.
  """
  return _accuracy_against(points, label, lambda ms: f'{ms:.3g} ms')


def _accuracy_against(points, label: str, written: Callable[[float], str]) -> str:
  sizes = np.array([point[2] for point in points], np.float64)
  accuracies = 100 * np.array([point[3] for point in points])
  with drawing.style():
    figure = drawing.figure()
    height = max(290, 17 * len(points))  # room for the labels
    (ax,) = drawing.axes(figure, [(60, 890)], top=12, height=height, bottom=46, right=130)
    ax.set_xscale('log')
    spare = max(1.6, (sizes.max() / sizes.min()) ** 0.14)  # room for the labels
    ax.set_xlim(sizes.min() / spare, sizes.max() * 1.3)
    low = max(0.0, accuracies.min() - 6)
    ax.set_ylim(low, min(101.5, accuracies.max() + 4))
    place = {point[:2]: i for i, point in enumerate(points)}
    for (stage, variant), i in place.items():
      made_of = 'float32' if variant == 'int8' else variant.removesuffix('_int8')
      ends = [place.get((stage, made_of), i), i]
      ax.plot(sizes[ends], accuracies[ends], color=drawing.colour(stage), linewidth=1, alpha=0.5)
    for (stage, variant, *_), x, y in zip(points, sizes, accuracies, strict=True):
      shape = 'o' if variant == 'float32' else 's'
      ax.plot([x], [y], shape, color=drawing.colour(stage), markersize=8, clip_on=False)
    _label_points(ax, points, sizes, accuracies)
    ax.set_xlabel(f'{label} (logarithmic)')
    ax.set_ylabel('Top-1, %')
    ax.xaxis.set_major_formatter(drawing.written(written))
    ax.xaxis.set_minor_formatter(drawing.written(lambda _: ''))
    ax.set_xticks(_size_ticks(*ax.get_xlim()))
    ax.yaxis.set_major_locator(drawing.at_most(6))
    ax.grid(color=GRID, linewidth=0.7)
    drawing.bare(ax)
    return drawing.svg(figure)


def _series(rows: Sequence[Mapping], split: str, field: str) -> tuple[np.ndarray, np.ndarray]:
  last = {
    row['step']: (row['epoch'], row[field])
    for row in rows
    if row['split'] == split and row.get(field) is not None
  }
  points = np.array([last[step] for step in sorted(last)], np.float64).reshape(-1, 2)
  if len(points) > MOST_POINTS:  # means of equal runs of steps: what the eye would do
    points = np.array([part.mean(axis=0) for part in np.array_split(points, MOST_POINTS)])
  return points[:, 0], points[:, 1]


def _label_points(ax, points, x: np.ndarray, y: np.ndarray) -> None:
  """A label beside each point, pushed upwards where it would cover another or another's point.

  The float32 model is the largest of its stage, so its label stands right and the others' left, off
  the line that joins them.
  """
  spots = ax.transData.transform(np.stack([x, y], axis=1))
  # Left and right end, height, and how far off another label's height has to be.
  markers = [(spot[0] - 6, spot[0] + 6, spot[1], 11) for spot in spots]
  placed: list[tuple[float, float, float, int]] = []
  for i in np.argsort(y, kind='stable'):
    text = f'{points[i][0]} {points[i][1]}'
    side = 1 if points[i][1] == 'float32' else -1
    ends = sorted((spots[i][0] + side * 10, spots[i][0] + side * (10 + 6.5 * len(text))))
    height = spots[i][1]
    taken = placed + markers[:i] + markers[i + 1 :]
    for left, right, other, apart in sorted(taken, key=lambda box: box[2]):
      if left < ends[1] and ends[0] < right and abs(height - other) < apart:
        height = other + apart
    placed.append((ends[0], ends[1], height, 15))
    ax.annotate(
      text,
      (x[i], y[i]),
      xytext=(side * 10, height - spots[i][1]),
      textcoords='offset points',
      ha='left' if side > 0 else 'right',
      va='center_baseline',
    )


def _size_ticks(low: float, high: float) -> list[float]:
  steps = (1, 2, 5) if high / low < 3000 else (1,)
  ticks = (step * 10.0**power for power, step in itertools.product(range(-4, 13), steps))
  chosen = [tick for tick in ticks if low <= tick <= high]
  if len(chosen) < 3:  # hardly more than a factor of 2
    found = drawing.at_most(5).tick_values(low, high)
    chosen = [float(tick) for tick in found if low <= tick <= high]
  return chosen
