"""The results that a run leaves behind for people: `report.html`, one self-contained page."""

import csv
import dataclasses
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import jinja2
import numpy as np
from markupsafe import Markup

from har.evaluate import anomaly_section, drawing, figures, results, sections
from har.evaluate.anomaly import Detected
from har.evaluate.files import file_size, write_text
from har.metrics import classification
from har.metrics.classification import Predictions
from har.metrics.detection import Detections
from har.objectives.objective import Selection

MOST_EXAMPLES = 250


@dataclasses.dataclass(frozen=True)
class About:
  """What the report tells besides results and predictions.

  Attributes:
    abnormal: names of the classes that stand for abnormal activities; they are marked.
    curves: {stage: rows} as `read_curves` gives them; a stage without rows shows none.
    selections: {stage: the figure that its objective is chosen by}.
    facts: further lines of the header, such as {'command': ..., 'versions': ...}.
    notes: paragraphs for the reader, such as what the video model was initialised from.
    details: how the variants other than float32 were made, a line each.
    subjects: who performed each example; None if the dataset does not say.
    signals: given an example's key, its recorded signals [T, C] by name; None if there are none.
    attention: given a stage, keys of examples and a class of each, a picture of each example (a
      `data:` address) by video input: what of its frames speaks for the class; None for none.
    detected: what stages detect.
  """

  abnormal: Sequence[str] = ()
  curves: Mapping[str, Sequence[Mapping]] = dataclasses.field(default_factory=dict)
  selections: Mapping[str, Selection] = dataclasses.field(default_factory=dict)
  facts: Mapping[str, str] = dataclasses.field(default_factory=dict)
  notes: Sequence[str] = ()
  details: Sequence[str] = ()
  subjects: np.ndarray | None = None
  signals: Callable[[str], Mapping[str, np.ndarray]] | None = None
  attention: Callable[[str, Sequence[str], Sequence[int]], list[dict[str, str]]] | None = None
  detected: Sequence[Detected] = ()


def write_report(
  workdir: str | os.PathLike,
  table: Mapping,
  predictions: Mapping[str, Predictions | Detections],
  about: About,
) -> Path:
  """Writes WORKDIR/report.html atomically.

  Args:
    workdir: the run's folder.
    table: what `results.write_results` takes, with a float32 variant of every stage.
    predictions: {stage: those of float32} of every stage in `table`, and of `product` if that
      baseline is there; all over the same examples in the same order.
    about: what else there is to say.

  Raises:
    ValueError: predictions that are missing or are not of the same examples.
    UserError: the file cannot be written.
  """
  stages = list(table['stages'])
  _check(stages, predictions)
  first = predictions[stages[0]]
  flagged = [name for name in first.class_names if name in set(about.abnormal)]
  classified = {n: p for n, p in predictions.items() if isinstance(p, Predictions)}
  classifiers = {n: p for n, p in classified.items() if n not in sections.UNTRAINED}
  rows = _rows(table)
  page = (
    _environment()
    .get_template('report.html.jinja')
    .render(
      results=table,
      about=about,
      split=table.get('split', results.OPTIONAL['split']),
      modalities=_modalities(table),
      fusions=sections.fusions(table),
      colours={name: drawing.colour(name) for name in [*stages, *sections.UNTRAINED]},
      rows=rows,
      metrics=results.metric_names(row['metrics'] for row in rows),
      removed=bool(table.get('removed')),
      verdict=sections.verdict(table),
      size_figure=_size_figure(table),
      exported=_exported(workdir),
      curves=_curves(stages, about),
      confusions=[_confusion(name, p, flagged) for name, p in classifiers.items()],
      detections=_detections(predictions),
      anomaly=anomaly_section.content(table, about.detected),
      class_figure=_class_figure(classifiers, flagged) if classifiers else None,
      flagged=flagged,
      alarms=table.get('alarms', {}),
      subjects=_subjects(classified, about),
      pairs=sections.pairs(table, classified),
      examples=sections.examples(table, classified) if classifiers else None,
      worst=_worst(table, classifiers, about),
      attention=_attention(table, classifiers, about),
      most_examples=MOST_EXAMPLES,
      class_names=first.class_names,
      count=len(first.keys),
    )
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


def _environment() -> jinja2.Environment:
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
    title=results.metric_title,
  )
  environment.globals['metric_text'] = results.metric_text
  return environment


def _check(stages: Sequence[str], predictions: Mapping[str, Predictions | Detections]) -> None:
  if missing := [stage for stage in stages if stage not in predictions]:
    raise ValueError(f'no predictions of {missing}')
  first = predictions[stages[0]]
  for name, other in predictions.items():
    same = other.keys == first.keys and other.class_names == first.class_names
    if not (same and np.array_equal(other.labels, first.labels)):
      raise ValueError(f'the predictions of {name} and {stages[0]} are of different examples')


def _modalities(table: Mapping) -> list[str]:
  every = [m for own in table.get('modalities', {}).values() for m in own]
  return list(dict.fromkeys(every or table['stages']))


