"""The TFDS builder of datasets of short trials.

UTD-MHAD and data in its file formats record one person performing one action at a time. A trial is
named by three numbers, `a{action}_s{subject}_t{trial}`, and has one file per modality. What differs
between such datasets is a `TrialLayout`; reading, checking and storing them is shared.
"""

import contextlib
import dataclasses
import functools
import pathlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds

from data_builders import checks, encodings, fingerprint, preparation, raw_files, recordings
from data_builders import flow as flow_lib
from data_builders.layout import SPLITS, Trial, TrialLayout
from har.errors import UserError

_TRIALS_PER_SHARD = 512  # about 300 MB of colour video


@dataclasses.dataclass
class TrialConfig(tfds.core.BuilderConfig):
  """A choice of modalities, and whether trials may be missing from some."""

  modalities: tuple[str, ...] = ()
  require_complete: bool = True


def make_config(
  layout: TrialLayout, modalities: Sequence[str], require_complete: bool
) -> TrialConfig:
  """Config of a set of modalities; its name does not depend on their order.

  Raises:
    UserError: no modality, or one that the dataset has not.
  """
  unknown = sorted(set(modalities) - set(layout.modalities))
  if unknown or not modalities:
    given = repr(unknown[0]) if unknown else 'none'
    raise UserError(f'modalities: {given} given; {layout.name} has {", ".join(layout.modalities)}')
  chosen = tuple(m for m in layout.modalities if m in modalities)
  name = '-'.join(chosen) + ('' if require_complete else '-partial')
  return TrialConfig(
    name=name,
    description=f'{" + ".join(chosen)} of {"all" if require_complete else "the available"} trials',
    modalities=chosen,
    require_complete=require_complete,
  )


