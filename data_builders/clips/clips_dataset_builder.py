"""Any folder of videos: in class folders, or with a list of their labels or of parts of them."""

import functools
import pathlib
import sys
from collections import Counter
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds

from data_builders import encodings, folder_builder, folders, video
from data_builders import flow as flow_lib
from data_builders.catalogue import Entry
from har.errors import UserError

# Larger files are opened where they are, unless they are in an archive.
_MAX_IN_ARCHIVE = 2**29
_MIN_FRAMES = 2


class Builder(folder_builder.FolderBuilder, skip_registration=True):  # type: ignore[call-arg]
  """TFDS builder of videos; see `FolderBuilder` for what is stored besides.

  Records have `rgb`, JPEG frames one by one, and `frame_rate`, how many of them are a second.
  `info.metadata` has `rates` where all records have one rate, and `frames` (notes on the encoding).
  """

  RECORD_VERSION = 1
  TITLE: ClassVar[str] = ''  # In place of a `title` that is not given.
  FIELD = 'rgb'
  SUFFIXES = (
    *('.mp4', '.m4v', '.mov', '.avi', '.mkv', '.webm', '.mpg', '.mpeg', '.wmv', '.asf', '.flv'),
    *('.ogv', '.3gp', '.ts'),
  )
  CHANNELS: ClassVar[dict[str, Any]] = {n: encodings.CHANNELS[n] for n in ('rgb', 'flow')}
  _OWN: ClassVar[tuple[str, ...]] = (*folder_builder.FolderBuilder._OWN, 'frame_rate')

  def __init__(
    self,
    *,
    title: str = '',
    short_side: int = 128,
    rate: float = 0.0,
    flow: float = 0.0,
    labels: str = '',
    pattern: str = '',
    classes: Sequence[Sequence[str]] = (),
    train_subjects: Sequence[int | str] = (),
    allow_corrupt: int = 0,
    raw_dir: str | pathlib.Path | None = None,
    data_dir: str | pathlib.Path | None = None,
  ):
    """Describes a dataset; see `FolderBuilder` for arguments that are not here.

    Args:
      short_side: of the stored frames, pixels at most.
      rate: frames a second to store, the nearest of each video; 0: all frames.
      flow: seconds from each stored frame to that, the nearest, until which its optical flow is
        stored beside it, see `data_builders.flow`; 0: none is.

    Raises:
      UserError: an argument that makes no sense, and what `FolderBuilder` raises.
    """
    if isinstance(short_side, bool) or not isinstance(short_side, int) or short_side < 1:
      raise UserError(f'short_side={short_side!r}: must be a whole number of pixels above 0')
    if not (isinstance(rate, int | float) and 0 <= rate < float('inf')):
      raise UserError(f'rate={rate!r}: must be frames a second, or 0 for all frames')
    if isinstance(flow, bool) or not (isinstance(flow, int | float) and 0 <= flow < float('inf')):
      raise UserError(f'flow={flow!r}: must be seconds from frame to frame, or 0 for no flow')
    self._rates: Counter[float] = Counter()
    super().__init__(
      title=title or self.TITLE,
      labels=labels,
      pattern=pattern,
      classes=classes,
      train_subjects=train_subjects,
      allow_corrupt=allow_corrupt,
      raw_dir=raw_dir,
      data_dir=data_dir,
      # Folders prepared before there was flow do not name it.
      options={
        'short_side': short_side,
        'rate': float(rate),
        **({'flow': float(flow)} if flow else {}),
      },
    )

  def _more_features(self) -> dict[str, Any]:
    pictures = {'rgb': 'JPEG', **({'flow': flow_lib.NOTE} if self._has_flow else {})}
    return {
      'frame_rate': tfds.features.Scalar(dtype=np.float64),
      **{n: tfds.features.Sequence(tfds.features.Text(doc=doc)) for n, doc in pictures.items()},
    }

  @property
  def _has_flow(self) -> bool:
    return 'flow' in self._options

  def _more_facts(self) -> dict[str, Any]:
    side, rate = self._options['short_side'], self._options['rate']
    notes = {'rgb': f'JPEG, quality {video.QUALITY}, short side at most {side} pixels'}
    if self._has_flow:
      notes['flow'] = f'{flow_lib.NOTE}; {self._options["flow"]:g} s on'
    return {
      'modalities': list(notes),
      'frames': notes,
      **({'rates': dict.fromkeys(notes, rate)} if rate else {}),
    }

  @functools.lru_cache(maxsize=1)  # noqa: B019 the builder lives as long as the process
  def _video(self, path: str) -> video.Video[bytes]:
    """All frames of a file; rows of a list that cut one video come one after another."""
    folder, side = self.listing.folder, self._options['short_side']
    source: bytes | pathlib.Path
    if folder.is_member(path):
      source = folder.read(path, _MAX_IN_ARCHIVE)
    else:
      source = folders.regular(folder.root / path)
    return video.read(source, folder.where(path), lambda frame: video.shrink(frame, side))

  def _read(self, entry: Entry) -> dict[str, Any]:
    (path,) = entry.files.values()
    whole = self._video(path)
    frames, rate = part(whole.frames, whole.rate, entry)
    frames, rate = at_rate(frames, rate, self._options['rate'])
    if self._has_flow and len(frames) < _MIN_FRAMES:
      raise UserError(f'{entry.where}: at {rate:g} frames a second it is one, which has no flow')
    self._rates[round(rate, 2)] += 1
    moved = {}
    if self._has_flow:
      # Motion in the same time, whatever the rate; of slow videos that until the next frame.
      apart = max(round(self._options['flow'] * rate), 1)
      moved = {'flow': flow_lib.encode(frames, apart)}
    return {'rgb': frames, 'frame_rate': rate, **moved}

  def _download_and_prepare(self, dl_manager, download_config):
    if self._has_flow:
      flow_lib.estimator()  # Before hours of work, if it is missing.
    super()._download_and_prepare(dl_manager, download_config)
    if len(self._rates) == 1:
      rate = next(iter(self._rates))
      self.info.metadata['rates'] = dict.fromkeys(self.info.metadata['modalities'], rate)
    else:
      found = ', '.join(f'{rate:g} ({n})' for rate, n in sorted(self._rates.items()))
      print(
        f'note: {self.name}: videos have different frame rates, {found}; the option rate brings '
        'them to one',
        file=sys.stderr,
      )


