"""What is fixed about a dataset of trials: its actions, people, files and rates."""

import dataclasses
import re
from collections.abc import Mapping
from typing import NamedTuple

MODALITIES = ('imu', 'rgb', 'depth', 'skeleton')
"""What recordings have files of; optical flow is made of colour video."""
SPLITS = ('train', 'test')


class Trial(NamedTuple):
  """One performance: 1-based action number, subject number and repetition."""

  action: int
  subject: int
  trial: int

  @property
  def key(self) -> str:
    return f'a{self.action}_s{self.subject}_t{self.trial}'

  @classmethod
  def from_key(cls, key: str) -> 'Trial | None':
    """The trial of a canonical key; None for anything else, leading zeros included."""
    match = re.fullmatch(r'a(\d{1,4})_s(\d{1,4})_t(\d{1,4})', key, re.ASCII)
    trial = cls(*map(int, match.groups())) if match else None
    return trial if trial and trial.key == key else None


@dataclasses.dataclass(frozen=True)
class TrialLayout:
  """What is fixed about a dataset of trials.

  Attributes:
    name: name of the dataset.
    actions: action names in label order; action number 1 of a file name is `actions[0]`.
    subjects: subject numbers.
    trials: repetition numbers.
    rates: samples or frames a second per modality, nominal; it has just the modalities recorded.
    train_subjects: subjects of the 'train' split; the others make up 'test'.
    absent: keys that the complete dataset lacks.
    flip_sensitive: actions whose meaning depends on left and right.
    abnormal: actions that a monitoring system should report.
    rgb_size: height and width of the RGB video in pixels, when it is upright.
    depth_size: height and width of the depth video in pixels.
    duration_ratio: smallest and largest accepted ratio of a video's duration, at its nominal rate,
      to that of the trial's IMU signal. By default what UTD-MHAD needs, whose camera dropped frames
      (measured 0.58 to 1.11), while half a video is still noticed.
  """

  name: str
  actions: tuple[str, ...]
  subjects: tuple[int, ...]
  trials: tuple[int, ...]
  rates: Mapping[str, float]
  train_subjects: tuple[int, ...]
  absent: tuple[str, ...] = ()
  flip_sensitive: tuple[str, ...] = ()
  abnormal: tuple[str, ...] = ()
  rgb_size: tuple[int, int] = (480, 640)
  depth_size: tuple[int, int] = (240, 320)
  duration_ratio: tuple[float, float] = (0.55, 1.25)

  @property
  def modalities(self) -> tuple[str, ...]:
    """What records can hold."""
    recorded = tuple(m for m in MODALITIES if m in self.rates)
    return (*recorded, 'flow') if 'rgb' in recorded else recorded

  def expected(self) -> list[Trial]:
    """Every trial of the complete dataset, by action, subject and repetition."""
    every = (
      Trial(action, subject, trial)
      for action in range(1, len(self.actions) + 1)
      for subject in self.subjects
      for trial in self.trials
    )
    return [trial for trial in every if trial.key not in self.absent]

  def split(self, trial: Trial) -> str:
    """'train' or 'test'."""
    return 'train' if trial.subject in self.train_subjects else 'test'

  def counts(self) -> dict[str, int]:
    """Number of trials in each split of the complete dataset."""
    splits = [self.split(trial) for trial in self.expected()]
    return {name: splits.count(name) for name in SPLITS}
