"""What the commands of this package have in common."""

import argparse
import contextlib
import sys
from collections.abc import Iterator

from data_builders.stamps import UNITS
from har.errors import UserError
from har.stream.options import NUMBERS, Options, of_flags


def parser(text: str, program: str) -> argparse.ArgumentParser:
  """Options of the model, of windows and of events."""
  made = argparse.ArgumentParser(
    program, description=text, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  add = made.add_argument
  add('--model', required=True, help='an export folder, a stage in it, or a .tflite file')
  add('--variant', default='float32', help='of the exported file, such as int8')
  add('--stage', default='', help='where several stages read the same')
  add('--threads', type=int, default=1, help='of LiteRT')
  for name, (default, meaning) in NUMBERS.items():
    add(f'--{name}', type=float, default=default, help=meaning)
  add('--time_unit', choices=('', *UNITS), default='', help='of time stamps that do not say it')
  return made


def options(args: argparse.Namespace) -> Options:
  """Of windows and events."""
  return of_flags(vars(args), args.time_unit)


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
