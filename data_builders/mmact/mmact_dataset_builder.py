"""MMAct: 35 actions by 20 people, seen by four cameras and felt by phone and watch."""

import contextlib
import dataclasses
import functools
import pathlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds
from tensorflow_datasets.core import writer
from tensorflow_datasets.proto import tf_example_pb2

from data_builders import encodings, fingerprint, preparation, video
from data_builders.mmact import clips, names, pictures, report, sources, workers
from har.errors import UserError

MODALITIES = ('imu', 'rgb')
PAGE = 'https://mmact19.github.io/2019/'
_WORK = 'unfinished'
# Enough to tell a few bad files from a folder of something else.
_HOPELESS = 1000
# With about 1 MB a clip, shards of the size that TFDS aims at, and many enough for a cluster.
_CLIPS_PER_SHARD = 128


@dataclasses.dataclass
class MMActConfig(tfds.core.BuilderConfig):
  """A choice of modalities and of the stored pictures' size."""

  modalities: tuple[str, ...] = ()
  short_side: int = 0


def make_config(modalities: Sequence[str], short_side: int) -> MMActConfig:
  """Config of a set of modalities; its name does not depend on their order.

  Raises:
    UserError: no modality, one that MMAct has not, or no size.
  """
  unknown = sorted(set(modalities) - set(MODALITIES))
  if unknown or not modalities:
    given = repr(unknown[0]) if unknown else 'none'
    raise UserError(f'modalities: {given} given; mmact has {", ".join(MODALITIES)}')
  if not isinstance(short_side, int) or short_side < 1:
    raise UserError(f'short_side={short_side!r}: must be a whole number of pixels above 0')
  chosen = tuple(m for m in MODALITIES if m in modalities)
  name = '-'.join(chosen) + (f'-{short_side}' if 'rgb' in chosen else '')
  return MMActConfig(
    name=name,
    description=f'{" + ".join(chosen)}',
    modalities=chosen,
    short_side=short_side if 'rgb' in chosen else 0,
  )


