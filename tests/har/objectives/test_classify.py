"""Losses by hand: smoothing, class weights, each modality's own logits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from har.errors import UserError
from har.models.types import Outputs
from har.objectives import registry
from har.objectives.classify import Classify, cross_entropy
from har.objectives.objective import Facts

FACTS = Facts(('a', 'b', 'c'), (), np.array([6, 3, 1]))
LOGITS = jnp.log(jnp.array([[0.7, 0.2, 0.1], [0.1, 0.6, 0.3]]))
BATCH = {'label': jnp.array([0, 2])}


def loss_of(objective, inputs=None, outputs=None):
  _, targets = objective.prepare(inputs or {}, BATCH, jax.random.key(0), None)
  return objective.loss(outputs or Outputs(LOGITS), targets)


def test_cross_entropy_by_hand():
  logits, labels = LOGITS[:1], jnp.array([0])
  assert float(cross_entropy(logits, labels)[0]) == pytest.approx(-np.log(0.7), rel=1e-5)
  smooth = -(0.7 + 0.1) * np.log(0.7) - 0.1 * np.log(0.2) - 0.1 * np.log(0.1)
  assert float(cross_entropy(logits, labels, 0.3)[0]) == pytest.approx(smooth, rel=1e-5)


def test_loss_and_accuracy():
  loss, metrics = loss_of(Classify(FACTS))
  assert float(loss) == pytest.approx(-(np.log(0.7) + np.log(0.3)) / 2, rel=1e-5)
  assert float(metrics['top1']) == 0.5


@pytest.mark.parametrize(
  ('given', 'weights'),
  [('balanced', (10 / 18, 10 / 9, 10 / 3)), ((1.0, 0.0, 2.5), (1, 0, 2.5)), ('none', (1, 1, 1))],
)
def test_class_weights(given, weights):
  objective = Classify(FACTS, class_weights=given)
  expected = -(weights[0] * np.log(0.7) + weights[2] * np.log(0.3)) / 2
  assert float(loss_of(objective)[0]) == pytest.approx(expected, rel=1e-5)
  # Balanced weights are 1 in the mean over the training examples.
  if given == 'balanced':
    assert np.average(objective.weights(), weights=FACTS.counts) == pytest.approx(1)


def test_own_losses_count_where_the_modality_is():
  outputs = Outputs(LOGITS, own_logits={'imu': LOGITS, 'rgb': LOGITS[::-1]})
  inputs = {'imu_present': jnp.array([False, True])}
  whole = float(loss_of(Classify(FACTS, auxiliary=2.0), inputs, outputs)[0])
  imu, rgb = -np.log(0.3), -(np.log(0.1) + np.log(0.1)) / 2
  assert whole == pytest.approx(-(np.log(0.7) + np.log(0.3)) / 2 + 2 * (imu + rgb), rel=1e-5)


def test_validation_and_evaluation():
  scores, labels = {'logits': np.asarray(LOGITS)}, np.array([0, 2])
  figures = Classify(FACTS, label_smoothing=0.5).validate(scores, labels)
  assert figures == {'loss': pytest.approx(0.78032, abs=1e-4), 'top1': 0.5}
  predicted = Classify(FACTS).evaluate(scores, ('x', 'y'), labels)
  assert predicted.classes.tolist() == [0, 1]
  assert predicted.class_names == FACTS.class_names


@pytest.mark.parametrize(
  ('options', 'message'),
  [
    ({'kind': 'clasify'}, "objective.kind='clasify': must be one of 'classify', 'cmkm'"),
    ({'kind': 'classify', 'smoothing': 0.1}, 'objective.smoothing=0.1: no such option'),
    (
      {'kind': 'classify', 'label_smoothing': 1.0},
      'smoothing=1.0: must be a finite number',
    ),
    ({'kind': 'classify', 'mixup': -1.0}, 'must be a finite number, at least 0'),
    (
      {'kind': 'classify', 'class_weights': 'equal'},
      "weights='equal': must be one of 'none'",
    ),
    ({'kind': 'classify', 'class_weights': (1.0, 2.0)}, 'must be a number for each of 3 classes'),
    ({'kind': 'distil'}, 'objective.teacher is missing: it must be a text'),
    (
      {'kind': 'distil', 'teacher': 'stage:a', 'temperature': 0.0},
      'must be a finite number, above 0',
    ),
  ],
)
def test_wrong_options_are_refused(options, message):
  with pytest.raises(UserError, match=message):
    registry.build(options, FACTS)


def test_a_class_without_examples_cannot_be_balanced():
  facts = Facts(('a', 'b'), (), np.array([3, 0]))
  with pytest.raises(UserError, match="no training example is of the class 'b'"):
    Classify(facts, class_weights='balanced')


def test_a_head_without_logits_is_refused():
  with pytest.raises(UserError, match='needs a head that gives logits'):
    loss_of(Classify(FACTS), outputs=Outputs(reconstruction={'imu': LOGITS}))
