"""The options of a config's `alarm`: what becomes of scores that tell abnormal from normal."""

from har.metrics.thresholds import Rule
from har.options import Schema, flag, of_class

ALARM: Schema = {
  **of_class(Rule),
  'baselines': flag(
    True, 'detectors of scikit-learn are fitted on the same windows and reported beside'
  ),
}