class Builder(preparation.Builder, skip_registration=True):  # type: ignore[call-arg]
  """TFDS builder of MMAct.

  A record is a clip; without `rgb` an event, whose `cam` is 0. Records have `key`, `label`
  (0-based), `action`, `subject`, `cam`, `scene`, `session`, and for each chosen modality:
    imu: float32 [T, 12], x y z of each of `names.STREAMS` at its own rate from one instant on (see
      `readings.align`), and `imu_mask`, bool [T, 4]. A stream that is absent is zero and its mask
      false; with none of them T is 0.
    rgb: encoded JPEG frames at 30 a second.
  Splits are 'train' and 'test' by subject, ordered by subject, camera, scene, session and action.
  `info.metadata` has `modalities`, `rates`, `streams`, `stream_rates`, `train_subjects`,
  `protocols`, `flip_sensitive`, `abnormal`, `frames` (notes on the encoding), `absent` (records
  without a stream) and `missing` (keys left out for want of a readable video).
  `preparation.json` beside the records says what was amiss in the raw files.
  """

  CHANNELS: ClassVar[Mapping[str, Sequence[tuple[str, str]]]] = {
    'imu': tuple((f'{s} {axis}', names.UNITS[s]) for s in names.STREAMS for axis in 'xyz'),
    'rgb': encodings.CHANNELS['rgb'],
  }
  VERSION = tfds.core.Version('1.0.0')
  RECORD_VERSION = 1
  # The rest says which datasets are refused, not what is in one.
  HARMLESS = (*fingerprint.HARMLESS, 'require_complete', 'allow_corrupt')
  _found: sources.Found
  _jobs: list[clips.Job]

  def __init__(
    self,
    *,
    modalities: Sequence[str] = MODALITIES,
    require_complete: bool = False,
    raw_dir: str | pathlib.Path | None = None,
    data_dir: str | pathlib.Path | None = None,
    short_side: int = 128,
    workers: int = -1,
    allow_corrupt: int = 0,
    config: MMActConfig | None = None,
    version: str | None = None,
  ):
    """Describes a dataset; `download_and_prepare` builds it.

    Args:
      modalities: any of `MODALITIES`.
      require_complete: whether an absent sensor stream is an error; the owner's files lack some.
      raw_dir: folder with the owner's files, as archives or extracted.
      data_dir: folder of prepared datasets; TFDS's own if None.
      short_side: of the stored frames, pixels at most.
      workers: processes that prepare; 0 for this one alone, -1 for as many as there are cores.
      allow_corrupt: how many unreadable files to leave out.
      config: a config in place of `modalities` and `short_side`.
      version: as in TFDS.
    """
    config = config or make_config(modalities, short_side)
    self.raw_dir = pathlib.Path(raw_dir).expanduser() if raw_dir is not None else None
    self._require_complete = require_complete
    self._workers, self._allow_corrupt = workers, allow_corrupt
    with preparation.quiet():
      super().__init__(data_dir=data_dir, config=config, version=version)
    # Where finished clips are kept until the dataset is; TFDS changes data_path while it builds.
    self._work = pathlib.Path(self.data_path).parent / f'{_WORK}_{self.data_path.name}'
    self._original_state.update(
      raw_dir=raw_dir,
      require_complete=require_complete,
      workers=workers,
      allow_corrupt=allow_corrupt,
    )

  @property
  def modalities(self) -> tuple[str, ...]:
    return self.builder_config.modalities

  def _info(self) -> tfds.core.DatasetInfo:
    features: dict[str, Any] = {
      'key': tfds.features.Text(),
      'label': tfds.features.ClassLabel(names=list(names.ACTIONS)),
      'action': tfds.features.Text(),
      **{field: tfds.features.Scalar(dtype=np.int32) for field in names.NUMBERS},
    }
    if 'imu' in self.modalities:
      streams = len(names.STREAMS)
      doc = f'x y z of {", ".join(names.STREAMS)}, units as distributed'
      features['imu'] = tfds.features.Tensor(shape=(None, 3 * streams), dtype=np.float32, doc=doc)
      features['imu_mask'] = tfds.features.Tensor(shape=(None, streams), dtype=np.bool_)
    frames = {}
    if 'rgb' in self.modalities:
      features['rgb'] = tfds.features.Sequence(tfds.features.Text(doc='JPEG'))
      side = self.builder_config.short_side
      frames['rgb'] = f'JPEG, quality {video.QUALITY}, short side at most {side} pixels'
    rates = {'imu': max(names.RATES.values()), 'rgb': pictures.RATE}
    metadata = tfds.core.MetadataDict(
      modalities=list(self.modalities),
      rates={m: rates[m] for m in self.modalities},
      streams=list(names.STREAMS),
      stream_rates=dict(names.RATES),
      train_subjects=list(names.TRAIN_SUBJECTS),
      protocols=names.PROTOCOLS,
      flip_sensitive=[],
      abnormal=['fall'],
      frames=frames,
      absent={},
      missing={},
    )
    return self.dataset_info_from_configs(
      features=tfds.features.FeaturesDict(features), metadata=metadata, disable_shuffling=True
    )

  def download_and_prepare(self, **kwargs: Any) -> None:
    """Builds the dataset under `data_dir` unless it is there.

    What is stopped, or fails, leaves the clips that are finished in a work folder next to the
    dataset's, from which the next call goes on.

    Args:
      **kwargs: as in TFDS; the file format is always array_record. A `download_config` with a
        `beam_runner` has Apache Beam prepare the shards, with a `data_dir` that all workers share.

    Raises:
      UserError: raw files that are missing, misnamed or damaged, or a `data_dir` that cannot be
        written.
    """
    if not self.is_prepared() and self.raw_dir is None:
      raise UserError(f'mmact: needs a licence from {PAGE}; pass the files as --raw_dir')
    if self.is_prepared() and self.raw_dir is not None and not fingerprint.read(self.data_dir):
      self._check_as_many_files(self.raw_dir)
    preparation.build(self, self._build, **kwargs)
    # Also what a run left that was killed after its last step.
    shutil.rmtree(self._work, ignore_errors=True)
    self._check_complete()

  def _build(self, **kwargs: Any) -> None:
    try:
      self._plan()
      super().download_and_prepare(**kwargs)
    finally:
      for folder in (self._work / 'clips', self._work):
        with contextlib.suppress(OSError):  # Not empty, or not there.
          folder.rmdir()

  def _plan(self) -> None:
    self._work.mkdir(parents=True, exist_ok=True)
    assert self.raw_dir is not None
    self._found = sources.find(self.raw_dir, self._work / 'archives', self._kinds)
    self._jobs = plan(self._found, self.builder_config)
    if not self._jobs:
      place = 'subjectN/camN/sceneN/sessionN/ACTION.mp4'
      if 'rgb' not in self.modalities:
        place = 'STREAM_clip/subjectN/sceneN/sessionN/ACTION.csv'
      raise UserError(f'{self.raw_dir}: no file {place} in it; pass the folder as --raw_dir')

  @property
  def _kinds(self) -> list[str]:
    return [{'imu': '.csv', 'rgb': '.mp4'}[m] for m in self.modalities]

  def raw_files(self) -> list[pathlib.Path]:
    assert self.raw_dir is not None
    return sources.listing(self.raw_dir, self._kinds)

  def _check_as_many_files(self, raw_dir: pathlib.Path) -> None:
    """What can be known of a dataset that has no fingerprint."""
    before = self.info.metadata.get('raw_files')
    sizes = [path.stat().st_size for path in self.raw_files()]
    now = {'files': len(sizes), 'bytes': sum(sizes)}
    if before not in (None, now):
      raise UserError(
        f'{self.data_dir}: was built from {before["files"]} raw files of {before["bytes"]} bytes, '
        f'and {raw_dir} holds {now["files"]} of {now["bytes"]}; delete the former to have it built '
        'anew, or use it as it is without --raw_dir'
      )

  def _check_complete(self) -> None:
    absent = self.info.metadata['absent']
    if self._require_complete and absent:
      stream, count = next(iter(absent.items()))
      raise UserError(
        f'{self.data_dir}: {count} clips lack {stream}; MMAct is like that, take them masked with '
        '--config.dataset.require_complete=false'
      )

  def _download_and_prepare(self, dl_manager, download_config):
    beam = download_config is not None and download_config.beam_runner is not None
    finished = self._work / 'clips'
    finished.mkdir(exist_ok=True)
    if not beam:
      self._settle(self._prepare_clips(finished))
    super()._download_and_prepare(dl_manager, download_config)
    if beam:
      told = ((job, clips.finished(job, finished, outcome_only=True)) for job in self._jobs)
      self._settle(report.gather(self._found, ((job, done[1]) for job, done in told)))
    # Here data_dir is TFDS's temporary folder, which becomes the dataset's.
    for path in pathlib.Path(self.data_dir).glob('*.shard_infos.json'):
      path.unlink()  # Beam's workers told the main process by them.
    self._report.write(pathlib.Path(self.data_dir), self._allow_corrupt)

  def _prepare_clips(self, finished: pathlib.Path) -> report.Report:
    count = workers.available() if self._workers < 0 else self._workers
    gathered = report.Report(self._found)
    by_signature = {job.signature: job for job in self._jobs}
    with contextlib.ExitStack() as stack:
      progress = preparation.Progress(self.name, len(self._jobs), 'clips')
      advance = stack.enter_context(progress).advance
      outcomes = workers.run(self._jobs, finished, count, advance)
      for outcome in stack.enter_context(contextlib.closing(outcomes)):
        gathered.add(by_signature[outcome.signature], outcome)
        if len(gathered.faults) > self._allow_corrupt + _HOPELESS:
          break
    return gathered

  def _settle(self, gathered: report.Report) -> None:
    """Applies the policy to what was found.

    Raises:
      UserError: more unreadable files than are allowed, or no clip is left.
    """
    faults = gathered.faults
    if len(faults) > self._allow_corrupt:
      path = gathered.write(self._work, self._allow_corrupt)
      raise UserError(
        f'{faults[min(faults)]}; {len(faults)} files in all cannot be read, see {path}; replace '
        f'them, or leave them out with --allow_corrupt={len(faults)}'
      )
    if not any(gathered.counts.values()):
      reason = f' ({faults[min(faults)]})' if faults else ''
      raise UserError(f'{self.raw_dir}: not one clip is left{reason}')
    self._report = gathered
    self.info.metadata['absent'] = gathered.absent
    self._check_complete()
    if gathered.left_out:
      self.info.metadata['missing'] = {'rgb': gathered.left_out}

  def _example_writer(self) -> writer.ExampleWriter:
    return _SameBytes(self.info.file_format)

  def _shard_iterators_per_split(self, dl_manager: tfds.download.DownloadManager):
    del dl_manager
    finished = self._work / 'clips'
    shards: dict[str, list[Any]] = {}
    for split in ('train', 'test'):
      jobs = [job for job in self._jobs if job.clip.split == split]
      parts = [jobs[i : i + _CLIPS_PER_SHARD] for i in range(0, len(jobs), _CLIPS_PER_SHARD)]
      if parts:
        shards[split] = [functools.partial(examples, part, finished) for part in parts]
    return shards


