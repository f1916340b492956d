"""The options of a config's `dataset`, and of `windows` in it."""

from har.data.protocols import SplitOptions
from har.options import ABSENT, MISSING, Option, amount, choice, defaults, flag, of_class
from har.ranges import TEXTS, WHOLE, AnyOf, Many, Section, Text

WINDOWS = {
  'seconds': amount(meaning='length of a window; 0: examples are whole recordings'),
  'step': amount(
    meaning='seconds from the beginning of one window to that of the next; 0: `seconds`'
  ),
  'abnormal': choice(
    'all',
    'peak',
    meaning='of abnormal training recordings: all windows, or only those with the strongest sample '
    'of the first sensor, as the rest may be normal',
  ),
  'evaluate': choice(
    'window',
    'recording',
    meaning='what is counted: every window, or every recording by the mean of its windows',
  ),
}

_NAMES = Many(Text(), distinct=True)

HIDDEN = {
  'hidden_from': Option(
    (),
    _NAMES,
    'fields, such as imu, that show some classes in the test alone; the inputs that read them need '
    'optional=True',
  ),
  'hidden': Option(
    0,
    AnyOf((WHOLE, _NAMES)),
    'which classes: their names, or how many. These are drawn by the seed; fewer are among more',
  ),
}

DATASET = {
  'name': Option(MISSING, Text(), 'a folder in `data_builders`'),
  **of_class(SplitOptions),
  **HIDDEN,
  'windows': Option(defaults(WINDOWS), Section(), 'of recordings, as examples'),
  'abnormal': Option((), TEXTS, 'classes to report; none named: those that the builder names'),
  'require_complete': flag(
    True, 'false: trials that lack one of the modalities are left out and listed in the report'
  ),
  'options': Option(ABSENT, Section(), "of the dataset's builder"),
}
