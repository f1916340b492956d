"""Prepares datasets from raw files that were damaged or made to do harm, and counts what happens.

    python tests/corruption.py --count=200 --seed=0

Each case takes small valid raw files in UTD-MHAD's or MMAct's layout, extracted or in archives,
spoils one of them and prepares the dataset in a process of its own, whose time and memory are
limited. It must end as one of

    error      a UserError that names the file or its archive, and no dataset;
    counted    a dataset whose report counts the file (MMAct);
    harmless   a whole dataset of finite numbers and pictures that can be decoded,

and must write nothing but datasets. Anything else is a failure.
"""

import collections
import dataclasses
import io
import json
import os
import pathlib
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback

ROOT = pathlib.Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
from absl import app, flags  # noqa: E402
from PIL import Image  # noqa: E402

from data_builders import raw_files  # noqa: E402
from data_builders.mmact import generate, mmact_dataset_builder, report  # noqa: E402
from har.data import dataset  # noqa: E402
from har.data.depth import decode_depth  # noqa: E402
from har.errors import UserError  # noqa: E402
from tests import spoilers  # noqa: E402
from tests.data_builders import raw_trees, test_trials  # noqa: E402

SECONDS = 60
MEMORY = 2**30
"""Bytes that a case may take at most beyond what its process starts with."""
KINDS = ('flipped', 'truncated', 'emptied', 'wrong format', 'hostile path', 'oversized')
OUTCOMES = ('error', 'counted', 'harmless', 'failure')


@dataclasses.dataclass
class Case:
  """One damaged tree.

  Attributes:
    kind: one of KINDS.
    layout: 'utd_mhad' or 'mmact'.
    form: 'folder', 'zip', 'tar' or 'tar.gz'.
    name: what was done to what.
    suspects: a message has to contain one of these.
    allowed: unreadable files that may be left out.
  """

  kind: str
  layout: str
  form: str
  name: str = ''
  suspects: tuple[str, ...] = ()
  allowed: int = 0


@dataclasses.dataclass
class Tree:
  """Raw files by path."""

  files: dict[str, bytes]

  def choose(self, rng: random.Random, *suffixes: str) -> str:
    return rng.choice([n for n in sorted(self.files) if n.endswith(suffixes or '')])


def trees(scratch: pathlib.Path) -> dict[str, Tree]:
  """Valid files of both layouts."""
  for modality in raw_files.FOLDERS:
    raw_trees.write_folder(scratch / 'utd_mhad', modality)
  actions = ('fall', 'walking')
  rows = [f'{s},{c},1,1,{a},30' for s in (1, 17) for c in (1, 2) for a in actions]
  manifest = scratch / 'clips.csv'
  manifest.write_text('\n'.join(['subject,cam,scene,session,action,openpose_frames', *rows]))
  generate.write_raw(scratch / 'mmact', manifest, clips=len(rows), defects=False)
  (scratch / 'mmact' / generate.PLANTED).unlink()
  return {
    name: Tree(
      {
        path.relative_to(scratch / name).as_posix(): path.read_bytes()
        for path in sorted((scratch / name).rglob('*'))
        if path.is_file()
      }
    )
    for name in ('utd_mhad', 'mmact')
  }


def archives(case: Case, tree: Tree) -> dict[str, dict[str, bytes]]:
  """Members by archive."""
  if case.layout == 'mmact':
    return {f'MMAct.{case.form}': dict(tree.files)}
  found: dict[str, dict[str, bytes]] = {}
  for name, data in tree.files.items():
    found.setdefault(f'{name.partition("/")[0]}.zip', {})[name] = data
  return found


