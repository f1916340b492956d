"""What the report's figures have in common: colours, style, axes, class names, and SVG.

Drawn with Matplotlib's object interface, one unit = one CSS pixel. It is imported where it is used:
that takes a second, and no training has to wait for it. Text stays text, so that the
page's font applies and a browser can search it. The neutral colours below are placeholders for the
page's CSS variables, which is how a figure follows a light, a dark or a printed page.
"""

import hashlib
import io
import itertools
import re
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
  from matplotlib import ticker
  from matplotlib.figure import Figure
  from matplotlib.patches import Rectangle


INK, MUTED, GRID, ALARM = '#010101', '#020202', '#030303', '#040404'
VARIABLES = {INK: '--ink', MUTED: '--muted', GRID: '--grid', ALARM: '--alarm'}
COLOURS = {
  'imu': '#3b78d8',
  'rgb': '#2a9d6a',
  'depth': '#8b5fd0',
  'skeleton': '#d99a1f',
  'fusion': '#d6455d',
  'product': '#8a929c',
  'decision': '#5c6b7a',
}
STYLE = {
  'svg.fonttype': 'none',
  'svg.hashsalt': 'har',
  'font.family': 'sans-serif',
  'font.size': 11,
  'text.color': INK,
  'axes.labelcolor': MUTED,
  'axes.titlesize': 12,
  'axes.titlecolor': INK,
  'axes.edgecolor': GRID,
  'axes.linewidth': 1,
  'axes.unicode_minus': False,
  'text.parse_math': False,
  'xtick.color': GRID,
  'ytick.color': GRID,
  'xtick.labelcolor': MUTED,
  'ytick.labelcolor': MUTED,
  'figure.facecolor': 'none',
  'axes.facecolor': 'none',
  'legend.frameon': False,
}
LONGEST_NAME = 30


def colour(stage: str) -> str:
  """A stage's colour, the same in every figure and run."""
  return COLOURS.get(stage, '#12909a')


def axes(
  figure: 'Figure', spans, *, top: float, height: float, bottom: float, right: float
) -> list:
  """Axes at given pixels, (left, width) each, and the figure's size around them."""
  width = spans[-1][0] + spans[-1][1] + right
  whole = top + height + bottom
  figure.set_size_inches(width / 72, whole / 72)
  return [
    figure.add_axes((left / width, bottom / whole, across / width, height / whole))
    for left, across in spans
  ]


def bare(ax) -> None:
  """Leaves the lower spine alone, and no ticks."""
  for side in ('top', 'right', 'left'):
    ax.spines[side].set_visible(False)
  ax.tick_params(which='both', length=0)


def labels(class_names: Sequence[str], flagged: Iterable[str]) -> list[str]:
  """Names of classes, shortened, with a mark before those that are flagged."""
  marks = [
    '\N{BLACK UP-POINTING TRIANGLE} ' if name in set(flagged) else '' for name in class_names
  ]
  short = [
    name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + '\N{HORIZONTAL ELLIPSIS}'
    for name in class_names
  ]
  return [mark + name for mark, name in zip(marks, short, strict=True)]


def text_width(labels: Iterable[str]) -> float:
  """Pixels that the longest label takes, about."""
  return 10 + 6.2 * max(len(label) for label in labels)


def flag(ticks, class_names: Sequence[str], flagged: Iterable[str]) -> None:
  """Colours the labels at ticks."""
  for tick, name in zip(ticks, itertools.cycle(class_names), strict=False):
    tick.set_color(ALARM if name in set(flagged) else INK)


def style():
  """The context that figures are drawn in."""
  import matplotlib

  return matplotlib.rc_context(STYLE)


def figure() -> 'Figure':
  """An empty figure."""
  from matplotlib.figure import Figure

  return Figure(dpi=72)


def percent() -> 'ticker.Formatter':
  """Writes an axis's fractions in %."""
  from matplotlib import ticker

  return ticker.PercentFormatter(1.0, decimals=0)


def at_most(count: int) -> 'ticker.MaxNLocator':
  """Round values on an axis, one more at most."""
  from matplotlib import ticker

  return ticker.MaxNLocator(count)


def rectangle(corner: tuple[float, float], width: float, height: float, **look) -> 'Rectangle':
  """To be added to axes."""
  from matplotlib.patches import Rectangle

  return Rectangle(corner, width, height, **look)


def written(text: Callable[[float], str]) -> 'ticker.Formatter':
  """Writes an axis's values as a function does."""
  from matplotlib import ticker

  return ticker.FuncFormatter(lambda value, _: text(value))


def svg(figure: 'Figure') -> str:
  """The figure as an <svg> element with no outside reference and identifiers of its own."""
  buffer = io.StringIO()
  with warnings.catch_warnings():
    # The browser draws the text, so it does not matter what Matplotlib's own font lacks.
    warnings.filterwarnings('ignore', 'Glyph .* missing from font')
    figure.savefig(buffer, format='svg', metadata={'Date': None})
  text = buffer.getvalue()
  text = re.sub(r'<metadata>.*?</metadata>|<!--.*?-->', '', text[text.index('<svg') :], flags=re.S)
  text = re.sub(r'font-family: [^;\"]*;?', '', text)
  prefix = f'f{hashlib.sha256(text.encode()).hexdigest()[:8]}-'
  text = re.sub(r'\bid="', f'id="{prefix}', text)
  text = re.sub(r'xlink:href="#', f'href="#{prefix}', text).replace('url(#', f'url(#{prefix}')
  for placeholder, variable in VARIABLES.items():
    text = text.replace(placeholder, f'var({variable})')
  width = figure.get_size_inches()[0] * 72
  return re.sub(
    r'<svg[^>]*?(viewBox="[^"]*")[^>]*>', rf'<svg \1 style="width:{width:.0f}px">', text, count=1
  )
