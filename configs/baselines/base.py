"""What the rivals' configs share; not an experiment itself.

All are on the data, the protocol, the inputs and encoders of `configs/utd_mhad.py` (`recipe=tuned`,
with its augmentation) or `configs/mmact.py`, so that what differs is the method. On MMAct epochs,
rates and augmentation are ours and were not tried on recordings. `configs/README.md` has what each
paper says, what it leaves open, and accuracies.
"""

from typing import Any

from ml_collections import ConfigDict

from configs import base, mmact, utd_mhad

DATASETS = ('utd_mhad', 'mmact')
UTD_MHAD = 'utd_mhad'

# Of MMAct's examples. Its sensors do not turn together, and some measure angles: no rotation.
_MMACT_AUGMENT: dict[str, dict[str, Any]] = {
  'imu': {'scale': 0.1, 'time_warp': 0.2, 'crop': 0.1, 'jitter': 0.05},
  'rgb': {'crop': True, 'zoom': 0.1, 'brightness': 0.15, 'contrast': 0.15},
}


def parse_modalities(dataset: str, value: str) -> tuple[str, ...]:
  """Those of `modalities=` that the dataset has; UserError for others, or an unknown dataset."""
  base.choose('dataset', dataset, DATASETS)
  known = base.MODALITIES if dataset == UTD_MHAD else tuple(_MMACT_AUGMENT)
  return base.parse_modalities(value, known)


def experiment(modalities: tuple[str, ...], dataset: str = UTD_MHAD) -> ConfigDict:
  """A dataset with the inputs and encoders of these modalities, without stages."""
  if dataset == 'mmact':
    config = mmact.get_config(f'modalities={"+".join(modalities)}')
    config.stages, config.order = ConfigDict(), ()
    return config
  config = base.experiment(dataset, modalities)
  for name in modalities:
    config.inputs[name], config.encoders[name], _ = utd_mhad.tuned(name)
  return config


def first_stage(name: str, dataset: str = UTD_MHAD) -> ConfigDict:
  """The stage that trains one modality."""
  if dataset == 'mmact':
    return {'imu': mmact.imu, 'rgb': mmact.rgb}[name]()[2]
  return utd_mhad.tuned(name)[2]


def augmentation(modalities: tuple[str, ...], dataset: str = UTD_MHAD) -> dict[str, Any]:
  """Of the training examples, by input."""
  if dataset == 'mmact':
    return {name: _MMACT_AUGMENT[name] for name in modalities}
  return {name: utd_mhad.tuned(name)[2].augment[name].to_dict() for name in modalities}


def schedule(dataset: str, epochs: float, learning_rate: float) -> dict[str, Any]:
  """These on UTD-MHAD, whose epochs are of 431 examples; less on MMAct, which has far more."""
  if dataset == 'mmact':
    return {'epochs': min(epochs, 50.0), 'learning_rate': min(learning_rate, 1e-3)}
  return {'epochs': epochs, 'learning_rate': learning_rate}


def at_once(
  modalities: tuple[str, ...],
  dataset: str = UTD_MHAD,
  *,
  objective: dict[str, Any],
  head: dict[str, Any],
) -> ConfigDict:
  """An experiment of one stage, `fusion`, that trains everything from the start."""
  config = experiment(modalities, dataset)
  config.stages.fusion = base.stage(
    modalities,
    **schedule(dataset, 200.0, 2e-3),
    batch_size=64,
    objective={'label_smoothing': 0.1, **objective},
    augment=augmentation(modalities, dataset),
    head=head,
    optimizer={'weight_decay': 0.02, 'warmup': 0.3},
  )
  config.order = ('fusion',)
  return config
