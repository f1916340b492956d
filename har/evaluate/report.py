"""The results that a run leaves behind for people: `report.html`, one self-contained page."""

import csv
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import jinja2
import markupsafe
import numpy as np

from har.evaluate import figures, metrics
from har.evaluate.files import file_size, write_text
from har.evaluate.results import OPTIONAL, Predictions, without

FUSION, PRODUCT = 'fusion', 'product'
MOST_CONFUSIONS, MOST_EXAMPLES = 8, 250


def write_report(
  workdir: str | os.PathLike,
  results: Mapping,
  predictions: Mapping[str, Predictions],
  curves: Mapping[str, Sequence[Mapping]],
  *,
  abnormal: Sequence[str] = (),
  facts: Mapping[str, str] | None = None,
  notes: Sequence[str] = (),
  details: Sequence[str] = (),
) -> Path:
  """Writes WORKDIR/report.html atomically.

  Args:
    workdir: the run's folder.
    results: what `results.write_results` takes, with a float32 variant of every stage.
    predictions: {stage: float32 predictions} of every stage in `results`, and of `product` if that
      baseline is there; all over the same examples in the same order.
    curves: {stage: rows} as `read_curves` gives them; a stage without rows shows none.
    abnormal: names of the classes that stand for abnormal activities; they are marked, and how well
      they are told from the others gets a table.
    facts: further lines of the header, such as {'command': ..., 'versions': ...}.
    notes: paragraphs for the reader, such as what the video model was initialised from.
    details: how the variants other than float32 were made, a line each.

  Raises:
    ValueError: predictions that are missing or are not of the same examples.
    UserError: the file cannot be written.
  """
  stages = list(results['stages'])
  _check(stages, predictions)
  first = predictions[stages[0]]
  flagged = [name for name in first.class_names if name in set(abnormal)]
  environment = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=jinja2.StrictUndefined,
  )
  environment.filters.update(
    percent=lambda fraction: f'{100 * fraction:.1f}',
    size=file_size,
    duration=_duration,
  )
  page = environment.get_template('report.html.jinja').render(
    results=results,
    split=results.get('split', OPTIONAL['split']),
    modalities=[stage for stage in stages if stage != FUSION],
    facts={name: text for name, text in (facts or {}).items() if text},
    notes=notes,
    details=details,
    colours={name: figures.colour(name) for name in [*stages, PRODUCT]},
    rows=_rows(results),
    removed=bool(results.get('removed')),
    verdict=_verdict(results),
    size_figure=_size_figure(results),
    exported=_exported(workdir),
    curves={
      stage: markupsafe.Markup(figures.learning_curves(stage, curves[stage]))
      for stage in stages
      if curves.get(stage)
    },
    confusions=[_confusion(stage, predictions[stage], flagged) for stage in stages],
    small=len(first.class_names) <= 10,
    class_figure=_class_figure(stages, predictions, flagged),
    flagged=flagged,
    alarms={stage: _alarms(predictions[stage], flagged) for stage in stages} if flagged else {},
    pairs=_pairs(stages, predictions),
    examples=_examples(stages, predictions),
    most_examples=MOST_EXAMPLES,
    class_names=first.class_names,
  )
  return write_text(Path(workdir) / 'report.html', page)


def read_curves(workdir: str | os.PathLike, stages: Sequence[str]) -> dict[str, list[dict]]:
  """The rows of WORKDIR/metrics/{stage}.jsonl of each stage; none where there is no file.

  A line that is not whole is left out: a killed run can leave one, and the run that takes over
  writes its steps again.
  """
  curves = {}
  for stage in stages:
    path = Path(workdir) / 'metrics' / f'{stage}.jsonl'
    lines = path.read_text(encoding='utf-8').splitlines() if path.exists() else []
    curves[stage] = [row for line in lines if isinstance(row := _row(line), dict)]
  return curves


def _row(line: str):
  try:
    return json.loads(line)
  except ValueError:
    return None


