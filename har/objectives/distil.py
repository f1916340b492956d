"""Learning another stage's probabilities in place of labels (Hinton et al., 2015)."""

import dataclasses
from typing import Any, ClassVar

import jax
import optax

from har.models.mode import INFERENCE
from har.models.types import Outputs
from har.objectives.classify import Classifier, logits_of
from har.objectives.objective import Arrays, Metrics
from har.ranges import Positive


@dataclasses.dataclass(frozen=True)
class Distil(Classifier):
  """Cross entropy of a teacher's probabilities.

  The teacher may use inputs that the student does not; they are read for training alone. It sees
  the student's augmented examples, in inference mode.

  Attributes:
    teacher: 'stage:NAME', an earlier stage of the experiment that classifies.
    temperature: both models' logits are divided by it, and the loss is multiplied by its square, so
      that gradients keep their size.
    teacher_model: that stage's model.
  """

  needs_inputs: ClassVar[bool] = True  # The teacher does.
  teacher: str
  teacher_model: Any
  temperature: Positive = 1.0

  def prepare(
    self, inputs: Arrays, batch: Arrays, key: jax.Array, teacher: Any
  ) -> tuple[Arrays, Any]:
    del key
    logits = logits_of(self.teacher_model.apply(teacher, inputs, INFERENCE))
    return inputs, {
      'label': batch['label'],
      'classes': jax.nn.softmax(logits / self.temperature),
    }

  def loss(self, outputs: Outputs, targets: Any) -> tuple[jax.Array, Metrics]:
    logits = logits_of(outputs)
    losses = optax.softmax_cross_entropy(logits / self.temperature, targets['classes'])
    top1 = (logits.argmax(-1) == targets['label']).mean()
    return self.temperature**2 * losses.mean(), {'top1': top1}
