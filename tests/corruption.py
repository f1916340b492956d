"""Prepares datasets from raw files that were damaged or made to do harm, and counts what happens.

    python tests/corruption.py --count=200 --seed=0

Each case takes small valid raw files in one of `corruption_layouts.LAYOUTS`, extracted or in
archives, spoils one of them and prepares the dataset in a process of its own, whose time and memory
are limited. It must end as one of

    error      a UserError that names the file or its archive, and no dataset;
    counted    a dataset whose report counts the file (MMAct);
    harmless   a whole dataset of finite numbers and pictures that can be decoded,

and must write nothing but datasets. Anything else is a failure, and so is what `REQUIRED` does not
admit: a web page in a recording's place is never harmless, a `Thumbs.db` always, with the same
records as without it. Cases are spread over all cores; each depends on the seed and its number.
"""

import collections
import dataclasses
import functools
import hashlib
import io
import itertools
import json
import multiprocessing
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

from har.data import dataset  # noqa: E402
from har.data.depth import decode_depth  # noqa: E402
from har.errors import UserError  # noqa: E402
from tests import spoilers  # noqa: E402
from tests.corruption_layouts import KINDS, LAYOUTS, Tree, trees  # noqa: E402
from tests.data_builders import raw_trees  # noqa: E402

SECONDS = 60
MEMORY = 2**30
"""Bytes that a case may take at most beyond what its process starts with."""
OUTCOMES = ('error', 'counted', 'harmless', 'failure')
REQUIRED = {
  'in its place': ('error', 'counted'),
  'half download': ('error',),
  'litter': ('harmless',),
  'beyond float32': ('error', 'counted'),
}


