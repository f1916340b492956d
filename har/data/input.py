"""The interface of a kind of input."""

import abc
import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import numpy as np

from har.data.steps import step
from har.errors import UserError
from har.options import Schema, read, shown

Example = dict[str, Any]  # of NumPy arrays and scalars
Arrays = dict[str, jax.Array]


@dataclasses.dataclass(frozen=True)
class Input(abc.ABC):
  """One input of a model: how it is read, padded, preprocessed and described.

  A new kind is a subclass in a file of its own, and a line in `har.data.inputs.KINDS`. Batches hold
  an input's arrays under its name and under its name with an ending: `_mask`, `_present`.

  Attributes:
    name: in batches, in the model and in parameter paths.
    field: of records.
    options: those of `schema`, complete.
  """

  name: str
  field: str
  options: Mapping[str, Any]

  kind: ClassVar[str]
  """Its name in configs."""
  schema: ClassVar[Schema]
  augmentation: ClassVar[Schema]
  is_video: ClassVar[bool] = False
  """Video is read from disk whenever it is used, other inputs once."""

  def __post_init__(self) -> None:
    self.check()

  @abc.abstractmethod
  def check(self) -> None:
    """Raises UserError where options do not go together."""

  @property
  def is_colour(self) -> bool:
    """Whether its pictures are colours as a camera gives them."""
    return False

  @property
  def may_lack(self) -> bool:
    """Whether an example may lack this input altogether; batches then have `<name>_present`."""
    return False

  @property
  def is_padded(self) -> bool:
    """Whether masks are false anywhere."""
    return self.may_lack

  def check_lengths(self, lengths: Mapping[str, int]) -> str:
    """Raises UserError if a recording, of so many rows by key, is none for this input.

    Returns a warning if one hardly is; else nothing.
    """
    del lengths
    return ''

  @abc.abstractmethod
  def read(self, record: Mapping[str, Any], rng: np.random.Generator | None) -> Example:
    """Arrays of one example in the shapes that batches have; `rng` chooses frames at random."""

  @abc.abstractmethod
  def padding(self) -> Example:
    """Those of an example that is not there."""

  def lacks(self, record: Mapping[str, Any]) -> bool:
    """Whether the record has nothing of this input; decodes nothing."""
    del record
    return False

  @abc.abstractmethod
  def preprocess(
    self,
    batch: Mapping[str, Any],
    key: jax.Array | None,
    augment: Mapping[str, Any],
    flip_safe: Any,
  ) -> Arrays:
    """What enters the model, normalised; inside a jitted function.

    Args:
      batch: as the loader gives it.
      key: augments if it is there.
      augment: options of `augmentation`, complete.
      flip_safe: bool `[num_classes]`, false where left and right matter.
    """

  @abc.abstractmethod
  def steps(self) -> list[dict[str, Any]]:
    """From a recording to what an exported file takes, in order; see `step`."""

  def augment_options(self, config: Any, where: str = 'augment') -> dict[str, Any]:
    """Options of the augmentation, defaults filled in; UserError if one is unknown or wrong."""
    return read(self.augmentation, config, f'{where}.{self.name}')

  def fail(self, option: str, problem: str) -> None:
    """Raises UserError about an option's value."""
    raise UserError(f'config.inputs.{self.name}.{option}={self.options[option]!r}: {problem}')

  def check_statistics(self, channels: int) -> None:
    """Raises UserError unless `mean` and `std` are one number or one for each channel."""
    for option in ('mean', 'std'):
      value = self.options[option]
      if isinstance(value, tuple | list) and len(value) not in (1, channels):
        raise UserError(
          f'config.inputs.{self.name}.{option}={shown(value)}: {len(value)} numbers for {channels} '
          'channels'
        )


def normalise(options: Mapping[str, Any]) -> dict[str, Any]:
  """The step that scales channels to about 1."""
  how = '(x - mean) / std; one number each, or one for each channel'
  return step('normalise', how, mean=options['mean'], std=options['std'])


MASK = step('mask', 'zero wherever the mask is 0; after normalising, so not the value of a 0')


def per_example(x: jax.Array, ndim: int) -> jax.Array:
  """`[B]` with further axes of one element, `ndim` in all."""
  return x.reshape(-1, *(1,) * (ndim - 1))


def flip_decisions(
  key: jax.Array, probability: float, labels: jax.Array, flip_safe: Any
) -> jax.Array:
  """Decides for each clip whether it is mirrored.

  Args:
    key: PRNG key.
    probability: of mirroring a clip that may be mirrored.
    labels: int32 `[B]`.
    flip_safe: bool `[num_classes]`, false where mirroring would turn one class into another;
      None if every class may be mirrored.

  Returns:
    bool `[B]`.
  """
  flip = jax.random.bernoulli(key, probability, labels.shape)
  return flip if flip_safe is None else flip & jax.numpy.asarray(flip_safe)[labels]
