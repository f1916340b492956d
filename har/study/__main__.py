"""Runs a study: python -m har.study NAME --dataset=D --workdir=W --raw_dir=R --data_dir=P."""

import pathlib
import platform
import shlex
import sys
import time

from absl import app, flags

from har.errors import UserError
from har.study import grid, table, video

STUDIES = {'video': video}

_DATASET = flags.DEFINE_string('dataset', None, 'A folder in data_builders.', required=True)
_WORKDIR = flags.DEFINE_string('workdir', None, 'Where to write; it continues.', required=True)
_RAW_DIR = flags.DEFINE_string('raw_dir', None, "The folder with the dataset's files.")
_DATA_DIR = flags.DEFINE_string('data_dir', None, 'Where prepared datasets are kept.')
_SEED = flags.DEFINE_integer('seed', 0, 'Of all runs.')
_ROWS = flags.DEFINE_list('rows', None, 'Names of the rows to run; all if not given.')


def main(argv: list[str]) -> int:
  """Runs what is left of the study; returns the exit status."""
  try:
    print(_run(argv[1:]))
  except UserError as error:
    print(f'error: {error}', file=sys.stderr)
    return 2
  return 0


def _run(names: list[str]) -> str:
  if len(names) != 1 or names[0] not in STUDIES:
    raise UserError(f'name one study: {", ".join(STUDIES)}; all else is a --flag=value')
  rows = STUDIES[names[0]].rows(_DATASET.value)
  known = {row.name: row for row in rows}
  if unknown := set(_ROWS.value or ()) - set(known):
    raise UserError(f'--rows: {", ".join(sorted(unknown))} is none of {", ".join(known)}')
  chosen = [known[name] for name in _ROWS.value or known]
  workdir, measured = pathlib.Path(_WORKDIR.value).expanduser(), []
  given = {'raw_dir': _RAW_DIR.value, 'data_dir': _DATA_DIR.value}
  passed = [f'--{name}={value}' for name, value in given.items() if value]
  passed.append(f'--config.seed={_SEED.value}')
  # The folds of a row differ in what is trained, not in what frozen parts give.
  passed.append(f'--config.runtime.cache_dir={workdir / "features"}')
  text, started = '', time.monotonic()
  for row in chosen:
    folders = grid.run(row, workdir, passed)
    measured += grid.collect(row, folders)
    facts = {
      'study': f'{names[0]} on {_DATASET.value}',
      'command': shlex.join(['python', '-m', 'har.study', *sys.argv[1:]]),
      'rows': f'{len(set(m.row for m in measured))} of {len(chosen)}',
      'seed': str(_SEED.value),
      'minutes': f'{(time.monotonic() - started) / 60:.0f} in this run',
      'machine': f'{platform.machine()}, {platform.system()}, Python {platform.python_version()}',
    }
    # After each row: hours of work are worth a look before the last one.
    text = table.write(workdir, measured, facts)
  return f'{text}\nstudy: {workdir / "study.html"}'


if __name__ == '__main__':
  app.run(main)