class TrialBuilder(preparation.Builder, skip_registration=True):  # type: ignore[call-arg]
  """Builds a dataset of trials; a subclass sets `LAYOUT`, and `PAGE` and `URLS` or `_obtain`.

  Records have `key`, `label` (0-based), `action`, `subject`, `trial`, and for each chosen modality:
    imu: float32 [T, 6], accelerometer x y z (g) and gyroscope x y z (degrees per second).
    rgb: T encoded JPEG frames, see `encodings.NOTES`.
    depth: T encoded frames (mm, 0 = background), see `encodings.pack_depth`, of the part of the
      picture that `depth_box` gives: int32 [4], its y, x, height and width.
    skeleton: float32 [T, 20, 3], Kinect v1 joints (metres).
    flow: T encoded pictures of how far the pixels of `rgb` move, see `data_builders.flow`.
  Splits are 'train' and 'test' by subject, ordered by action, subject and trial.
  `info.metadata` has `modalities`, `rates`, `train_subjects`, `flip_sensitive`, `abnormal`,
  `frames` (notes on the encodings) and `missing`, the keys that each modality lacks.
  """

  VERSION = tfds.core.Version('1.1.0')
  RELEASE_NOTES: ClassVar[dict[str, str]] = {
    '1.1.0': 'Depth is packed by Zstandard.',
    '1.0.0': 'Depth is 16-bit PNG.',
  }
  LAYOUT: ClassVar[TrialLayout]
  PAGE: ClassVar[str] = ''
  URLS: ClassVar[Mapping[str, str]] = {}
  CHANNELS: ClassVar[Mapping[str, tuple[tuple[str, str], ...]]] = encodings.CHANNELS
  # Open while the dataset is built.
  _collection: raw_files.Collection
  _progress: preparation.Progress

  def __init__(
    self,
    *,
    modalities: Sequence[str] = ('imu', 'rgb'),
    require_complete: bool = True,
    raw_dir: str | pathlib.Path | None = None,
    data_dir: str | pathlib.Path | None = None,
    config: TrialConfig | None = None,
    version: str | None = None,
  ):
    """Describes a dataset; `download_and_prepare` builds it.

    Args:
      modalities: any of `MODALITIES` that the dataset has, and `flow` if it has `rgb`.
      require_complete: every expected trial has to be there in every modality. Otherwise the
        trials that all the modalities have are taken.
      raw_dir: folder with the owner's files, as archives or extracted.
      data_dir: folder of prepared datasets; TFDS's own if None.
      config: a config in place of `modalities` and `require_complete`.
      version: as in TFDS.
    """
    config = config or make_config(self.LAYOUT, modalities, require_complete)
    self.raw_dir = pathlib.Path(raw_dir).expanduser() if raw_dir is not None else None
    with preparation.quiet():
      super().__init__(data_dir=data_dir, config=config, version=version)
    self._original_state['raw_dir'] = raw_dir

  @property
  def stored(self) -> tuple[str, ...]:
    """What records hold."""
    return self.builder_config.modalities

  @property
  def modalities(self) -> tuple[str, ...]:
    """What is read from files for that."""
    return tuple(dict.fromkeys('rgb' if m == 'flow' else m for m in self.stored))

  def _info(self) -> tfds.core.DatasetInfo:
    checks.check_classes(self.name, self.LAYOUT.actions)  # Before TFDS, which names none.
    features: dict[str, Any] = {
      'key': tfds.features.Text(),
      'label': tfds.features.ClassLabel(names=list(self.LAYOUT.actions)),
      'action': tfds.features.Text(),
      'subject': tfds.features.Scalar(dtype=np.int32),
      'trial': tfds.features.Scalar(dtype=np.int32),
    }
    if 'imu' in self.stored:
      units = 'accelerometer x y z (g), gyroscope x y z (degrees per second)'
      features['imu'] = tfds.features.Tensor(shape=(None, 6), dtype=np.float32, doc=units)
    if 'rgb' in self.stored:
      features['rgb'] = tfds.features.Sequence(tfds.features.Text(doc='JPEG'))
    if 'depth' in self.stored:
      features['depth'] = tfds.features.Sequence(tfds.features.Text(doc='packed uint16 (mm)'))
      box = 'y, x, height, width (pixels)'
      features['depth_box'] = tfds.features.Tensor(shape=(4,), dtype=np.int32, doc=box)
    if 'skeleton' in self.stored:
      shape = (None, recordings.JOINTS, 3)
      units = 'x, y, z (metres)'
      features['skeleton'] = tfds.features.Tensor(shape=shape, dtype=np.float32, doc=units)
    if 'flow' in self.stored:
      features['flow'] = tfds.features.Sequence(tfds.features.Text(doc=flow_lib.NOTE))
    notes = {**encodings.NOTES, 'flow': f'{flow_lib.NOTE}; 1 frame on'}
    rates = self.LAYOUT.rates
    metadata = tfds.core.MetadataDict(
      modalities=list(self.stored),
      rates={m: rates['rgb' if m == 'flow' else m] for m in self.stored},
      train_subjects=list(self.LAYOUT.train_subjects),
      flip_sensitive=list(self.LAYOUT.flip_sensitive),
      abnormal=list(self.LAYOUT.abnormal),
      frames={m: note for m, note in notes.items() if m in self.stored},
      missing={},
    )
    return self.dataset_info_from_configs(
      features=tfds.features.FeaturesDict(features), metadata=metadata, disable_shuffling=True
    )

  def _open(self, raw_dir: pathlib.Path) -> raw_files.Collection:
    complete = self.builder_config.require_complete
    return raw_files.Collection(raw_dir, self.LAYOUT, self.modalities, complete)

  def download_and_prepare(self, **kwargs: Any) -> None:
    """Builds the dataset under `data_dir` unless it is there; all of it, or nothing.

    Args:
      **kwargs: as in TFDS; the file format is always array_record.

    Raises:
      UserError: raw files that are missing, misnamed or damaged, or a `data_dir` that cannot be
        written. Nothing is left behind.
    """
    if not self.is_prepared():
      if 'flow' in self.stored:
        flow_lib.estimator()  # Before hours of work, if it is missing.
      if self.raw_dir is not None:
        self._open(self.raw_dir).close()  # Its names are checked before anything is written.
    elif fingerprint.read(self.data_dir) is None:
      self._check_same_trials()
    preparation.build(self, super().download_and_prepare, **kwargs)

  def raw_files(self) -> Iterator[pathlib.Path]:
    assert self.raw_dir is not None
    for modality in self.modalities:
      folder = self.raw_dir / raw_files.FOLDERS[modality]
      if folder.is_dir():
        yield from fingerprint.files_below(folder)
      else:
        yield folder.with_suffix('.zip')

  def facts(self) -> dict[str, Any]:
    layout, chosen = self.LAYOUT, self.modalities
    return {
      'subjects': layout.subjects,
      'trials': layout.trials,
      'absent': layout.absent,
      **{f'{m}_size': getattr(layout, f'{m}_size') for m in ('rgb', 'depth') if m in chosen},
      **({'duration_ratio': layout.duration_ratio} if len(chosen) > 1 else {}),
    }

  def _check_same_trials(self) -> None:
    """What can be known of a dataset that has no fingerprint: that there are as many trials."""
    trials = self.LAYOUT.expected() if self.builder_config.require_complete else None
    missing = None
    if self.raw_dir is not None:
      with self._open(self.raw_dir) as collection:
        trials, missing = collection.trials, collection.missing
    if trials is None:
      return
    splits = [self.LAYOUT.split(trial) for trial in trials]
    built = {name: split.num_examples for name, split in self.info.splits.items()}
    same = all(splits.count(name) == built.get(name, 0) for name in SPLITS)
    if not same or missing not in (None, self.info.metadata['missing']):
      raise UserError(
        f'{self.data_dir}: was built from other trials than those '
        f'{f"now in {self.raw_dir}" if self.raw_dir else "of today"}; '
        'delete that folder to have it built anew'
      )

  def _obtain(
    self, dl_manager: tfds.download.DownloadManager, scratch: pathlib.Path
  ) -> pathlib.Path:
    """Folder with raw files when no `raw_dir` is given.

    Args:
      dl_manager: TFDS's download manager.
      scratch: an empty folder that is removed once the dataset is built.

    Raises:
      UserError: the archives cannot be downloaded, or there is nowhere to get them.
    """
    if not self.URLS:
      raise UserError(
        f'{self.name}: has not been built in {self.data_dir_root}; pass the folder with its '
        'recordings as --raw_dir, or where it has as --data_dir'
      )
    urls = {m: self.URLS[m] for m in self.modalities}
    for modality, path in preparation.download(dl_manager, urls, self.PAGE).items():
      scratch.joinpath(f'{raw_files.FOLDERS[modality]}.zip').symlink_to(path)
    return scratch

  def _download_and_prepare(self, dl_manager, download_config):
    # Here data_dir is TFDS's temporary folder, so that even a killed run's scratch is found.
    with (
      tempfile.TemporaryDirectory(prefix='raw', dir=self.data_dir) as scratch,
      contextlib.ExitStack() as stack,
    ):
      raw_dir = self.raw_dir or self._obtain(dl_manager, pathlib.Path(scratch))
      self._collection = stack.enter_context(self._open(raw_dir))
      progress = preparation.Progress(self.name, len(self._collection.trials))
      self._progress = stack.enter_context(progress)
      self.info.metadata['missing'] = self._collection.missing
      super()._download_and_prepare(dl_manager, download_config)

  def _shard_iterators_per_split(self, dl_manager: tfds.download.DownloadManager):
    del dl_manager
    shards: dict[str, list[Any]] = {}
    for split in SPLITS:
      trials = [t for t in self._collection.trials if self.LAYOUT.split(t) == split]
      starts = range(0, len(trials), _TRIALS_PER_SHARD)
      parts = [trials[i : i + _TRIALS_PER_SHARD] for i in starts]
      shards[split] = [functools.partial(self._examples, part) for part in parts]
    return shards

  def _examples(self, trials: Sequence[Trial]) -> Iterator[tuple[str, dict[str, Any]]]:
    for trial in trials:
      yield trial.key, self._example(trial)
      self._progress.advance()

  def _example(self, trial: Trial) -> dict[str, Any]:
    places = {m: self._collection.where(m, trial) for m in self.modalities}
    arrays = {
      m: recordings.READERS[m](self._collection.read(m, trial), places[m], self.LAYOUT)
      for m in self.modalities
    }
    recordings.check_durations({m: len(x) for m, x in arrays.items()}, places, self.LAYOUT)
    example: dict[str, Any] = {
      'key': trial.key,
      'label': trial.action - 1,
      'action': self.LAYOUT.actions[trial.action - 1],
      'subject': trial.subject,
      'trial': trial.trial,
    }
    if 'flow' in self.stored:
      arrays['flow'] = flow_lib.encode(arrays['rgb'])
    for modality in self.stored:
      if modality == 'depth':
        example['depth'], example['depth_box'] = encodings.encode_depth(arrays['depth'])
      else:
        example[modality] = arrays[modality]
    return example