def _rows(table: Mapping) -> list[dict]:
  """Those of the results table, with the interval of Top-1 and the figure of the tile."""
  rows = results.table_rows(table)
  for row in rows:
    values = row['metrics']
    top1 = values.get('top1')
    row['interval'] = (
      None if top1 is None else classification.wilson_interval(top1, values['examples'])
    )
    row['headline'] = next(n for n in ('top1', 'auroc', *values) if n in values)
  return rows


def _size_figure(table: Mapping) -> Markup | None:
  points = [
    (stage, variant, table['bytes'][stage][variant], values['top1'])
    for stage, variants in table['stages'].items()
    for variant, values in variants.items()
    if table['bytes'].get(stage, {}).get(variant) and 'top1' in values
  ]
  return Markup(figures.accuracy_against_size(points)) if len(points) > 1 else None


def _exported(workdir: str | os.PathLike) -> list[dict]:
  """Figures of WORKDIR/benchmark.csv, where there is one: of each runtime, with one thread."""
  path = Path(workdir) / 'benchmark.csv'
  if not path.exists():
    return []
  with open(path, encoding='utf-8', newline='') as file:
    rows = [row for row in csv.DictReader(file) if row['threads'] == '1' and row['top1']]
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
        'size': Markup(figures.accuracy_against_size(sizes, 'size of the file')),
        'latency': Markup(figures.accuracy_against_latency(times)),
      }
    )
  return figures_of


def _curves(stages: Sequence[str], about: About) -> dict[str, Markup]:
  return {
    stage: Markup(figures.learning_curves(stage, about.curves[stage], about.selections[stage]))
    for stage in stages
    if about.curves.get(stage)
  }


def _detections(predictions: Mapping[str, Predictions | Detections]) -> list[tuple[str, Markup]]:
  found = ((name, p) for name, p in predictions.items() if isinstance(p, Detections))
  return [(name, Markup(figures.scores_by_class(name, p))) for name, p in found]


def _confusion(stage: str, predicted: Predictions, flagged: Sequence[str]) -> dict:
  wrong, pairs = sections.confusions(predicted)
  figure = figures.confusion_matrix(predicted.confusion(), predicted.class_names, flagged)
  return {'stage': stage, 'figure': Markup(figure), 'wrong': wrong, 'pairs': pairs}


def _class_figure(predictions: Mapping[str, Predictions], flagged) -> Markup:
  """Per-class F1 of every stage, the weakest classes of the last stage first."""
  classes = {name: classification.per_class(p.confusion()) for name, p in predictions.items()}
  last = list(predictions)[-1]
  seen = np.flatnonzero(classes[last]['support'])
  order = seen[np.argsort(classes[last]['f1'][seen], kind='stable')]
  names = [predictions[last].class_names[i] for i in order]
  f1 = {stage: values['f1'][order] for stage, values in classes.items()}
  return Markup(figures.class_bars(f1, names, flagged))


def _subjects(classified: Mapping[str, Predictions], about: About) -> list[dict]:
  if about.subjects is None or not classified:
    return []
  return sections.by_subject(classified, about.subjects)


def _worst(table: Mapping, classifiers: Mapping[str, Predictions], about: About) -> list[dict]:
  """Pictures of the signals of the errors that the last fusion, or stage, was surest of."""
  if about.signals is None or not classifiers:
    return []
  judge = classifiers[_judge(table, classifiers)]
  found = []
  for place in sections.worst(judge):
    key, names = judge.keys[place], judge.class_names
    signals = about.signals(key)
    pictures = [(name, Markup(figures.signal(x))) for name, x in signals.items() if len(x)]
    true, taken = names[judge.labels[place]], names[judge.classes[place]]
    found.append({'key': key, 'true': true, 'taken': taken, 'pictures': pictures})
  return found if any(one['pictures'] for one in found) else []


def _judge(table: Mapping, classifiers: Mapping[str, Predictions]) -> str:
  """The last fusion, or else the last stage."""
  return [*classifiers, *sections.fusions(table)][-1]


def _attention(table: Mapping, classifiers: Mapping[str, Predictions], about: About) -> list[dict]:
  """Where that stage looks in the examples that it is surest of, right ones and errors."""
  if about.attention is None or not classifiers:
    return []
  stage = _judge(table, classifiers)
  judge = classifiers[stage]
  chosen = [*sections.surest(judge), *sections.worst(judge)]
  keys, classes = [judge.keys[i] for i in chosen], judge.classes[chosen].tolist()
  found = []
  for i, pictures in zip(chosen, about.attention(stage, keys, classes), strict=True):
    true, taken = (judge.class_names[one] for one in (judge.labels[i], judge.classes[i]))
    one = {'key': judge.keys[i], 'true': true, 'taken': taken, 'right': bool(judge.correct[i])}
    found.append(one | {'pictures': pictures})
  return [one for one in found if one['pictures']]


def _duration(seconds: float) -> str:
  if seconds < 120:
    return f'{seconds:.0f} s'
  minutes = round(seconds / 60)
  return f'{minutes} min' if minutes < 120 else f'{minutes // 60} h {minutes % 60:02d} min'