class _SameBytes(writer.ExampleWriter):
  """Writes equal records as equal bytes: a protobuf map has no order unless one asks for it."""

  def write(self, path, examples):
    return super().write(path, ((key, _in_order(data)) for key, data in examples))


def _in_order(data: bytes) -> bytes:
  return tf_example_pb2.Example.FromString(data).SerializeToString(deterministic=True)


def examples(
  jobs: Sequence[clips.Job], finished: pathlib.Path
) -> Iterator[tuple[str, dict[str, Any]]]:
  """The records of a shard; clips that are not finished yet are made now."""
  for job in jobs:
    record = clips.record(job, finished)
    if record is not None:
      yield record['key'], record


def plan(found: sources.Found, config: MMActConfig) -> list[clips.Job]:
  """The clips to prepare: every video; without videos, every event that a sensor has a file of."""
  by_event: dict[names.Event, dict[str, sources.File]] = {}
  for (stream, event), file in found.sensors.items():
    by_event.setdefault(event, {})[stream] = file
  imu = 'imu' in config.modalities
  if 'rgb' in config.modalities:
    chosen = sorted(found.videos)
  else:
    chosen = sorted(names.Clip(e.subject, 0, e.scene, e.session, e.action) for e in by_event)
  return [
    clips.Job(
      clip,
      found.videos.get(clip),
      by_event.get(clip.event, {}) if imu else None,
      config.short_side,
    )
    for clip in chosen
  ]
