"""What the rivals' configs share; not an experiment itself.

All are on the data, the protocol, the inputs, encoders and augmentation of `configs/utd_mhad.py`
(`recipe=tuned`), so that what differs is the method. `configs/README.md` has what each paper says,
what it leaves open, and accuracies.
"""

from typing import Any

from ml_collections import ConfigDict

from configs import base, utd_mhad


def experiment(modalities: tuple[str, ...]) -> ConfigDict:
  """UTD-MHAD with the inputs and encoders of these modalities, without stages."""
  config = base.experiment('utd_mhad', modalities)
  for name in modalities:
    config.inputs[name], config.encoders[name], _ = utd_mhad.tuned(name)
  return config


def augmentation(modalities: tuple[str, ...]) -> dict[str, Any]:
  """Of the training examples, by input."""
  return {name: utd_mhad.tuned(name)[2].augment[name].to_dict() for name in modalities}


def at_once(
  modalities: tuple[str, ...], *, objective: dict[str, Any], head: dict[str, Any]
) -> ConfigDict:
  """An experiment of one stage, `fusion`, that trains everything from the start."""
  config = experiment(modalities)
  config.stages.fusion = base.stage(
    modalities,
    learning_rate=2e-3,
    epochs=200.0,
    batch_size=64,
    objective={'label_smoothing': 0.1, **objective},
    augment=augmentation(modalities),
    head=head,
    optimizer={'weight_decay': 0.02, 'warmup': 0.3},
  )
  config.order = ('fusion',)
  return config
