"""The same clips by PyTorch's loader, as the measure of `har.data.benchmark`."""

import fractions
import io
from collections.abc import Callable, Mapping
from typing import Any

import av
import numpy as np
import torch
from PIL import Image
from torch.utils import data

from har.data import depth, video

_FILTER = Image.Resampling.BILINEAR


class PyAV:
  """Decodes JPEG (in full size) and PNG by FFmpeg, with one decoder for all frames."""

  def __init__(self, modality: str):
    self._modality = modality
    self._codec: Any = None  # opened by the process that decodes

  def __call__(self, frame: bytes, size: int) -> np.ndarray:
    """Returns uint8 `[H, W, 3]`, or uint16 `[H, W]` of depth."""
    del size
    if self._codec is None:
      self._codec = av.CodecContext.create({'rgb': 'mjpeg', 'depth': 'png'}[self._modality], 'r')
      self._codec.thread_count = 1  # clips are decoded side by side
    packet = av.Packet(frame)
    packet.is_keyframe = True
    (picture,) = self._codec.decode(packet)
    return picture.to_ndarray(format='rgb24') if self._modality == 'rgb' else picture.to_ndarray()


class Pillow:
  """Decodes JPEG (in a half or less where that is enough, as our loader does) and PNG by Pillow."""

  def __init__(self, modality: str):
    self._modality = modality

  def __call__(self, frame: bytes, size: int) -> np.ndarray:
    """Returns uint8 `[H, W, 3]`, or uint16 `[H, W]` of depth."""
    image = Image.open(io.BytesIO(frame))
    if self._modality == 'rgb':
      scale = size / min(image.size)
      image.draft('RGB', (int(image.width * scale), int(image.height * scale)))
    return np.asarray(image)


class Zstandard:
  """Decodes depth as prepared datasets have it."""

  def __init__(self, modality: str):
    del modality

  def __call__(self, frame: bytes, size: int) -> np.ndarray:
    """Returns uint16 `[H, W]`."""
    del size
    return depth.decode_depth(frame)


DECODERS: dict[str, dict[str, type]] = {
  'rgb': {'PyAV': PyAV, 'Pillow': Pillow},
  'depth': {'PyAV': PyAV, 'Pillow': Pillow, 'Zstandard': Zstandard},
}
"""By modality and name; each is called with a frame and the size wanted."""


def as_png(frame: np.ndarray) -> bytes:
  """A depth frame uint16 `[H, W]` as 16-bit PNG, without prediction: the quickest to decode."""
  codec = av.CodecContext.create('png', 'w')
  codec.height, codec.width = frame.shape
  codec.pix_fmt, codec.time_base = 'gray16be', fractions.Fraction(1)
  codec.options = {'pred': 'none'}
  picture = av.VideoFrame.from_ndarray(frame, format='gray16le').reformat(format='gray16be')
  return b''.join(bytes(packet) for packet in [*codec.encode(picture), *codec.encode(None)])


def png_trials(records: Any, trials: int) -> list[dict[str, Any]]:
  """The first records' labels and depth, as PNG."""
  return [
    {
      'label': record['label'],
      'depth': [as_png(depth.decode_depth(frame)) for frame in record['depth']],
    }
    for record in (records[i] for i in range(trials))
  ]


class Clips(data.Dataset):
  """One clip an item: decoded, resized by Pillow's bilinear filter, in a tensor.

  Args:
    records: random access to dicts with `label` and the modality's encoded frames.
    modality: 'rgb' or 'depth'.
    config: its input options.
    decoder: a name in `DECODERS`; all but Zstandard need depth as PNG.
    trials: of the records, how many are read.
    count: items; trials come again and again.
  """

  def __init__(
    self,
    records: Any,
    modality: str,
    config: Mapping[str, Any],
    decoder: str,
    trials: int,
    count: int,
  ):
    self._records, self._modality, self._config = records, modality, config
    self._decode = DECODERS[modality][decoder](modality)
    self._trials, self._count = trials, count

  def __len__(self) -> int:
    return self._count

  def __getitem__(self, i: int) -> dict[str, Any]:
    record, size = self._records[i % self._trials], self._config['resize']
    frames = record[self._modality]
    chosen = video.choose_frames(len(frames), self._config['frames'])
    pictures = [self._decode(frames[frame], size) for frame in chosen]
    clip = self._depth(pictures) if self._modality == 'depth' else self._rgb(pictures)
    return {'label': int(record['label']), self._modality: torch.from_numpy(clip)}

  def _rgb(self, pictures: list[np.ndarray]) -> np.ndarray:
    size = self._config['resize']
    height, width = pictures[0].shape[:2]
    side = min(height, width)
    left, top = (width - side) / 2, (height - side) / 2
    box = (left, top, left + side, top + side)
    images = [Image.fromarray(picture) for picture in pictures]
    return np.stack([np.asarray(i.resize((size, size), _FILTER, box=box)) for i in images])

  def _depth(self, pictures: list[np.ndarray]) -> np.ndarray:
    size = self._config['resize']
    grey = depth.ENCODINGS[self._config['encode']](np.stack(pictures), self._config['range'])
    height, width = grey.shape[1:]
    scale = self._config['size'] / max(height, width)
    height, width = max(round(height * scale), 1), max(round(width * scale), 1)
    top, left = (size - height) // 2, (size - width) // 2
    clip = np.zeros((len(grey), size, size, 3), np.uint8)
    for i, picture in enumerate(grey):
      small = Image.fromarray(picture).resize((width, height), _FILTER).convert('RGB')
      clip[i, top : top + height, left : left + width] = np.asarray(small)
    return clip


def loader(
  records: Any,
  modality: str,
  config: Mapping[str, Any],
  decoder: str,
  workers: int,
  trials: int,
  count: int,
  batch_size: int,
) -> Callable[[], dict[str, Any]]:
  """Starts a `torch.utils.data.DataLoader` over `Clips`.

  Args:
    records: see `Clips`, as are `modality`, `config`, `decoder`, `trials` and `count`.
    workers: its processes; 0 reads in the calling thread.
    batch_size: clips in a batch.

  Returns:
    A function that gives the next batch, a dict of tensors.
  """
  clips = Clips(records, modality, config, decoder, trials, count)
  # A forked process would inherit threads' locks, array_record's among them.
  context = 'spawn' if workers else None
  batches = data.DataLoader(clips, batch_size, num_workers=workers, multiprocessing_context=context)
  return iter(batches).__next__