def write(case: Case, tree: Tree, rng: random.Random, raw: pathlib.Path) -> None:
  """Writes the damaged tree and says in the case what is wrong with it."""
  files = dict(tree.files)
  suffixes = {'utd_mhad': ('.avi', '.mat'), 'mmact': ('.mp4', '.csv')}[case.layout]
  victim = tree.choose(rng, rng.choice(suffixes))
  whole = case.form != 'folder' and case.kind in ('flipped', 'truncated', 'emptied')
  whole = whole and rng.random() < 0.5
  bomb_in = case.kind == 'oversized' and case.form != 'folder' and rng.random() < 0.4
  what = case.kind
  if case.kind in spoilers.SPOILERS and not whole:
    files[victim] = spoilers.SPOILERS[case.kind](rng, files[victim])
  elif case.kind == 'wrong format':
    what, files[victim] = spoilers.wrong_format(rng, victim)
  elif case.kind == 'oversized' and not bomb_in:
    what, files[victim] = spoilers.oversized(rng, victim, files[victim])
  if case.form == 'folder':
    for name, data in files.items():
      (raw / name).parent.mkdir(parents=True, exist_ok=True)
      (raw / name).write_bytes(data)
    if case.kind == 'hostile path':
      what = rng.choice(('a link to nowhere', 'a link to a device', 'a folder', 'a pipe'))
      (raw / victim).unlink()
      if what == 'a folder':
        (raw / victim).mkdir()
      elif what == 'a pipe':
        os.mkfifo(raw / victim)
      else:
        (raw / victim).symlink_to('/nowhere' if 'nowhere' in what else '/dev/zero')
    case.name, case.suspects = f'{what}: {victim}', (victim.rpartition('/')[2],)
    return
  raw.mkdir(parents=True)
  packed = archives(case, Tree(files))
  holder = next(archive for archive, members in packed.items() if victim in members)
  case.suspects = (holder, victim.rpartition('/')[2])
  for archive, members in packed.items():
    extra = None
    if archive == holder and case.kind == 'hostile path':
      what, extra = spoilers.hostile_member(rng, case.form, victim)
    data = spoilers.pack(case.form, members, extra)
    if archive == holder and bomb_in:
      what, data = spoilers.bomb(case.form, victim, members)
    if archive == holder and whole:
      data = spoilers.SPOILERS[case.kind](rng, data)
    (raw / archive).write_bytes(data)
  case.name = f'{what}: {holder}' + ('' if whole else f', {victim}')


def prepare(case: Case, raw: pathlib.Path, data_dir: pathlib.Path) -> tuple[str, str]:
  """The outcome and what was said; in a process of its own."""
  if case.layout == 'utd_mhad':
    builder = test_trials.Tiny(
      modalities=tuple(raw_files.FOLDERS), raw_dir=raw, data_dir=str(data_dir)
    )
  else:
    builder = mmact_dataset_builder.Builder(
      raw_dir=raw, data_dir=str(data_dir), short_side=24, workers=0, allow_corrupt=case.allowed
    )
  try:
    builder.download_and_prepare()
  except UserError as error:
    message = str(error)
    if not any(suspect in message for suspect in case.suspects):
      return 'failure', f'does not name the file: {message}'
    left = [p for p in data_dir.rglob('*') if 'array_record' in p.name or 'dataset_info' in p.name]
    if left:
      return 'failure', f'half a dataset is left: {left[0]}'
    return 'error', message
  found = dataset.read_index(builder)
  expected = len(raw_trees.LAYOUT.expected()) if case.layout == 'utd_mhad' else 8
  told, counted = '', False
  if case.layout == 'mmact':
    content = json.loads((pathlib.Path(builder.data_dir) / report.FILE).read_text())
    places = [*content['ignored'], *(f for files in content['files'].values() for f in files)]
    told = '; '.join(place for place in places if any(s in place for s in case.suspects))
    counted = bool(told)
    expected -= len(content['left_out'])
  if len(found) != expected:
    return 'failure', f'{len(found)} records instead of {expected}'
  check_records(builder, found)
  return ('counted', told) if counted else ('harmless', '')


def check_records(builder, found) -> None:
  data = dataset.Dataset(
    builder.name, tuple(builder.info.features['label'].names), dict(builder.info.metadata), found,
    builder,
  )  # fmt: skip
  records = data.records(data.modalities)
  for i in range(len(records)):
    record = records[i]
    for modality in data.modalities:
      if modality in ('rgb', 'depth'):
        assert len(record[modality]) > 1
        for frame in record[modality]:
          if modality == 'depth':
            decode_depth(frame)
          else:
            Image.open(io.BytesIO(frame)).load()
      else:
        assert np.isfinite(record[modality]).all()


def bounded(case: Case, raw: pathlib.Path, data_dir: pathlib.Path) -> tuple[str, str]:
  """`prepare`, or what went wrong with it, memory included."""
  pages = map(int, pathlib.Path('/proc/self/statm').read_text().split()[:2])
  space, before = (count * resource.getpagesize() for count in pages)
  try:
    signal.alarm(SECONDS)
    resource.setrlimit(resource.RLIMIT_AS, (space + 4 * MEMORY,) * 2)
    outcome = prepare(case, raw, data_dir)
  except BaseException:
    return 'failure', traceback.format_exc()
  taken = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
  return outcome if taken <= MEMORY else ('failure', f'{taken >> 20} MB of memory; {outcome}')


