"""The report's section on what stages detect."""

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from har.evaluate import anomaly_figures, anomaly_table
from har.evaluate.anomaly import Detected


def content(table: Mapping[str, Any], detected: Sequence[Detected]) -> dict[str, Any] | None:
  """What `anomaly.html.jinja` shows; None if nothing is detected."""
  if not detected:
    return None
  by_stage: dict[str, list[Detected]] = {}
  for one in detected:
    by_stage.setdefault(one.stage, []).append(one)
  return {
    'head': anomaly_table.HEAD,
    'rows': anomaly_table.rows([table]),
    'baselines': table['anomaly']['baselines'],
    'detectors': [_detector(forms) for forms in by_stage.values()],
  }


def _detector(forms: Sequence[Detected]) -> dict[str, Any]:
  """Of a stage, its own form first."""
  first = forms[0]
  block, threshold = first.block, first.block['threshold']
  curves = {one.variant: one.moments.highest() for one in forms}
  scores = curves[first.variant]
  value = None if threshold is None else threshold['value']
  return {
    'stage': first.stage,
    'threshold': threshold,
    'rule': threshold and rule_text(threshold),
    'distributions': Markup(
      anomaly_figures.distributions(first.stage, scores, first.abnormal, value)
    ),
    'receiver': _receiver(first, curves),
    'tables': {
      'By class': block['classes'],
      'People without an abnormal recording, by class': block['never_abnormal'],
      'By person': block['people'],
    },
  }


def _receiver(first: Detected, curves: Mapping[str, Any]) -> Markup:
  if first.abnormal.all() or not first.abnormal.any():
    return Markup('')
  return Markup(anomaly_figures.receiver(first.stage, curves, first.abnormal))


def rule_text(threshold: Mapping[str, Any]) -> str:
  """How a threshold was chosen."""
  if threshold['fit'] == 'rate':
    return f'at most {threshold["per_hour"]:g} false alarms an hour'
  text = f'{100 * threshold["quantile"]:g} % of normal recordings not above it'
  return f'{text}, by a generalised Pareto tail' if threshold['fit'] == 'extreme' else text
