"""Configs of the repository with one wrong value each, drawn from the schema.

python tests/wrong_configs.py --count=200 --seed=0

runs launch.py with each, in one process, and counts those that do not end in one line and status 2
without a workdir. It is a config file, too: `--config=tests/wrong_configs.py:17,0` is number 17 of
seed 0.
"""

import argparse
import contextlib
import importlib
import io
import math
import pathlib
import random
import sys
import tempfile
import warnings
from unittest import mock

import ml_collections

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))

from har import ranges, schema
from har.options import Option

EXPERIMENTS = (
  ('demo', 'modalities=imu+rgb+skeleton'),
  ('demo_anomaly', None),
  ('mmact', None),
  ('utd_mhad', 'modalities=imu+depth'),
  ('utd_mhad', 'modalities=imu+skeleton,encoder=tcn'),
)


def wrong(kind: ranges.Kind) -> list:
  """Values of other types, out of range on both sides, not finite, empty."""
  types = [None, object(), b'x', {1, 2}]
  match kind:
    case ranges.Number():
      found = [*types, True, '5', 'five', '', (), (1,), {}, math.nan, math.inf, -math.inf]
      found += [kind.low - 1] * (kind.low > -ranges.LARGEST) + [kind.low] * kind.above
      found += [kind.high + 1] * (kind.high < ranges.LARGEST) + [kind.high] * kind.below
      return found + [1.5, 2.0] * kind.whole
    case ranges.Flag():
      return [*types, 0, 1, 1.0, 'true', '', ()]
    case ranges.Choice():
      return [*types, '', kind.known[0] + 'x', kind.known[-1].upper() + ' ', 0, True, kind.known]
    case ranges.Text():
      return [*types, '', '  ', 5, 1.5, False, (), ('x',)]
    case ranges.Many():
      one = right(kind.each, random.Random(0))
      found = [*types, 5, True, math.nan, 'text', {}] + [(one, x) for x in wrong(kind.each)]
      return found + [()] * bool(kind.least) + [(one, one)] * kind.distinct
    case ranges.Each():
      whole = right(kind, random.Random(0))
      return [*types, (), (*whole, 1), whole[:-1], 'ab'] + [
        (*whole[:i], x, *whole[i + 1 :]) for i, each in enumerate(kind.kinds) for x in wrong(each)
      ]
    case ranges.AnyOf():
      sets = [wrong(each) for each in kind.kinds]
      shared = [x for x in sets[0] if all(any(_same(x, y) for y in other) for other in sets[1:])]
      return [*types, {}, True, math.nan, *shared]
    case ranges.Section():
      return [*types, 5, 'x', True, (), []]
  raise TypeError(kind)


def right(kind: ranges.Kind, rng: random.Random):
  """A value that may be."""
  match kind:
    case ranges.Number():
      low = max(kind.low, -1e3) + (kind.whole if kind.above else kind.above * 1e-3)
      high = min(kind.high, 1e3) - (kind.whole if kind.below else kind.below * 1e-3)
      return rng.randint(int(low), int(high)) if kind.whole else rng.uniform(low, high)
    case ranges.Flag():
      return rng.random() < 0.5
    case ranges.Choice():
      return rng.choice(kind.known)
    case ranges.Text():
      return rng.choice(['*', 'imu', 'äöü 1', '5'])
    case ranges.Many():
      found = [right(kind.each, rng) for _ in range(rng.randint(kind.least, kind.least + 3))]
      found = list(dict.fromkeys(found)) if kind.distinct else found
      return rng.choice([tuple, list])(found)
    case ranges.Each():
      return tuple(right(each, rng) for each in kind.kinds)
    case ranges.AnyOf():
      return right(rng.choice(kind.kinds), rng)
    case ranges.Section():
      return {}
  raise TypeError(kind)


def _same(x, y) -> bool:
  return type(x) is type(y) and (x == y or x != x)


def experiment(name: str, arg: str | None) -> ml_collections.ConfigDict:
  return importlib.import_module(f'configs.{name}').get_config(arg)


def all_options() -> list[tuple[int, str, str, Option]]:
  """Of every section of every experiment: its number, the section, the option's name and itself."""
  return [
    (i, one.where, name, option)
    for i, (config, arg) in enumerate(EXPERIMENTS)
    for one in schema.sections(experiment(config, arg))
    for name, option in one.schema.items()
  ]


def draw(count: int, seed: int = 0) -> list[tuple[int, str, object]]:
  """Experiments by number, the keys in them that get a wrong value, and that value."""
  rng = random.Random(seed)
  known = all_options()
  found = []
  while len(found) < count:
    number, where, name, option = rng.choice(known)
    found.append((number, f'{where}.{name}', rng.choice(wrong(option.kind))))
  return found


def build(number: int, key: str, value) -> dict:
  """An experiment with one value changed."""
  # ml_collections would make a float of True where there was one.
  config = experiment(*EXPERIMENTS[number]).to_dict()
  *path, name = key.split('.')[1:]
  at = config
  for part in path:
    at = at.setdefault(part, {})
  at[name] = value
  return config


def get_config(arg: str) -> ml_collections.ConfigDict:
  number, seed = map(int, arg.split(','))
  return ml_collections.ConfigDict(build(*draw(number + 1, seed)[-1]))


def main(count: int, seed: int) -> int:
  from absl import flags
  from absl.testing import flagsaver

  import launch

  failures = 0
  root = pathlib.Path(tempfile.mkdtemp())
  for i, (_, key, value) in enumerate(draw(count, seed)):
    workdir = root / str(i)
    argv = ['launch.py', f'--config={__file__}:{i},{seed}', f'--workdir={workdir}']
    out, err = io.StringIO(), io.StringIO()
    with (
      mock.patch.object(sys, 'argv', argv),
      flagsaver.flagsaver(),
      warnings.catch_warnings(),
      contextlib.redirect_stdout(out),
      contextlib.redirect_stderr(err),
    ):
      warnings.simplefilter('ignore')
      flags.FLAGS.unparse_flags()
      status = launch.main(launch._parse(argv))
    line = err.getvalue()
    sound = line.startswith(f'error: {key}=') and ': must be ' in line and line.count('\n') == 1
    if status != 2 or out.getvalue() or workdir.exists() or not sound:
      failures += 1
      print(f'{key}={value!r}: status {status}, {line!r}')
  print(f'{count - failures} of {count} end in one line and status 2, and leave no workdir')
  return int(failures > 0)


if __name__ == '__main__':
  parser = argparse.ArgumentParser()
  parser.add_argument('--count', type=int, default=200)
  parser.add_argument('--seed', type=int, default=0)
  sys.exit(main(**vars(parser.parse_args())))