def limited(case: Case, raw: pathlib.Path, data_dir: pathlib.Path) -> tuple[str, str]:
  """`bounded` in a forked process."""
  reader, writer = os.pipe()
  process = os.fork()
  if not process:
    os.write(writer, json.dumps(bounded(case, raw, data_dir)).encode()[:60000])
    os._exit(0)
  os.close(writer)
  with open(reader, 'rb') as told:
    text = told.read()
  _, status = os.waitpid(process, 0)
  if os.WIFSIGNALED(status):
    number = os.WTERMSIG(status)
    return 'failure', f'longer than {SECONDS} s' if number == signal.SIGALRM else f'signal {number}'
  outcome, message = json.loads(text)
  return outcome, message


def cases(count: int, rng: random.Random) -> list[Case]:
  """Layouts, forms and kinds in turn."""
  forms = [('utd_mhad', 'folder'), ('mmact', 'zip'), ('utd_mhad', 'zip'), ('mmact', 'tar.gz')]
  forms += [('utd_mhad', 'folder'), ('mmact', 'folder'), ('utd_mhad', 'zip'), ('mmact', 'tar')]
  return [
    Case(KINDS[i % len(KINDS)], *forms[i // len(KINDS) % len(forms)], allowed=rng.choice((0, 2)))
    for i in range(count)
  ]


def run(count: int, seed: int, scratch: pathlib.Path) -> list[tuple[Case, str, str]]:
  """Every case with its outcome and what was said."""
  whole = trees(scratch / 'whole')
  outside = scratch / 'cases'
  results = []
  planned = cases(count, random.Random(seed))
  for number, case in enumerate(planned):
    rng = random.Random(f'{seed}/{number}')
    outside.mkdir()
    raw, data_dir = outside / 'in' / 'raw', outside / 'data'
    write(case, whole[case.layout], rng, raw)
    outcome, message = limited(case, raw, data_dir)
    escaped = [*outside.rglob('*escaped*'), *pathlib.Path('/tmp').glob('escaped*')]
    if escaped:
      outcome, message = 'failure', f'{escaped[0]} was written'
    results.append((case, outcome, message))
    shutil.rmtree(outside)
  return results


def table(results: list[tuple[Case, str, str]]) -> str:
  counts = collections.Counter((case.kind, outcome) for case, outcome, _ in results)
  lines = [f'{"kind":<14}' + ''.join(f'{outcome:>10}' for outcome in OUTCOMES)]
  for kind in KINDS:
    lines.append(f'{kind:<14}' + ''.join(f'{counts[kind, outcome]:>10}' for outcome in OUTCOMES))
  sums = collections.Counter(outcome for _, outcome, _ in results)
  lines.append(f'{"all":<14}' + ''.join(f'{sums[outcome]:>10}' for outcome in OUTCOMES))
  return '\n'.join(lines)


def failures(results: list[tuple[Case, str, str]]) -> str:
  return '\n'.join(
    f'{number}: {case.kind} ({case.layout}, {case.form}, {case.name}): {message}'
    for number, (case, outcome, message) in enumerate(results)
    if outcome == 'failure'
  )


def main(argv: list[str]) -> int:
  if len(argv) > 1:
    raise app.UsageError(f'unexpected argument {argv[1]!r}')
  started = time.monotonic()
  with tempfile.TemporaryDirectory(prefix='corruption') as scratch:
    results = run(flags.FLAGS.count, flags.FLAGS.seed, pathlib.Path(scratch))
  if flags.FLAGS.verbose:
    for number, (case, outcome, message) in enumerate(results):
      print(f'{number:3} {outcome:8} {case.layout} {case.form}, {case.name}: {message[:200]}')
  print(table(results))
  bad = failures(results)
  print(bad or f'{len(results)} cases, no failure')
  print(f'{time.monotonic() - started:.0f} s')
  return 1 if bad else 0


if __name__ == '__main__':
  flags.DEFINE_integer('count', 200, 'Cases.', lower_bound=1)
  flags.DEFINE_integer('seed', 0, 'Of what is damaged and how.')
  flags.DEFINE_bool('verbose', False, 'Tell every case.')
  app.run(main)
