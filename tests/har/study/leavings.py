"""Commands of a study that only leave behind what real ones do."""

import csv
import json

from har.evaluate import results
from har.export import benchmark
from har.study.launcher import Ended, Launcher


def metrics(top1, examples):
  return {
    **{'top1': top1, 'top5': 1.0, 'f1': top1 - 0.1, 'precision': top1, 'recall': 0.5},
    'examples': examples,
  }


def leave(folder, mode, top1, examples, seed=0):
  """What `launch.py` leaves in a workdir."""
  folder.mkdir(parents=True, exist_ok=True)
  (folder / 'config.json').write_text(json.dumps({'seed': seed}))
  if mode == 'benchmark':
    _benchmark(folder)
    return
  forms = {'float32': top1, 'int8': top1 - 0.05}
  if mode == 'compress':
    forms |= {'slim': top1 - 0.02, 'slim_int8': top1 - 0.04, 'w4a8': top1 - 0.3}
  table_of = {
    **{'dataset': 'toy', 'protocol': 'folds', 'seed': seed, 'seconds': {'rgb': 1.0}},
    'stages': {'rgb': {form: metrics(value, examples) for form, value in forms.items()}},
    'parameters': {'rgb': 10},
    'bytes': {'rgb': {form: 4 for form in forms}},
  }
  results.write_results(folder, table_of)


def _benchmark(folder):
  rows = []
  for form, factor in (('float32', 1.0), ('int8', 0.25)):
    for runtime in ('jax', 'litert'):
      row = dict.fromkeys(benchmark.COLUMNS, 4 * factor)
      rows.append(row | {'stage': 'rgb', 'variant': form, 'runtime': runtime, 'threads': 1})
  with open(folder / 'benchmark.csv', 'w', newline='') as file:
    writer = csv.DictWriter(file, benchmark.COLUMNS)
    writer.writeheader()
    writer.writerows(rows)


class Pretended(Launcher):
  """Runs nothing; every command ends as `ends` says, well if it does not.

  Attributes:
    ran: row, seed, split and mode of each command.
    ends: how those commands end, by the same.
    flags: of the last command.
  """

  def __init__(self, root):
    super().__init__()
    self.root, self.ran, self.ends, self.environment = root, [], {}, {}

  def run(self, command, environment):
    self.environment = environment
    self.flags = dict(word.partition('=')[::2] for word in command[2:])
    folder = self.flags['--workdir']
    row, *_, split = folder.removeprefix(f'{self.root}/').removeprefix('quick/').split('/')
    seed, mode = int(self.flags['--config.seed']), self.flags['--mode']
    self.ran.append((row, seed, split, mode))
    if ended := self.ends.get(self.ran[-1]):
      return ended
    fold = int(split.removeprefix('fold_'))
    # By fold and seed; the second fold has fewer examples.
    top1 = {(1, 0): 0.8, (2, 0): 0.6, (1, 1): 0.7, (2, 1): 0.4}[fold, seed]
    leave(self.root / folder, mode, top1, {1: 30, 2: 10}[fold], seed)
    return Ended(0, ())
