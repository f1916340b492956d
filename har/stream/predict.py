"""A timeline of a recording, of any length.

python -m har.stream.predict --model=EXPORT --input=FILE[,FILE] [--output=DIR]

EXPORT is the folder `export` of a workdir, a stage's folder in it or a .tflite file; FILE is a
video, or IMU samples as CSV or MAT; a pair of them begins at the same instant. With --output=- no
file is written: what `timeline.json` holds is a line on standard output. No JAX is needed.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from har.errors import UserError
from har.stream import command, offset, recordings, result
from har.stream.events import Event
from har.stream.exported import Model, open_model
from har.stream.options import Options
from har.stream.session import Session
from har.stream.windows import Decision

Found = tuple[Session, list[Decision], list[Event], dict[str, Any]]
"""A session that has ended, what it decided, events that ended, and facts of the recording."""


def analyse(model: Model, paths: Sequence[str], options: Options) -> Found:
  """Goes through a recording.

  Args:
    model: opened.
    paths: of files, see `recordings.open_files`.
    options: of windows and events.

  Raises:
    UserError: a recording that the model does not take.
  """
  files = recordings.open_files(paths, model, rate=options.rate, time_unit=options.time_unit)
  session = Session(model, {one.source: one.rate for one in files}, options)
  notes = [note for one in files for note in one.notes]
  for note in notes:
    print(note, file=sys.stderr)
  motion = _motion(model, files, paths)
  decisions, events, found = [], [], []
  for item in recordings.merged(files):
    found += session.push(item)
    if motion is not None:
      motion.push(item)
  for one in found + session.end():
    decisions += [one.decision] if one.decision else []
    events += [event for what, event in one.events if what == 'ended']
  if not any(one.known for one in decisions):
    raise UserError(f'--input={",".join(paths)}: too little was recorded to say anything')
  facts: dict[str, Any] = {'inputs': [Path(path).name for path in paths], 'notes': notes}
  if motion is not None and (apart := motion.estimate()) is not None:
    # A model that is harmed by any shift at all is told of more than what cannot be measured.
    harmless = max(float(model.about.get('harmless_shift', offset.HARMLESS)), offset.FINEST)
    facts['offset'] = apart.plain(harmless)
    notes.append(apart.text(harmless))
    print(notes[-1], file=sys.stderr)
  return session, decisions, events, facts


def predict(model: Model, paths: Sequence[str], output: Path, options: Options) -> list[Path]:
  """Writes the timeline of a recording into a folder; see `analyse`.

  Returns:
    The files written.

  Raises:
    UserError: a recording that the model does not take, or a folder that cannot be written.
  """
  session, decisions, events, facts = analyse(model, paths, options)
  written = result.write(output, session, decisions, events, facts)
  print(f'{len(decisions)} windows, {len(events)} events: {", ".join(map(str, written))}')
  return written


def _motion(
  model: Model, files: Sequence[recordings.Recording], paths: Sequence[str]
) -> offset.Motion | None:
  """What takes the motion of a pair; None if there is none."""
  if {one.source for one in files} != {'imu', 'video'}:
    return None
  signal = recordings.Signal.of(model)
  assert signal is not None
  tables = sum(recordings.kind(path) == 'imu' for path in paths)
  return offset.Motion([unit for _, unit in signal.channels], tables)


def main(argv: Sequence[str] | None = None) -> int:
  """The command line; returns the exit status."""
  parser = command.parser(__doc__ or '', 'python -m har.stream.predict')
  parser.add_argument('--input', required=True, help='FILE, or a pair FILE,FILE')
  told = 'folder for timeline.{csv,json,png}, or -'
  parser.add_argument('--output', default='predictions', help=told)
  args = parser.parse_args(argv)
  with command.told():
    paths = command.files(args.input)
    given = {recordings.kind(path) for path in paths}
    model = open_model(args.model, args.variant, args.stage, given, args.threads)
    if args.output == '-':
      found = result.plain(*analyse(model, paths, command.options(args)))
      print(json.dumps(found, ensure_ascii=False))
    else:
      predict(model, paths, Path(args.output), command.options(args))
  return 0


if __name__ == '__main__':
  sys.exit(main())
