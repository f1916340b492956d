"""The options of a config's `compress`."""

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from har.errors import UserError
from har.options import Option, Schema, of_class, read
from har.ranges import POSITIVE, Choice, Many, Number, Patterns, Rate, Section, Share, Size, Text

Bits = Annotated[int, Number(2, 16, whole=True)]


@dataclasses.dataclass(frozen=True)
class Scheme:
  """How a model is quantised.

  Attributes:
    weights: bits of kernels.
    activations: bits of activations.
    ranges: 'static', found once on training examples, or 'dynamic', those of each array (of a whole
      batch) as it comes.
    calibration: 'minmax' or 'percentile', for static ranges: they cover all examples, or a share.
    percentile: that share, in per cent; of videos that are seen frame by frame, of the frames.
    examples: training examples that static ranges are found on.
    equalise: whether channels between two layers are brought to like sizes, see
      `har.compress.equalise`, and biases rid of what rounding adds on average; with static ranges.
    keep_float: path patterns of layers that are not quantised (see `har.models.mode.matches`).
  """

  weights: Bits = 8
  activations: Bits = 8
  ranges: Literal['static', 'dynamic'] = 'static'
  calibration: Literal['minmax', 'percentile'] = 'minmax'
  percentile: Annotated[float, Number(50, 100, above=True)] = 99.0
  examples: Size = 128
  equalise: bool = False
  keep_float: Patterns = ()

  @classmethod
  def from_config(cls, config: Mapping[str, Any]) -> 'Scheme':
    """From `config.compress.int8`.

    Raises:
      UserError: an unknown option, or a value out of range.
    """
    return cls(**read(INT8, config, 'config.compress.int8'))


@dataclasses.dataclass(frozen=True)
class Pruning:
  """How sparse kernels become, and when.

  Attributes:
    sparsity: share of the kernels' weights that end as zeros, in [0, 1).
    scope: 'global' ranks the weights of all kernels together, 'layer' those of each kernel, and
      '2:4' leaves at most two of any four neighbouring input channels, so half of the weights; at
      a lower sparsity, only in the groups that lose least.
    schedule: 'one_shot' at `begin`, or 'cubic' from there to `end`: s (1 - (1 - t)^3) for t in
      [0, 1] (Zhu and Gupta, 2017).
    begin: fraction of the stage's steps.
    end: likewise, for the cubic schedule.
    times: how often the cubic schedule prunes.
    exclude: path patterns (see `har.models.mode.matches`) of kernels that stay dense.
  """

  sparsity: Rate = 0.8
  scope: Literal['global', 'layer', '2:4'] = 'global'
  schedule: Literal['one_shot', 'cubic'] = 'cubic'
  begin: Share = 0.0
  end: Share = 0.5
  times: Size = 20
  exclude: Patterns = ()

  def __post_init__(self) -> None:
    if self.scope == '2:4' and self.sparsity > 0.5:
      raise UserError(
        f"config.compress.pruned.sparsity={self.sparsity}: must be at most 0.5 for scope='2:4'"
      )
    if self.begin > self.end:
      raise UserError(f'config.compress.pruned.begin={self.begin}: must be at most end={self.end}')

  def events(self, total_steps: int) -> dict[int, float]:
    """The sparsity that is reached before each step at which weights are pruned."""
    first = round(self.begin * total_steps)
    if self.schedule == 'one_shot':
      return {min(first, total_steps - 1): self.sparsity}
    last = round(self.end * total_steps)
    out = {}
    for i in range(1, self.times + 1):
      step = first + round(i * (last - first) / self.times)
      out[min(step, total_steps - 1)] = self.sparsity * (1 - (1 - i / self.times) ** 3)
    return out


@dataclasses.dataclass(frozen=True)
class Slimming:
  """How much of each encoder goes.

  Attributes:
    flops: share of the multiply-adds of its layers that an encoder keeps, at most.
    policy: from which unit the next channels go: 'work' takes those that lose least importance per
      multiply-add saved, mostly from the early, costly units; 'even' takes them from the unit that
      has lost the least share of its importance, so that all become narrower, which saves memory
      traffic too and so more time.
    multiple: channel counts become multiples of it.
    least: share of its channels that every unit keeps.
    exclude: path patterns (see `har.models.mode.matches`) of layers, modality first, that keep all
      channels, e.g. 'depth/Mixed_5c'; a modality alone leaves out its encoder.
  """

  flops: Annotated[float, Number(0, 1, above=True)] = 0.5
  policy: Literal['work', 'even'] = 'work'
  multiple: Size = 8
  least: Share = 0.5
  exclude: Patterns = ()


_TRAINED = ('int8_qat', 'pruned', 'slim')
_MORE = ('slim_int8_qat',)

COMPRESS = {
  'int8': Option({}, Section(), 'how values are quantised'),
  'study': Option({}, Section(), 'schemes that are compared: what they change in int8'),
  'variants': Option(
    _TRAINED, Many(Choice((*_TRAINED, *_MORE)), distinct=True), 'what --mode=compress trains'
  ),
  'int8_qat': Option({}, Section(), 'see there'),
  'pruned': Option({}, Section(), 'see there'),
  'slim': Option({}, Section(), 'see there'),
}

INT8 = of_class(Scheme)

QAT = {
  'learning_rate': Option(0.002, POSITIVE, "a factor on the stage's own"),
  'epochs': Option(0.1, POSITIVE, "a factor on the stage's own"),
}

TRAINING = {
  'epochs': Option(1.0, POSITIVE, "a factor on the stage's own"),
  'learning_rate': Option(1.0, POSITIVE, "a factor on the stage's own"),
  'trained': Option(('*',), Many(Text(), 1), 'path patterns of the parameters that are trained'),
  'changes': Option({}, Section(), "other values of the stage's config"),
}

PRUNED = {**of_class(Pruning), **TRAINING}

SLIM = {**of_class(Slimming), **TRAINING}


def own(schema: Schema, settings: Mapping[str, Any], name: str) -> dict[str, Any]:
  """Of `config.compress[name]`, what is taken out, not how the rest is trained.

  Args:
    schema: `PRUNED` or `SLIM`.
    settings: the section.
    name: for messages.

  Raises:
    UserError: as `har.options.read`.
  """
  found = read(schema, settings, f'config.compress.{name}')
  return {key: value for key, value in found.items() if key not in TRAINING}
