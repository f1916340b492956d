"""Follows sources while they are recorded, and tells of events.

python -m har.stream --model=EXPORT --source=SOURCE[,SOURCE] [--log=FILE]

SOURCE is a video, CSV or MAT file, `camera` or `camera:/dev/video1`, an address such as rtsp://...,
or `-`: IMU samples on standard input, a line `seconds,x,y,z,...` each. Files are gone through as
fast as they can be unless --pace=real; what is live has its own pace, and of what cannot be
followed the oldest is dropped and counted. Events are told on standard output, a line of JSON each,
and appended to --log. No JAX is needed.
"""

import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from har.stream import command, follow, live, recordings
from har.stream.counters import Counters
from har.stream.exported import Model, open_model
from har.stream.log import EventLog
from har.stream.options import Options
from har.stream.recordings import Recording, Signal
from har.stream.session import Session


def open_sources(
  names: Sequence[str], model: Model, options: Options, counters: Counters
) -> list[tuple[Recording, bool]]:
  """Sources by their names, each with whether it is live.

  Raises:
    UserError: one cannot be opened, or is none that the model takes.
  """
  files = [name for name in names if not live.is_live(name)]
  found = [
    (one, False)
    for one in recordings.open_files(files, model, rate=options.rate, time_unit=options.time_unit)
  ]
  recorded = Signal.of(model)
  return found + [
    (live.source(name, recorded, counters), True) for name in names if live.is_live(name)
  ]


def main(argv: Sequence[str] | None = None) -> int:
  """The command line; returns the exit status."""
  parser = command.parser(__doc__ or '', 'python -m har.stream')
  add = parser.add_argument
  add('--source', required=True, help='a file, camera, address or -, or a pair of them')
  add('--log', default='', help='file that events are appended to, a line of JSON each')
  add('--pace', choices=('', 'real', 'fast'), default='', help='fast for files, real for others')
  add('--windows', action='store_true', help='tell what is said of every window')
  add('--counters', default='', help='file for the counters, written every 10 s and at the end')
  args = parser.parse_args(argv)
  stopped: list[int] = []
  for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda number, _: stopped.append(number))
  with command.told():
    names, counters, options = command.files(args.source), Counters(), command.options(args)
    given = {live.kind(n) if live.is_live(n) else recordings.kind(n) for n in names}
    model = open_model(args.model, args.variant, args.stage, given, args.threads)
    sources = open_sources(names, model, options, counters)
    real = args.pace == 'real' or (not args.pace and any(is_live for _, is_live in sources))
    rates = {one.source: one.rate for one, _ in sources}
    session = Session(model, rates, options, live=real)
    for note in (note for one, _ in sources for note in one.notes):
      print(note, file=sys.stderr)
    log = EventLog(args.log) if args.log else None
    if log is not None and log.cut:
      print(f'{args.log}: cut off {log.cut} bytes of a line that had no end', file=sys.stderr)
    report = Path(args.counters) if args.counters else None
    follower = follow.Follower(session, counters, log, args.windows, report)
    if real:
      arrivals = follow.at_their_pace(sources, counters, lambda: bool(stopped))
    else:
      arrivals = follow.at_once([one for one, _ in sources], lambda: bool(stopped))
    follower.follow(arrivals)
  return 0


if __name__ == '__main__':
  sys.exit(main())
