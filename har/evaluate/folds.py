"""One experiment on each of its folds in turn, and their summary: mean and deviation.

    python -m har.evaluate.folds --workdir=runs/weda --config=configs/weda_fall.py --raw_dir=FOLDER

Every flag but `--workdir` goes to `launch.py` as it is; fold k is in WORKDIR/fold_k. The same
command continues what was stopped. `--config.dataset.folds=10` has ten folds in place of five. With
`--config.dataset.protocol=official --config.dataset.folds=3` the folds are the first three of a
dataset's official splits, and with `fractions` or `by_clip` three draws.
"""

import pathlib
import subprocess
import sys
from collections.abc import Sequence

from har.errors import UserError
from har.evaluate import summary

LAUNCH = pathlib.Path(__file__).parents[2] / 'launch.py'
_FOLDS = '--config.dataset.folds='
_PROTOCOL = '--config.dataset.protocol='
_NUMBERED = ('folds', 'official', 'fractions', 'by_clip')


def commands(flags: Sequence[str]) -> dict[pathlib.Path, list[str]]:
  """The command of each fold by its workdir.

  Args:
    flags: those of `launch.py`, each as `--flag=value`.

  Raises:
    UserError: no workdir, a number of folds that is none, a fold given, or a protocol without
      numbers.
  """
  workdirs = [flag.partition('=')[2] for flag in flags if flag.startswith('--workdir=')]
  counts = [flag.removeprefix(_FOLDS) for flag in flags if flag.startswith(_FOLDS)]
  if len(workdirs) != 1 or not workdirs[0]:
    raise UserError('--workdir=FOLDER is missing; the folds are written below it')
  if any(flag.startswith('--config.dataset.fold=') for flag in flags):
    raise UserError('--config.dataset.fold: all folds are run; leave it out')
  count = (counts or ['5'])[-1]
  if not count.isdecimal() or int(count) < 2:
    raise UserError(f'{_FOLDS}{count}: must be a whole number above 1')
  protocols = [f.removeprefix(_PROTOCOL) for f in flags if f.startswith(_PROTOCOL)] or ['folds']
  if protocols[-1] not in _NUMBERED:
    raise UserError(f'{_PROTOCOL}{protocols[-1]}: must be one of {", ".join(_NUMBERED)}')
  kept = [flag for flag in flags if not flag.startswith(('--workdir=', _PROTOCOL, _FOLDS))]
  found = {}
  for name, chosen in numbered(int(count), protocols[-1]).items():
    folder = pathlib.Path(workdirs[0]).expanduser() / name
    found[folder] = [sys.executable, str(LAUNCH), *kept, *chosen, f'--workdir={folder}']
  return found


def numbered(count: int, protocol: str = 'folds') -> dict[str, tuple[str, ...]]:
  """The flags of each fold, by its name.

  Args:
    count: of folds, or of the first official splits or draws.
    protocol: folds, official, fractions or by_clip.
  """
  whole = (f'{_FOLDS}{count}',) if protocol == 'folds' else ()
  return {
    f'fold_{fold}': (f'{_PROTOCOL}{protocol}', f'--config.dataset.fold={fold}', *whole)
    for fold in range(1, count + 1)
  }


def main(flags: Sequence[str]) -> int:
  """Runs the folds; returns the exit status, of the first that fails its own."""
  try:
    found = commands(flags)
    for folder, command in found.items():
      print(f'{folder}:', file=sys.stderr, flush=True)
      if status := subprocess.run(command, check=False).returncode:
        return status
    print(summary.summarise(list(found)))
  except UserError as error:
    print(f'error: {error}', file=sys.stderr)
    return 2
  return 0


if __name__ == '__main__':
  sys.exit(main(sys.argv[1:]))