def _check(stages: Sequence[str], predictions: Mapping[str, Predictions]) -> None:
  if missing := [stage for stage in stages if stage not in predictions]:
    raise ValueError(f'no predictions of {missing}')
  first = predictions[stages[0]]
  for name, other in predictions.items():
    same = other.keys == first.keys and other.class_names == first.class_names
    if not (same and np.array_equal(other.labels, first.labels)):
      raise ValueError(f'the predictions of {name} and {stages[0]} are of different examples')


def _rows(results: Mapping) -> list[dict]:
  """The results table: every stage and variant, also without a modality, then the baselines."""
  rows = []
  for stage, variants in results['stages'].items():
    for variant, values in variants.items():
      first = variant == 'float32'
      rows.append(
        {
          'stage': stage,
          'variant': variant,
          'metrics': values,
          'interval': metrics.wilson_interval(values['top1'], values['examples']),
          'parameters': results['parameters'].get(stage) if first else None,
          'bytes': results['bytes'].get(stage, {}).get(variant),
          'seconds': results['seconds'].get(stage) if first else None,
        }
      )
    for modality, values in results.get('removed', {}).get(stage, {}).items():
      rows.append(_bare_row(stage, without(modality), values))
  for name, values in results.get('baselines', {}).items():
    rows.append(_bare_row(name, 'untrained', values))
  return rows


def _bare_row(stage: str, variant: str, values: Mapping) -> dict:
  """A row of what has no parameters of its own."""
  interval = metrics.wilson_interval(values['top1'], values['examples'])
  row = {'stage': stage, 'variant': variant, 'metrics': values, 'interval': interval}
  return {**row, 'parameters': None, 'bytes': None, 'seconds': None}


def _verdict(results: Mapping) -> dict:
  """What the headline says: the best single modality, the fusion and its margins."""
  top1 = {stage: v['float32']['top1'] for stage, v in results['stages'].items() if 'float32' in v}
  singles = {stage: value for stage, value in top1.items() if stage != FUSION}
  best = max(singles, key=lambda stage: singles[stage])
  product = results.get('baselines', {}).get(PRODUCT, {}).get('top1')
  return {
    'best': best,
    'best_top1': singles[best],
    'fusion': top1.get(FUSION),
    'product': product,
    'examples': results['stages'][best]['float32']['examples'],
  }


def _size_figure(results: Mapping) -> markupsafe.Markup | None:
  points = [
    (stage, variant, results['bytes'][stage][variant], values['top1'])
    for stage, variants in results['stages'].items()
    for variant, values in variants.items()
    if results['bytes'].get(stage, {}).get(variant)
  ]
  if len(points) < 2:
    return None
  return markupsafe.Markup(figures.accuracy_against_size(points))


def _exported(workdir: str | os.PathLike) -> list[dict]:
  """Figures of WORKDIR/benchmark.csv, where there is one: of each runtime, with one thread."""
  path = Path(workdir) / 'benchmark.csv'
  if not path.exists():
    return []
  with open(path, encoding='utf-8', newline='') as file:
    rows = [row for row in csv.DictReader(file) if row['threads'] == '1']
  figures_of = []
  for runtime in dict.fromkeys(row['runtime'] for row in rows):
    own = [row for row in rows if row['runtime'] == runtime]
    sizes, times = (
      [(r['stage'], r['variant'], factor * float(r[column]), float(r['top1'])) for r in own]
      for column, factor in (('size_mb', 1e6), ('latency_ms_median', 1))
    )
    figures_of.append(
      {
        'runtime': runtime,
        'size': markupsafe.Markup(figures.accuracy_against_size(sizes, 'size of the file')),
        'latency': markupsafe.Markup(figures.accuracy_against_latency(times)),
      }
    )
  return figures_of


