"""What `predict` writes: a timeline as CSV, JSON and picture."""

import csv
import io
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from har.errors import UserError
from har.evaluate.files import write_text
from har.stream.events import Event
from har.stream.session import Session
from har.stream.windows import Decision

NAMES = ('timeline.csv', 'timeline.json', 'timeline.png')


def write(
  folder: Path,
  session: Session,
  decisions: Sequence[Decision],
  events: Sequence[Event],
  facts: Mapping[str, Any],
) -> list[Path]:
  """Writes the timeline of a recording, each file whole or not at all.

  Args:
    folder: where; it is made if need be.
    session: that gave them.
    decisions: of all windows.
    events: that ended.
    facts: what else the JSON holds, such as the files.

  Returns:
    The files. Without Matplotlib the picture is not among them, and a line on stderr says so.

  Raises:
    UserError: they cannot be written.
  """
  rows = _table(session, decisions)
  buffer = io.StringIO()
  csv.writer(buffer, lineterminator='\n').writerows(rows)
  text = json.dumps(plain(session, decisions, events, facts), indent=1, ensure_ascii=False)
  written = [
    write_text(folder / NAMES[0], buffer.getvalue()),
    write_text(folder / NAMES[1], f'{text}\n'),
  ]
  picture = folder / NAMES[2]
  picture.unlink(missing_ok=True)  # Of another recording.
  try:
    from har.stream import picture as drawing
  except ImportError:
    print(f'{picture} is not drawn: it takes Matplotlib (pip install matplotlib)', file=sys.stderr)
    return written
  content = drawing.draw(session, decisions, events)
  try:
    picture.write_bytes(content)
  except OSError as e:
    raise UserError(f'cannot write {picture}: {e.strerror or e}') from e
  return [*written, picture]


def plain(
  session: Session,
  decisions: Sequence[Decision],
  events: Sequence[Event],
  facts: Mapping[str, Any],
) -> dict[str, Any]:
  """What `timeline.json` holds, see `write`."""
  head, *rows = _table(session, decisions)
  windows = [dict(zip(head, row, strict=True)) for row in rows]
  about = session.model.about
  return {
    **facts,
    **{name: about[name] for name in ('stage', 'variant', 'dataset', 'sha256') if name in about},
    'seconds': session.windows.seconds,
    'step': session.windows.step,
    'abnormal': list(session.alarms),
    'rule': vars(session.rule),
    'threshold': session.threshold or None,
    'windows': [{n: None if x == '' else x for n, x in one.items()} for one in windows],
    'events': [one.plain() for one in events],
  }


def _table(session: Session, decisions: Sequence[Decision]) -> list[list[Any]]:
  """Rows of the CSV file, head first; empty where nothing is known."""
  labels = session.model.labels
  classify = any(one.probabilities is not None for one in decisions)
  scored = any(one.score is not None for one in decisions)
  head = ['start', 'end']
  head += ['class', 'confidence'] if classify else []
  head += ['score', 'over_threshold'] if scored else []
  head += [f'p({name})' for name in labels] if classify else []
  rows: list[list[Any]] = [[*head, 'lacking']]
  for one in decisions:
    row: list[Any] = [round(one.start, 4), round(one.end, 4)]
    p = one.probabilities
    if classify:
      row += ['', ''] if p is None else [labels[int(p.argmax())], round(float(p.max()), 4)]
    if scored:
      row.append('' if one.score is None else round(one.score, 6))
      over = one.score is not None and session.threshold and one.score > session.threshold
      row.append(int(bool(over)) if session.threshold and one.score is not None else '')
    if classify:
      row += [''] * len(labels) if p is None else [round(float(x), 4) for x in p]
    rows.append([*row, ' '.join(one.lacking)])
  return rows
