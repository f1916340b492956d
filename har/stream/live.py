"""Sources that are heard while they are recorded: cameras, RTSP addresses, lines of samples."""

import contextlib
import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any, TextIO

import av
import numpy as np

from har.errors import UserError
from har.stream import checks
from har.stream.counters import Counters
from har.stream.recordings import Item, Recording, Signal, SourceError

STANDARD_INPUT = '-'
_ADDRESSES = ('rtsp://', 'rtsps://', 'rtmp://', 'http://', 'https://')
_TIMEOUT = 10.0  # Seconds without anything from a camera or an address.
_LOOKED_AT = 5.0  # Seconds of samples by which units are told.


def is_live(name: str) -> bool:
  """Whether a source's name is that of none of the files."""
  camera = name.partition(':')[0] == 'camera'
  return name == STANDARD_INPUT or camera or name.startswith((*_ADDRESSES, '/dev/video'))


def kind(name: str) -> str:
  """'imu' or 'video', of a live source."""
  return 'imu' if name == STANDARD_INPUT else 'video'


def source(name: str, signal: Signal | None, counters: Counters) -> Recording:
  """A live source.

  Args:
    name: `-`, `camera`, `camera:/dev/video1`, `/dev/video1` or an address.
    signal: what the model takes of IMU samples.
    counters: whose `bad_lines` is kept.

  Raises:
    UserError: the model takes no IMU samples, or there is no such camera or address.
  """
  if name == STANDARD_INPUT:
    if signal is None:
      raise UserError('--source=-: the model takes no IMU samples')
    rate = max(signal.rates)
    return Recording('imu', rate, lambda: _samples(signal, counters))
  container = _open_camera(name)
  stream = container.streams.video[0]
  rate = float(stream.average_rate or stream.base_rate or 0)
  return Recording('video', rate, lambda: _frames(name, container))


def _open_camera(name: str) -> Any:
  device = name.partition(':')[2] or '/dev/video0' if name.startswith('camera') else name
  options: dict[str, Any] = {'timeout': _TIMEOUT}
  if not name.startswith(_ADDRESSES):
    options['format'] = 'v4l2'
  elif name.startswith('rtsp'):
    options['options'] = {'rtsp_transport': 'tcp'}
  try:
    container = av.open(device, 'r', **options)
  except (av.FFmpegError, OSError, ValueError) as e:
    raise UserError(f'--source={name}: cannot be opened ({_reason(e)})') from e
  if not container.streams.video:
    raise UserError(f'--source={name}: has no video')
  return container


def _frames(name: str, container: Any) -> Iterator[Item]:
  """Frames as they come, their stamps from the first one's coming on."""
  first: float | None = None
  begun = time.monotonic()
  try:
    with contextlib.closing(container):
      for frame in container.decode(video=0):
        shown = frame.time if frame.time is not None else time.monotonic() - begun
        first = shown if first is None else first
        yield Item('video', float(shown - first), frame)
  except (av.FFmpegError, OSError) as e:
    raise SourceError(f'--source={name}: has stopped ({_reason(e)})') from e
  print(f'--source={name}: has ended', file=sys.stderr, flush=True)


def _reason(e: Exception) -> str:
  if isinstance(e, av.error.ExitError):  # What PyAV raises after the time that it was given.
    return f'nothing came for {_TIMEOUT:g} s'
  return str(getattr(e, 'strerror', None) or e)


def _samples(signal: Signal, counters: Counters) -> Iterator[Item]:
  try:
    yield from read_lines(sys.stdin, signal, counters)
  except UserError as e:
    raise SourceError(str(e)) from e


def read_lines(lines: Iterable[str] | TextIO, signal: Signal, counters: Counters) -> Iterator[Item]:
  """IMU samples as lines `seconds,x,y,z,...`; a first line that is a header is passed over.

  Lines that are no sample are counted.

  Raises:
    UserError: lines have another number of channels, or another unit by what gravity shows in the
      first seconds.
  """
  first: float | None = None
  seen: list[np.ndarray] | None = []
  for number, line in enumerate(lines, 1):
    fields = line.replace(';', ',').split(',')
    try:
      stamp, *values = map(float, fields)
    except ValueError:
      counters.bad_lines += number > 1 and bool(line.strip())
      continue
    if len(values) != len(signal.channels):
      checks.check_width(len(values), signal.channels, f'standard input, line {number}')
    sample = np.array(values)
    if not (np.isfinite(sample).all() and np.isfinite(stamp)):
      counters.bad_lines += 1
      continue
    first = stamp if first is None else first
    if seen is not None:
      seen.append(sample)
      if stamp - first > _LOOKED_AT:
        note = checks.check_gravity(np.stack(seen), signal.channels, 'standard input')
        if note:
          print(note, file=sys.stderr, flush=True)
        seen = None
    yield Item('imu', stamp - first, sample)