def _confusion(stage: str, predicted: Predictions, flagged: Sequence[str]) -> dict:
  """One stage's matrix and the pairs of classes it confuses most, the most frequent first."""
  counts, names = predicted.confusion(), predicted.class_names
  wrong = counts - np.diag(np.diagonal(counts))
  order = np.argsort(-wrong, axis=None, kind='stable')[:MOST_CONFUSIONS]
  pairs = [np.unravel_index(place, wrong.shape) for place in order if wrong.flat[place]]
  return {
    'stage': stage,
    'figure': markupsafe.Markup(figures.confusion_matrix(counts, names, flagged)),
    'wrong': int(wrong.sum()),
    'pairs': [(names[t], names[p], int(counts[t, p]), int(counts[t].sum())) for t, p in pairs],
  }


def _class_figure(stages, predictions, flagged) -> markupsafe.Markup:
  """Per-class F1 of every stage, the weakest classes of the last stage first."""
  classes = {stage: metrics.per_class(predictions[stage].confusion()) for stage in stages}
  seen = np.flatnonzero(classes[stages[-1]]['support'])
  order = seen[np.argsort(classes[stages[-1]]['f1'][seen], kind='stable')]
  names = [predictions[stages[0]].class_names[i] for i in order]
  f1 = {stage: values['f1'][order] for stage, values in classes.items()}
  return markupsafe.Markup(figures.class_bars(f1, names, flagged))


def _alarms(predicted: Predictions, flagged: Sequence[str]) -> dict[str, int]:
  """Abnormal against normal, whichever abnormal class is named."""
  is_flagged = np.isin(predicted.class_names, flagged)
  true, raised = is_flagged[predicted.labels], is_flagged[predicted.classes]
  return {
    'abnormal': int(true.sum()),
    'found': int((true & raised).sum()),
    'normal': int((~true).sum()),
    'false': int((~true & raised).sum()),
  }


def _pairs(stages: Sequence[str], predictions: Mapping[str, Predictions]) -> list[dict]:
  """The fusion against each single modality and the baseline, example by example."""
  if FUSION not in stages:
    return []
  fused, pairs = predictions[FUSION].correct, []
  for name in [stage for stage in stages if stage != FUSION] + [PRODUCT] * (PRODUCT in predictions):
    other = predictions[name].correct
    fixed, broke = int((fused & ~other).sum()), int((~fused & other).sum())
    both, neither = int((fused & other).sum()), int((~fused & ~other).sum())
    pairs.append({'name': name, 'fixed': fixed, 'broke': broke, 'both': both, 'neither': neither})
    pairs[-1]['p'] = metrics.sign_test(fixed, broke)
  return pairs


def _examples(stages: Sequence[str], predictions: Mapping[str, Predictions]) -> dict:
  """The examples that someone gets wrong: what each stage said, by what became of them.

  With a fusion `wrong` are its errors (first those that a single modality had right, so which it
  broke) and `fixed` those it gets right against at least one modality (first those that every
  modality had wrong). Without one `wrong` are the only stage's errors.
  """
  judge = predictions[FUSION if FUSION in stages else stages[-1]]
  singles = [stage for stage in stages if stage != FUSION]
  right = np.sum([predictions[stage].correct for stage in singles], axis=0)
  wrong = np.flatnonzero(~judge.correct)
  fixed = np.flatnonzero(judge.correct & (right < len(singles)))

  def lines(places) -> list[dict]:
    return [
      {
        'key': judge.keys[i],
        'label': int(judge.labels[i]),
        'said': [(int(predictions[s].classes[i]), _sure(predictions[s], i)) for s in stages],
      }
      for i in places
    ]

  return {
    'stages': stages,
    'wrong': lines(wrong[np.argsort(-right[wrong], kind='stable')]),
    'broken': int((right[wrong] > 0).sum()) if FUSION in stages else 0,
    'fixed': lines(fixed[np.argsort(right[fixed], kind='stable')]) if FUSION in stages else [],
  }


def _sure(predicted: Predictions, place: int) -> float:
  return float(predicted.probabilities[place, predicted.classes[place]])


def _duration(seconds: float) -> str:
  if seconds < 120:
    return f'{seconds:.0f} s'
  minutes = round(seconds / 60)
  return f'{minutes} min' if minutes < 120 else f'{minutes // 60} h {minutes % 60:02d} min'
