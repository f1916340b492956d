"""What a study will run, and what it will cost as far as its own finished runs tell."""

import statistics
from collections.abc import Mapping, Sequence

from har.study.grid import Run


def describe(title: str, plan: Mapping[str, Sequence[Run]]) -> list[str]:
  """The lines that are printed before anything starts.

  Args:
    title: of the study.
    plan: see `har.study.grid.plan`.
  """
  rows = list(plan.values())
  every = [run for runs in rows for run in runs]
  seeds = len({run.seed for run in every})
  splits = {len({run.split for run in runs}) for runs in rows}
  across = f' x {splits.pop()} splits x {seeds} seeds' if len(splits) == 1 else f', {seeds} seeds'
  done = sum(run.finished for run in every)
  lines = [f'{title}: {len(rows)} rows{across}: {len(every)} runs, {done} of them finished']
  width = max(map(len, plan))
  known, costs, unknown = 0.0, 0, 0
  for name, runs in plan.items():
    left = sum(not run.finished for run in runs)
    seconds = [run.seconds for run in runs if run.seconds is not None]
    told = ''
    if seconds:
      told = f', {statistics.mean(seconds):.0f} s each'
      known += left * statistics.mean(seconds)
      costs += left
    else:
      unknown += left
    lines.append(f'  {name:{width}}  {len(runs) - left} of {len(runs)} finished{told}')
  if costs:
    lines.append(f'left: {costs} runs of about {_duration(known)} in all, benchmarks aside')
  if unknown:
    also = ' besides' * bool(costs)
    lines.append(f'left{also}: {unknown} runs of rows of which none is finished: time not known')
  return lines


def _duration(seconds: float) -> str:
  if seconds < 90:
    return f'{seconds:.0f} s'
  minutes = seconds / 60
  return f'{minutes:.0f} min' if minutes < 90 else f'{minutes / 60:.1f} h'
