"""Small made-up recordings for tests: signals that tell their class, and a dataset around them."""

import dataclasses
import io

import flax.linen as nn
import flax.traverse_util
import jax
import numpy as np
from PIL import Image

from data_builders import encodings
from har.data import inputs
from har.data.dataset import Dataset
from har.data.input import Input
from har.data.protocols import Index
from har.models.frames import Block, FrameEncoder, Plan
from har.objectives.classify import Classify
from har.objectives.objective import Facts

CLASSES = ('wave', 'swipe_left', 'swipe_right')
METADATA = {
  'modalities': ('imu', 'rgb', 'depth', 'skeleton'),
  'rates': {'imu': 50.0, 'rgb': 15.0, 'depth': 15.0, 'skeleton': 30.0},
  'train_subjects': (1, 3),
  'flip_sensitive': ('swipe_left', 'swipe_right'),
  'abnormal': (),
  'missing': {},
}


def classify(classes: int = 5, **options) -> Classify:
  """The objective of telling so many classes."""
  names = tuple(f'class {i}' for i in range(classes))
  return Classify(Facts(names, (), np.ones(classes, np.int64)), **options)


class TinyFrames(FrameEncoder):
  """An image network of three blocks on each frame, with every kind of unit."""

  def layout(self) -> Plan:
    blocks = ((Block(8, 8, 8, 3, 1),), (Block(8, 16, 8, 5, 2), Block(8, 16, 8, 3, 1)))
    return Plan(8, blocks, 16, same=True, epsilon=1e-3)


def inputs_of(config: dict) -> dict[str, Input]:
  """Inputs from their configs by name."""
  return {name: inputs.build(name, options) for name, options in config.items()}


def draw_variables(model: nn.Module, *args):
  """Variables of order 1 for these inputs, drawn without compiling the model's initialisation."""
  rng = np.random.default_rng(1)
  tree = jax.eval_shape(lambda: model.init(jax.random.key(0), *args))

  def draw(path, x):
    if path[-1] == 'kernel':
      return rng.standard_normal(x.shape) * np.sqrt(2 / np.prod(x.shape[:-1]))
    return rng.uniform(0.5, 1.5, x.shape)

  flat = flax.traverse_util.flatten_dict(tree)
  drawn = {path: draw(path, x).astype(x.dtype) for path, x in flat.items()}
  if any(path[-1] == 'offset' for path in flat):
    drawn |= _offsets(model, *args)
  return flax.traverse_util.unflatten_dict(drawn)


def _offsets(model: nn.Module, *args):
  """What shifts move, as the model sets it; the rest of its initialisation is not compiled."""

  @jax.jit
  def find():
    flat = flax.traverse_util.flatten_dict(model.init(jax.random.key(0), *args))
    return {'/'.join(path): x for path, x in flat.items() if path[-1] == 'offset'}

  return {tuple(path.split('/')): np.asarray(x) for path, x in find().items()}


def encode(image: np.ndarray, form: str) -> bytes:
  buffer = io.BytesIO()
  Image.fromarray(image).save(buffer, form)
  return buffer.getvalue()


def depth_frame(near_mm: int, height: int = 30, width: int = 20) -> bytes:
  """A frame whose left half is nobody and whose right half is a person at `near_mm`."""
  frame = np.zeros((height, width), np.uint16)
  frame[:, width // 2 :] = near_mm
  return encodings.pack_depth(frame)


def rgb_frame(grey: int, height: int = 24, width: int = 32) -> bytes:
  return encode(np.full((height, width, 3), grey, np.uint8), 'JPEG')


def record(label: int, subject: int, trial: int, modalities=METADATA['modalities']) -> dict:
  """One trial: the class sets the frequency of motion, subject and trial its length and noise."""
  rng = np.random.default_rng((label, subject, trial))
  samples, frames = 60 + 5 * subject + trial, 10 + subject
  phase = np.linspace(0, 2 * np.pi * (label + 1), samples)[:, None]
  skeleton = np.sin(phase[:, :, None]) * np.ones((1, 20, 3)) + [0.0, 0.0, 3.0]
  skeleton += rng.normal(0, 0.02, skeleton.shape)
  signals = {
    'imu': (np.sin(phase + np.arange(6)) + rng.normal(0, 0.1, (samples, 6))).astype(np.float32),
    'rgb': [rgb_frame(80 * label + 5 * t) for t in range(frames)],
    'depth': [depth_frame(2000 + 100 * t * (label + 1)) for t in range(frames)],
    'skeleton': skeleton.astype(np.float32),
  }
  key = f'a{label + 1}_s{subject}_t{trial}'
  return {'key': key, 'label': label} | {m: signals[m] for m in modalities}


@dataclasses.dataclass(frozen=True)
class FakeDataset:
  """Stands for har.data.dataset.Dataset: 3 classes, 4 subjects, 2 trials; subjects 1, 3 train."""

  name: str = 'fake'
  class_names: tuple[str, ...] = CLASSES
  metadata: dict = dataclasses.field(default_factory=lambda: dict(METADATA))
  subjects: tuple[int, ...] = (1, 3, 2, 4)
  trials: int = 2
  channels: dict = dataclasses.field(default_factory=lambda: dict(encodings.CHANNELS))
  hidden: dict = dataclasses.field(default_factory=dict)

  unknown = Dataset.unknown

  @property
  def modalities(self):
    return tuple(self.metadata['modalities'])

  @property
  def missing(self):
    return self.metadata['missing']

  @property
  def flip_safe(self):
    return ~np.isin(self.class_names, self.metadata['flip_sensitive'])

  @property
  def _trials(self):
    return [
      (label, subject, trial)
      for subject in self.subjects
      for label in range(len(self.class_names))
      for trial in range(1, self.trials + 1)
    ]

  @property
  def index(self) -> Index:
    label, subject, trial = np.array(self._trials, np.int32).T
    return Index(
      {
        'key': np.array([f'a{a + 1}_s{s}_t{t}' for a, s, t in self._trials]),
        'label': label,
        'subject': subject,
        'trial': trial,
        'split': np.where(np.isin(subject, self.metadata['train_subjects']), 'train', 'test'),
      }
    )

  def records(self, modalities):
    return [record(*trial, tuple(modalities)) for trial in self._trials]


class SometimesFilmed(FakeDataset):
  """Of every fourth trial there are no frames."""

  def records(self, modalities):
    records = super().records(modalities)
    for one in records[::4] if 'rgb' in modalities else ():
      one['rgb'] = []
    return records


class SilentDataset(FakeDataset):
  """Its IMU is two sensors of 50 Hz, and of every third trial neither was heard."""

  def records(self, modalities):
    records = super().records(modalities)
    for i, one in enumerate(records if 'imu' in modalities else ()):
      one['imu_mask'] = np.full((len(one['imu']), 2), i % 3 > 0)
      one['imu'] *= one['imu_mask'][:, :1]
    return records
