"""What the commands of this package have in common."""

import argparse
import contextlib
import sys
from collections.abc import Iterator

from data_builders.stamps import UNITS
from har.errors import UserError
from har.stream.events import Rule
from har.stream.session import Options


def parser(text: str, program: str) -> argparse.ArgumentParser:
  """Options of the model, of windows and of events."""
  made = argparse.ArgumentParser(
    program, description=text, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  add, rule = made.add_argument, Rule()
  add('--model', required=True, help='an export folder, a stage in it, or a .tflite file')
  add('--variant', default='float32', help='of the exported file, such as int8')
  add('--stage', default='', help='where several stages read the same')
  add('--threads', type=int, default=1, help='of LiteRT')
  add('--seconds', type=float, default=0.0, help='length of a window; as in training if not given')
  add('--step', type=float, default=0.0, help='seconds from one window to the next')
  add('--rate', type=float, default=0.0, help='samples a second of an IMU file without time')
  add('--time_unit', choices=('', *UNITS), default='', help='of numeric time stamps')
  add('--on', type=float, default=rule.on, help='score at which an event begins')
  add('--off', type=float, default=rule.off, help='score below which it ends')
  add('--least', type=float, default=rule.least, help='seconds that an event must last')
  add('--cool_down', type=float, default=rule.cool_down, help='seconds between two events')
  add('--threshold', type=float, default=0.0, help='of a score; that of the export if not given')
  return made


def options(args: argparse.Namespace) -> Options:
  """Of windows and events."""
  rule = Rule(args.on, args.off, args.least, args.cool_down)
  return Options(args.seconds, args.step, rule, args.threshold)


def files(text: str) -> list[str]:
  """Names parted by commas."""
  return [name for name in text.split(',') if name]


@contextlib.contextmanager
def told() -> Iterator[None]:
  """Ends the process with a line and exit status 2 on a mistake of the user's."""
  try:
    yield
  except UserError as e:
    print('error:', ' '.join(str(e).split()), file=sys.stderr)
    sys.exit(2)
