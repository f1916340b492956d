"""Times how quickly MMAct's clips are prepared, by one process and by several.

    python -m data_builders.mmact.benchmark --raw_dir=MMACT [--clips=24] [--workers=1,2]
    python -m data_builders.mmact.benchmark --manifest=clips.csv

Reads, decodes, shrinks and stores clips as `data_builders.mmact.prepare` does, in a temporary
folder: of the owner's files, or of generated ones in 1920x1080 (a simple picture, so quicker to
decode than a real one), a second long. Each round times every number of processes, one after the
other; the time in which processes start does not count. Writing the finished clips as a dataset,
which one process does, is not part of it.
"""

import pathlib
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence

import numpy as np
from absl import app, flags

from data_builders.mmact import generate, sources, workers
from har.errors import UserError

MODALITIES = ('imu', 'rgb')


def rate(seconds: Sequence[float], skipped: int) -> float:
  """Clips per second.

  Args:
    seconds: when each clip was finished, ascending.
    skipped: as many at the start do not count, at least 1: processes were starting.

  Raises:
    UserError: no clip is left.
  """
  if len(seconds) <= skipped:
    raise UserError(f'{len(seconds)} clips are too few to time; give more than {skipped}')
  return (len(seconds) - skipped) / (seconds[-1] - seconds[skipped - 1])


def table(measured: Mapping[int, Sequence[float]], cores: int) -> list[str]:
  """The report's lines.

  Args:
    measured: by number of processes, clips per second of each round.
    cores: of this machine.
  """
  lines = [f'{"processes":>9}{"clips/s":>9}{"min":>9}{"max":>9}{"a core":>9}']
  for count, values in measured.items():
    middle = float(np.median(values))
    each = middle / min(count, cores)
    lines.append(f'{count:9}{middle:9.2f}{min(values):9.2f}{max(values):9.2f}{each:9.2f}')
  return lines


def measure(
  raw_dir: pathlib.Path, scratch: pathlib.Path, clips: int, counts: Sequence[int], rounds: int
) -> dict[int, list[float]]:
  """Prepares the first clips of a tree again and again.

  Args:
    raw_dir: files in MMAct's layout.
    scratch: a folder for what is prepared.
    clips: how many.
    counts: numbers of processes.
    rounds: times that each is timed.

  Returns:
    By number of processes, clips per second of each round.

  Raises:
    UserError: there are too few clips, or one cannot be read.
  """
  # Here, since every worker process imports this module again, and does not need it.
  from data_builders.mmact import mmact_dataset_builder as mmact

  found = sources.find(raw_dir, scratch / 'archives', ['.csv', '.mp4'])
  jobs = mmact.plan(found, mmact.make_config(MODALITIES, 128))[:clips]
  measured: dict[int, list[float]] = {count: [] for count in counts}
  for _ in range(rounds):
    for count in counts:
      finished: list[float] = []
      with tempfile.TemporaryDirectory(dir=scratch) as work:
        for outcome in workers.run(jobs, pathlib.Path(work), count, lambda: None):
          finished.append(time.perf_counter())
          for fault in outcome.faults.values():
            raise UserError(fault)
      measured[count].append(rate(finished, max(2 * count, len(jobs) // 4)))
  return measured


def main(argv: list[str]) -> None:
  """Prints the report."""
  if len(argv) > 1:
    raise app.UsageError(f'unexpected argument {argv[1]!r}')
  values = flags.FLAGS
  try:
    if (values.raw_dir is None) == (values.manifest is None):
      raise UserError('give either --raw_dir or --manifest')
    if not all(count.isdecimal() and int(count) for count in values.workers):
      raise UserError(f'--workers={",".join(values.workers)}: must be numbers above 0')
    with tempfile.TemporaryDirectory() as scratch:
      raw, name = pathlib.Path(scratch, 'mmact'), 'generated, 1920x1080'
      if values.manifest is not None:
        generate.write_raw(
          raw, values.manifest, clips=values.clips, defects=False, size=(1080, 1920)
        )
      else:
        raw, name = pathlib.Path(values.raw_dir).expanduser(), values.raw_dir
      counts = [int(count) for count in values.workers]
      measured = measure(raw, pathlib.Path(scratch), values.clips, counts, values.rounds)
    print(f'{values.clips} clips ({name}), {workers.available()} cores')
    print('\n'.join(table(measured, workers.available())))
  except UserError as error:
    print(f'error: {error}', file=sys.stderr)
    sys.exit(2)


if __name__ == '__main__':
  # Defined here only, to keep them out of programs that import this module.
  flags.DEFINE_string('raw_dir', None, "Folder with the owner's files.")
  flags.DEFINE_string('manifest', None, 'CSV with the clips that there are, to generate files.')
  flags.DEFINE_integer('clips', 36, 'How many to prepare.', lower_bound=1)
  flags.DEFINE_integer('rounds', 3, 'Times that each is timed.', lower_bound=1)
  flags.DEFINE_list('workers', ['1', '2'], 'Numbers of processes.')
  app.run(main)
