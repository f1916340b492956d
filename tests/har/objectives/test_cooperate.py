"""Activities and their groups, by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from har.errors import UserError
from har.models.types import Outputs
from har.objectives.cooperate import Cooperate
from har.objectives.objective import Facts

FACTS = Facts(('walk', 'clap', 'wave'), (), np.array([2, 1, 1]))
GROUPS = (('clap', 'wave'), ('walk',))
LOGITS = np.array([[1.0, 0.0, -1.0], [0.5, 2.0, 0.0]], np.float32)
OF_GROUPS = np.array([[0.3, -0.2], [1.0, 0.1]], np.float32)
LABELS = np.array([0, 2])


def log_softmax(x):
  return x - np.log(np.exp(x).sum(-1, keepdims=True))


@pytest.mark.parametrize('smoothing', [0.0, 0.3])
def test_loss_is_that_of_both_tasks(smoothing):
  objective = Cooperate(FACTS, label_smoothing=smoothing, groups=GROUPS, group_weight=0.5)
  inputs, targets = objective.prepare({}, {'label': jnp.array(LABELS)}, jax.random.key(0), None)
  assert inputs == {}
  loss, metrics = objective.loss(Outputs(LOGITS, group_logits=OF_GROUPS), targets)
  classes = (1 - smoothing) * np.eye(3)[LABELS] + smoothing / 3
  groups = np.stack([classes[:, 1] + classes[:, 2], classes[:, 0]], 1)
  target = -(classes * log_softmax(LOGITS)).sum(1).mean()
  auxiliary = -(groups * log_softmax(OF_GROUPS)).sum(1).mean()
  np.testing.assert_allclose(loss, target + 0.5 * auxiliary, rtol=1e-5)
  assert float(metrics['top1']) == 0.5
  assert float(metrics['group_top1']) == 0.5  # The first is of group 1, the second of 0.


def test_class_weights_weigh_both_tasks():
  objective = Cooperate(FACTS, groups=GROUPS, class_weights=(0.0, 1.0, 3.0))
  _, targets = objective.prepare({}, {'label': jnp.array(LABELS)}, jax.random.key(0), None)
  loss, _ = objective.loss(Outputs(LOGITS, group_logits=OF_GROUPS), targets)
  expected = -3 * (log_softmax(LOGITS)[1, 2] + log_softmax(OF_GROUPS)[1, 0]) / 2
  np.testing.assert_allclose(loss, expected, rtol=1e-5)


@pytest.mark.parametrize(
  ('groups', 'message'),
  [
    ((('clap', 'wave'),), "the class 'walk' is of 0 groups, and must be of one"),
    ((('clap', 'wave'), ('walk', 'clap')), "the class 'clap' is of 2 groups"),
    ((('clap', 'jump'),), "'jump' is none of the classes walk, clap, wave"),
  ],
)
def test_each_class_is_of_one_group(groups, message):
  with pytest.raises(UserError, match=message):
    Cooperate(FACTS, groups=groups)


@pytest.mark.parametrize(('given', 'told'), [(None, 'no groups'), (LOGITS, '3 groups')])
def test_the_head_must_tell_as_many_groups(given, told):
  objective = Cooperate(FACTS, groups=GROUPS)
  _, targets = objective.prepare({}, {'label': jnp.array(LABELS)}, jax.random.key(0), None)
  with pytest.raises(UserError, match=f'there are 2, and the head tells {told}; set head.kind=mum'):
    objective.loss(Outputs(LOGITS, group_logits=given), targets)
