"""The options of a config's `dataset`."""

from har.data.protocols import SplitOptions
from har.options import ABSENT, MISSING, Option, flag, of_class
from har.ranges import TEXTS, Section, Text

DATASET = {
  'name': Option(MISSING, Text(), 'a folder in `data_builders`'),
  **of_class(SplitOptions),
  'abnormal': Option((), TEXTS, 'classes to report; none named: those that the builder names'),
  'require_complete': flag(
    True, 'false: trials that lack one of the modalities are left out and listed in the report'
  ),
  'options': Option(ABSENT, Section(), "of the dataset's builder"),
}
