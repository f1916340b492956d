"""The picture of a timeline: probabilities of classes, scores, and events over time."""

import io
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from har.evaluate import drawing
from har.stream.events import Event
from har.stream.session import Session
from har.stream.windows import Decision

# A picture follows no page's colours.
_INK, _MUTED, _GRID, _ALARM, _PAPER = '#1c2733', '#5b6670', '#c9d1d8', '#d6455d', '#ffffff'
_COLOURS = {
  'text.color': _INK,
  'axes.labelcolor': _MUTED,
  'axes.titlecolor': _INK,
  'axes.edgecolor': _GRID,
  'xtick.color': _GRID,
  'ytick.color': _GRID,
  'xtick.labelcolor': _MUTED,
  'ytick.labelcolor': _INK,
  'figure.facecolor': _PAPER,
}
_WIDTH, _ROW, _GAP, _TOP, _BOTTOM, _RIGHT, _SCORE = 760, 18, 26, 34, 44, 20, 110


def draw(session: Session, decisions: Sequence[Decision], events: Sequence[Event]) -> bytes:
  """A PNG: a row of squares for each class, the score, and a bar for each event."""
  labels = drawing.labels(session.model.labels, session.alarms)
  scored = any(one.score is not None for one in decisions)
  classify = any(one.probabilities is not None for one in decisions)
  names = list(dict.fromkeys(one.name for one in events)) or ['no event']
  heights = [_ROW * len(labels)] * classify + [_SCORE] * scored + [_ROW * len(names)]
  left = int(drawing.text_width([*(labels if classify else []), *names]))
  style: Any = drawing.STYLE | _COLOURS
  with matplotlib.rc_context(style):
    figure = Figure()
    width, whole = left + _WIDTH + _RIGHT, sum(heights) + _GAP * (len(heights) - 1) + _TOP + _BOTTOM
    figure.set_size_inches(width / 72, whole / 72)
    panels, top = [], _TOP
    for height in heights:
      box = (left / width, 1 - (top + height) / whole, _WIDTH / width, height / whole)
      panels.append(figure.add_axes(box))
      top += height + _GAP
    for ax in panels:
      drawing.bare(ax)
      ax.set_xlim(0, max(one.end for one in decisions))
    if classify:
      _classes(panels[0], session, labels, decisions)
    if scored:
      _scores(panels[-2], session, decisions)
    _events(panels[-1], names, events)
    panels[0].set_title(f'{session.model.about["dataset"]}, {session.model.about["stage"]}')
    panels[-1].set_xlabel('seconds')
    buffer = io.BytesIO()
    figure.savefig(buffer, format='png', dpi=144, metadata={'Software': None})
  return buffer.getvalue()


def _classes(ax, session: Session, labels: Sequence[str], decisions: Sequence[Decision]) -> None:
  """Each class's probability, around the middle of its windows."""
  unknown = np.full(len(labels), np.nan)
  values = [unknown if one.probabilities is None else one.probabilities for one in decisions]
  middles, half = [(one.start + one.end) / 2 for one in decisions], session.windows.step / 2
  edges = [*(at - half for at in middles), middles[-1] + half]
  colours = matplotlib.colors.LinearSegmentedColormap.from_list('har', [_PAPER, '#3b78d8'])
  rows = np.arange(len(labels) + 1) - 0.5
  ax.pcolormesh(edges, rows, np.array(values).T, cmap=colours, vmin=0, vmax=1)
  ax.set_ylim(len(labels) - 0.5, -0.5)
  ax.set_yticks(range(len(labels)), labels)
  for tick, name in zip(ax.get_yticklabels(), session.model.labels, strict=True):
    tick.set_color(_ALARM if name in session.alarms else _INK)


def _scores(ax, session: Session, decisions: Sequence[Decision]) -> None:
  known = [one for one in decisions if one.score is not None]
  ax.plot([(one.start + one.end) / 2 for one in known], [one.score for one in known], color=_INK)
  if session.threshold:
    ax.axhline(session.threshold, color=_ALARM, linewidth=1)
  ax.set_ylim(bottom=0)
  ax.set_title('score', loc='left', fontsize=11)


def _events(ax, names: Sequence[str], events: Sequence[Event]) -> None:
  for one in events:
    at = names.index(one.name)
    ax.barh(at, one.end - one.start, left=one.start, height=0.7, color=_ALARM)
  ax.set_ylim(len(names) - 0.5, -0.5)
  ax.set_yticks(range(len(names)), names)
