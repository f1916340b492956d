"""The studies there are: a new one is a module like `har.study.video` and a line in `STUDIES`."""

from collections.abc import Sequence
from typing import Protocol

from har.study import fig2, fig3, table2, video
from har.study.measured import Measured
from har.study.row import Asked, Row
from har.study.table import Picture


class Study(Protocol):
  """What a study's module has."""

  def rows(self, asked: Asked) -> list[Row]:
    """The rows of its table; UserError if it cannot do what it is asked for."""

  def picture(self, measured: Sequence[Measured]) -> Picture | None:
    """A picture of what there is so far; None if nothing is to be seen yet."""


STUDIES: dict[str, Study] = {'table2': table2, 'fig2': fig2, 'fig3': fig3, 'video': video}
