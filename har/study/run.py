"""A study from its plan to its table."""

import dataclasses
import json
import platform
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from har.errors import UserError
from har.study import claims, cost, grid, measured, paired, table
from har.study.grid import Failure, Run
from har.study.launcher import Launcher
from har.study.registry import STUDIES
from har.study.row import Asked, Row


@dataclasses.dataclass(frozen=True)
class Options:
  """What the command says.

  Attributes:
    study: a key of `STUDIES`.
    asked: of it.
    workdir: where everything is written.
    seeds: every run is made with seeds 0 to one less.
    rows: names of those to run; all if there are none.
    flags: of `launch.py`, for all runs.
    command: for the page's header.
  """

  study: str
  asked: Asked
  workdir: Path
  seeds: int = 1
  rows: Collection[str] = ()
  flags: tuple[str, ...] = ()
  command: str = ''

  @property
  def title(self) -> str:
    return f'{self.study} on {self.asked.dataset}'


def run(options: Options, launcher: Launcher) -> tuple[str, list[Failure]]:
  """Says what it will run, runs it, and writes the table anew after each row.

  Returns:
    The table for the terminal, and the commands that failed.

  Raises:
    UserError: a study or row that is not there, or a quick version where results are.
    Stopped: it was asked to stop.
  """
  study, quick, workdir = STUDIES[options.study], options.asked.quick, options.workdir
  rows = _chosen(study.rows(options.asked), options.rows)
  _keep_results(workdir, quick)
  # The runs of a row differ in what is trained, not in what frozen parts give.
  flags = (*options.flags, f'--config.runtime.cache_dir={workdir / "features"}')
  runs_dir = workdir / 'quick' if quick else workdir
  plan = grid.plan(rows, options.seeds, runs_dir, flags, quick=quick)
  title = f'{table.QUICK}: {options.title}' if quick else options.title
  print('\n'.join(cost.describe(title, plan)), file=sys.stderr, flush=True)
  failures: list[Failure] = []
  started = time.monotonic()
  for runs in plan.values():
    failures += grid.run(runs, launcher)
    # Not only at the end: hours of work are worth a look before the last row.
    text = _write(options, plan, failures, time.monotonic() - started)
  return f'{text}\nstudy: {workdir / "study.html"}', failures


def _write(
  options: Options, plan: Mapping[str, Sequence[Run]], failures: Sequence[Failure], seconds: float
) -> str:
  """The table of the rows that are complete, by whatever process; see `har.study.table.write`."""
  workdir = options.workdir
  with claims.held(workdir / claims.CLAIMS / 'table', wait=True):
    complete = {name: runs for name, runs in plan.items() if grid.complete(runs)}
    found = [one for runs in complete.values() for one in measured.collect(runs)]
    facts = _facts(options, f'{len(complete)} of {len(plan)}', failures, seconds)
    picture = STUDIES[options.study].picture(found)
    tested = paired.run(complete)
    return table.write(workdir, found, tested, picture, facts, quick=options.asked.quick)


def _chosen(rows: Sequence[Row], names: Collection[str]) -> list[Row]:
  known = {row.name: row for row in rows}
  if unknown := set(names) - set(known):
    raise UserError(f'--rows: {", ".join(sorted(unknown))} is none of {", ".join(known)}')
  return [row for row in rows if not names or row.name in names]


def _keep_results(workdir: Path, quick: bool) -> None:
  """Raises UserError before a quick version is written over results."""
  path = workdir / 'study.json'
  try:
    stands = path.exists() and not json.loads(path.read_text()).get('quick')
  except ValueError as error:
    raise UserError(f'{path}: cannot be read; delete it') from error
  if quick and stands:
    raise UserError(f'--quick: {path} holds results; give another --workdir to keep them')


def _facts(
  options: Options, complete: str, failures: Sequence[Failure], seconds: float
) -> dict[str, str]:
  facts = {
    'study': options.title,
    'command': options.command,
    'rows': complete,
    'seeds': ', '.join(map(str, range(options.seeds))),
    'minutes': f'{seconds / 60:.0f} in this run',
    'machine': f'{platform.machine()}, {platform.system()}, Python {platform.python_version()}',
  }
  return facts | ({'failed': '\n'.join(map(str, failures))} if failures else {})