def part(frames: list[bytes], rate: float, entry: Entry) -> tuple[list[bytes], float]:
  """The frames shown from an entry's start to before its end, and their rate.

  Raises:
    UserError: fewer than two, a start before the video's, or an end more than a second after it.
  """
  start = entry.start or 0.0
  if start < 0:
    raise UserError(f'{entry.where}: starts at {start:g} s, before the video does')
  first = int(np.ceil(start * rate - 1e-6))
  last = len(frames)
  if entry.end is not None:
    last = int(np.ceil(entry.end * rate - 1e-6))
    if last > len(frames) + rate:
      raise UserError(
        f'{entry.where}: ends at {entry.end:g} s, and the video at {len(frames) / rate:.2f} s'
      )
  kept = frames[first:last]
  if len(kept) < _MIN_FRAMES:
    raise UserError(f'{entry.where}: {len(kept)} frames are from its start to its end')
  return kept, rate


def at_rate(frames: list[bytes], rate: float, wanted: float) -> tuple[list[bytes], float]:
  """The frames shown at instants 1 / `wanted` apart; as they are with 0."""
  if not wanted or abs(wanted - rate) < 1e-3:
    return frames, wanted or rate
  count = max(round(len(frames) * wanted / rate), 1)
  at = ((np.arange(count) + 0.5) * (rate / wanted)).astype(int)
  return [frames[i] for i in np.minimum(at, len(frames) - 1)], wanted
