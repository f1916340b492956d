"""Stickman: six actions by eight procedural people, on video and on a wrist sensor."""

import pathlib

import tensorflow_datasets as tfds

from data_builders import trials
from data_builders.stickman import actions, generate, scene

LAYOUT = trials.TrialLayout(
  name='stickman',
  actions=actions.ACTIONS,
  subjects=generate.SUBJECTS,
  trials=generate.TRIALS,
  train_subjects=(1, 3, 5, 7),
  abnormal=actions.ABNORMAL,
  rates={
    'imu': float(generate.IMU_RATE),
    'rgb': float(generate.VIDEO_RATE),
    'skeleton': float(generate.VIDEO_RATE),
  },
  rgb_size=(scene.HEIGHT, scene.WIDTH),
  duration_ratio=(0.95, 1.05),
)


class Builder(trials.TrialBuilder):
  """TFDS builder of Stickman; without a `raw_dir` the recordings are generated (seed 0)."""

  LAYOUT = LAYOUT

  def _obtain(self, dl_manager: tfds.download.DownloadManager, scratch: pathlib.Path):
    generate.write_raw(scratch, modalities=self.modalities)
    return scratch
