"""Runs a study: python -m har.study NAME --dataset=D --workdir=W --raw_dir=R --data_dir=P."""

import pathlib
import shlex
import sys

from absl import app, flags

from har.errors import UserError
from har.study import grid
from har.study.launcher import Launcher
from har.study.registry import STUDIES
from har.study.row import Asked
from har.study.run import Options, run

_DATASET = flags.DEFINE_string('dataset', None, 'A folder in data_builders.', required=True)
_MODALITIES = flags.DEFINE_string('modalities', None, 'Of a study that has none of its own.')
_WORKDIR = flags.DEFINE_string('workdir', None, 'Where to write; it continues.', required=True)
_RAW_DIR = flags.DEFINE_string('raw_dir', None, "The folder with the dataset's files.")
_DATA_DIR = flags.DEFINE_string('data_dir', None, 'Where prepared datasets are kept.')
_ALLOW_CORRUPT = flags.DEFINE_integer(
  'allow_corrupt', 0, 'As of launch.py, which is told it where files cannot be read.', lower_bound=0
)
_SEEDS = flags.DEFINE_integer('seeds', 1, 'Every run is made with seeds 0 to N - 1.', lower_bound=1)
_QUICK = flags.DEFINE_bool('quick', False, 'A small version, to see that all goes through.')
_ROWS = flags.DEFINE_list('rows', [], 'Names of the rows to run; all if not given.')


def main(argv: list[str]) -> int:
  """Runs what is left of the study; returns the exit status."""
  try:
    with Launcher() as launcher:
      text, failures = run(_options(argv[1:]), launcher)
  except grid.Stopped:
    print('stopped: what was run is saved; the same command continues', file=sys.stderr)
    return 0
  except UserError as error:
    print(f'error: {error}', file=sys.stderr)
    return 2
  print(text)
  for failure in failures:
    print(f'error: {failure}', file=sys.stderr)
  return 2 if failures else 0


def _options(names: list[str]) -> Options:
  if len(names) != 1 or names[0] not in STUDIES:
    raise UserError(f'name one study: {", ".join(STUDIES)}; all else is a --flag=value')
  given = {
    'raw_dir': _RAW_DIR.value,
    'data_dir': _DATA_DIR.value,
    'allow_corrupt': _ALLOW_CORRUPT.value,
  }
  return Options(
    study=names[0],
    asked=Asked(_DATASET.value, _MODALITIES.value, _QUICK.value),
    workdir=pathlib.Path(_WORKDIR.value).expanduser(),
    seeds=_SEEDS.value,
    rows=tuple(_ROWS.value),
    flags=tuple(f'--{name}={value}' for name, value in given.items() if value),
    command=shlex.join(['python', '-m', 'har.study', *sys.argv[1:]]),
  )


if __name__ == '__main__':
  app.run(main)