@dataclasses.dataclass
class Case:
  """One damaged tree.

  Attributes:
    kind: one of KINDS.
    layout: one of LAYOUTS.
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


def archives(case: Case, tree: Tree) -> dict[str, dict[str, bytes]]:
  """Members by archive."""
  found: dict[str, dict[str, bytes]] = {}
  for name, data in tree.files.items():
    archive = f'{LAYOUTS[case.layout].archive(name)}.{case.form}'
    found.setdefault(archive, {})[name] = data
  return found


def spoil(case: Case, files: dict[str, bytes], victim: str, rng: random.Random) -> str:
  """Spoils one file, or what is beside it, in place; returns what it did."""
  name = victim.rpartition('/')[2]
  folder = victim.removesuffix(name)
  if case.kind in spoilers.SPOILERS:
    files[victim] = spoilers.SPOILERS[case.kind](rng, files[victim])
  elif case.kind == 'wrong format':
    what, files[victim] = spoilers.wrong_format(rng, victim)
    return what
  elif case.kind == 'oversized':
    what, files[victim] = spoilers.oversized(rng, victim, files[victim])
    return what
  elif case.kind == 'in its place':
    what, files[victim] = spoilers.in_its_place(rng, victim, files[victim])
    return what
  elif case.kind == 'beyond float32':
    what, files[victim] = spoilers.beyond_float32(rng, victim, files[victim])
    return what
  elif case.kind == 'half download':
    files[f'{folder}{rng.choice(spoilers.HALF).format(name)}'] = files.pop(victim)[:50]
  elif case.kind == 'litter':
    beside = rng.sample(raw_trees.litter_beside(name), 5)
    files.update((f'{folder}{one}', rng.randbytes(20)) for one in beside)
  return case.kind


def write(case: Case, tree: Tree, rng: random.Random, raw: pathlib.Path) -> None:
  """Writes the damaged tree and says in the case what is wrong with it."""
  files = dict(tree.files)
  layout = LAYOUTS[case.layout]
  numbers = case.kind == 'beyond float32'
  victim = tree.choose(rng, rng.choice(layout.numbers if numbers else layout.suffixes))
  whole = case.form != 'folder' and case.kind in ('in its place', 'half download')
  whole = whole or (case.form != 'folder' and case.kind in spoilers.SPOILERS)
  whole = whole and rng.random() < 0.5
  bomb_in = case.kind == 'oversized' and case.form != 'folder' and rng.random() < 0.4
  what = case.kind if whole or bomb_in else spoil(case, files, victim, rng)
  if case.form == 'folder':
    for name, data in files.items():
      (raw / name).parent.mkdir(parents=True, exist_ok=True)
      (raw / name).write_bytes(data)
    if case.kind == 'hostile path':
      what = spoilers.put_hostile_path(raw / victim, rng)
    case.name, case.suspects = f'{what}: {victim}', (victim.rpartition('/')[2],)
    return
  raw.mkdir(parents=True)
  packed = archives(case, Tree(files))
  holder = next(iter(archives(case, Tree({victim: b''}))))
  case.suspects = (holder, victim.rpartition('/')[2])
  for archive, members in packed.items():
    extra = None
    if archive == holder and case.kind == 'hostile path':
      what, extra = spoilers.hostile_member(rng, case.form, victim)
    data = spoilers.pack(case.form, members, extra)
    if archive == holder and bomb_in:
      what, data = spoilers.bomb(case.form, victim, members)
    name = archive
    if archive == holder and whole:
      case.suspects = (holder, *(member.rpartition('/')[2] for member in members))
      one = {archive: data}
      what = spoil(case, one, archive, rng)
      ((name, data),) = one.items()
    (raw / name).write_bytes(data)
  case.name = f'{what}: {holder}' + ('' if whole else f', {victim}')


def prepare(case: Case, raw: pathlib.Path, data_dir: pathlib.Path) -> tuple[str, str]:
  """The outcome and what was said; in a process of its own."""
  layout = LAYOUTS[case.layout]
  try:
    builder = layout.build(raw, str(data_dir), case.allowed)
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
  missing, places = layout.left_out(builder)
  if len(found) != layout.records - missing:
    return 'failure', f'{len(found)} records instead of {layout.records} less {missing}'
  told = '; '.join(place for place in places if any(s in place for s in case.suspects))
  if missing and not told:
    return 'failure', f'{missing} records are left out without a word'
  digest = check_records(builder, found)
  return ('counted', told) if told else ('harmless', digest)


def check_records(builder, found) -> str:
  """Reads every record; returns their digest."""
  digest = hashlib.sha256()
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
          digest.update(frame)
      else:
        assert np.isfinite(record[modality]).all()
        digest.update(np.ascontiguousarray(record[modality]))
  return digest.hexdigest()


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
  """Every kind, layout and form once, in some order, before any comes again."""
  every = [
    (kind, name, form)
    for name, layout in LAYOUTS.items()
    for kind, form in itertools.product(layout.kinds, layout.forms)
  ]
  planned: list[tuple[str, str, str]] = []
  while len(planned) < count:
    planned += rng.sample(every, len(every))
  return [Case(*one, allowed=rng.choice((0, 2))) for one in planned[:count]]


def attempt(
  numbered: tuple[int, Case], whole: dict[str, Tree], seed: int, scratch: pathlib.Path
) -> tuple[Case, str, str]:
  """One case with its outcome and what was said."""
  number, case = numbered
  outside = scratch / str(number)
  outside.mkdir(parents=True)
  raw, data_dir = outside / 'in' / 'raw', outside / 'data'
  write(case, whole[case.layout], random.Random(f'{seed}/{number}'), raw)
  outcome, message = limited(case, raw, data_dir)
  escaped = [*outside.rglob('*escaped*'), *pathlib.Path('/tmp').glob('escaped*')]
  if escaped:
    outcome, message = 'failure', f'{escaped[0]} was written'
  shutil.rmtree(outside)
  return case, outcome, message


def judge(case: Case, outcome: str, message: str, digests: dict[str, str]) -> tuple[str, str]:
  """The outcome, or 'failure' where this kind of damage may not end so, and why."""
  if outcome != 'failure' and outcome not in REQUIRED.get(case.kind, OUTCOMES):
    return 'failure', f'ends as {outcome}: {message}'
  if case.kind == 'litter' and message != digests[case.layout]:
    return 'failure', 'other records than without litter'
  return outcome, message


def run(count: int, seed: int, scratch: pathlib.Path) -> list[tuple[Case, str, str]]:
  """Every case with its outcome and what was said."""
  whole = trees(scratch / 'whole')
  sound = [Case('litter', name, layout.forms[0]) for name, layout in LAYOUTS.items()]
  jobs = list(enumerate([*sound, *cases(count, random.Random(seed))]))
  one = functools.partial(attempt, whole=whole, seed=seed, scratch=scratch / 'cases')
  cores = len(os.sched_getaffinity(0))
  with multiprocessing.get_context('fork').Pool(cores) as pool:
    results = list(pool.imap(one, jobs))
  digests = {case.layout: message for case, _, message in results[: len(sound)]}
  return [(case, *judge(case, *told, digests)) for case, *told in results[len(sound) :]]


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
