"""Objectives by the names that configs use."""

from collections.abc import Mapping
from typing import Any

from har import options
from har.objectives.classify import Classify
from har.objectives.cmkm import Mined
from har.objectives.contrast import Contrast
from har.objectives.cooperate import Cooperate
from har.objectives.dask import Dask
from har.objectives.distil import Distil
from har.objectives.familiar import Familiar
from har.objectives.objective import Facts, Objective
from har.objectives.reconstruct import Reconstruct
from har.objectives.views import Views

OBJECTIVES: dict[str, type[Objective]] = {
  'classify': Classify,
  'cmkm': Mined,
  'contrast': Contrast,
  'cooperate': Cooperate,
  'dask': Dask,
  'distil': Distil,
  'familiar': Familiar,
  'reconstruct': Reconstruct,
  'views': Views,
}

# Attributes that are not for configs to set.
GIVEN = ('facts', 'teacher_model')


def build(config: Mapping[str, Any], facts: Facts, teacher_model: Any = None) -> Objective:
  """Builds the objective of a stage.

  Args:
    config: the `kind` (see `OBJECTIVES`) and its options, which are the attributes of that class.
    facts: of the stage's data.
    teacher_model: of the stage that is learnt from, for the objectives that have one.

  Raises:
    UserError: a kind or an option is unknown, or a value out of range.
  """
  given = {'facts': facts, 'teacher_model': teacher_model}
  return options.build(OBJECTIVES, config, 'objective', given, GIVEN)
