"""Reads the recordings of a trial from the owner's file formats, checking all that can be checked.

Matrices are MATLAB files with one variable: `d_iner` [T, 6], `d_depth` [240, 320, T] and
`d_skel` [20, 3, T], all of MATLAB's class double; colour video is an AVI.
"""

import struct
import zlib
from collections.abc import Callable, Mapping

import av
import numpy as np
from scipy.io.matlab import MatReadError

from data_builders import encodings, litter, mat_file, video
from data_builders.layout import TrialLayout
from har.errors import UserError

JOINTS = 20
MIN_LENGTH = 2
# What the parsers of SciPy and HDF5 raise on damaged files.
_MAT_ERRORS = (
  MatReadError,
  ValueError,
  TypeError,
  KeyError,
  IndexError,
  AttributeError,
  RuntimeError,
  OverflowError,
  MemoryError,
  OSError,
  EOFError,
  struct.error,
  zlib.error,
)


def _read_matrix(data: bytes, where: str, variable: str) -> np.ndarray:
  if not data:
    raise UserError(f'{where}: empty')
  litter.check(data, where)
  try:
    array = mat_file.read(data, variable)
  except mat_file.NoVariable as error:
    raise UserError(f'{where}: {error}') from error
  except _MAT_ERRORS as error:
    raise UserError(f'{where}: not a readable MATLAB file ({_one_line(error)})') from error
  if not isinstance(array, np.ndarray) or array.dtype.kind not in 'fiu':
    raise UserError(f'{where}: has no numeric variable {variable}')
  return array


def _one_line(error: BaseException) -> str:
  return ' '.join(str(error).split()) or type(error).__name__


def _check(array: np.ndarray, where: str, variable: str, shape: tuple[int | None, ...]) -> None:
  """Checks the shape (None is time) and that values are finite."""
  fits = array.ndim == len(shape) and all(
    want in (None, size) for want, size in zip(shape, array.shape, strict=True)
  )
  if not fits:
    wanted = ', '.join('T' if size is None else str(size) for size in shape)
    turned = array.ndim == 2 and array.shape[::-1][1:] == shape[1:]
    hint = '; transpose it' if turned else ''
    raise UserError(f'{where}: {variable} has shape {list(array.shape)}, not [{wanted}]{hint}')
  length = array.shape[shape.index(None)]
  if length < MIN_LENGTH:
    raise UserError(f'{where}: {variable} has {length} samples, fewer than {MIN_LENGTH}')
  if array.dtype.kind == 'f' and not np.isfinite(array).all():
    raise UserError(f'{where}: {variable} has values that are not finite')


def _as_float32(array: np.ndarray, where: str, variable: str) -> np.ndarray:
  with np.errstate(over='ignore'):
    found = np.ascontiguousarray(array, np.float32)
  if not np.isfinite(found).all():
    worst = max(abs(float(array.min())), abs(float(array.max())))
    raise UserError(f'{where}: {variable} has a value of {worst:.3g}, which float32 does not hold')
  return found


def read_imu(data: bytes, where: str, layout: TrialLayout) -> np.ndarray:
  """float32 [T, 6]: accelerometer x y z (g), gyroscope x y z (degrees per second)."""
  del layout
  array = _read_matrix(data, where, 'd_iner')
  _check(array, where, 'd_iner', (None, 6))
  return _as_float32(array, where, 'd_iner')


def read_skeleton(data: bytes, where: str, layout: TrialLayout) -> np.ndarray:
  """float32 [T, 20, 3]: Kinect v1 joints in metres."""
  del layout
  array = _read_matrix(data, where, 'd_skel')
  _check(array, where, 'd_skel', (JOINTS, 3, None))
  return _as_float32(array.transpose(2, 0, 1), where, 'd_skel')


def read_depth(data: bytes, where: str, layout: TrialLayout) -> np.ndarray:
  """uint16 [T, H, W]: millimetres, 0 where there is only background."""
  array = _read_matrix(data, where, 'd_depth')
  _check(array, where, 'd_depth', (*layout.depth_size, None))
  depth = array.astype(np.uint16) if array.min() >= 0 and array.max() < 2**16 else None
  if depth is None or (array.dtype.kind == 'f' and not np.array_equal(depth, array)):
    raise UserError(f'{where}: d_depth is not in whole millimetres from 0 to 65535')
  if not depth.any():
    raise UserError(f'{where}: d_depth shows nothing but background')
  return np.ascontiguousarray(depth.transpose(2, 0, 1))


def read_rgb(data: bytes, where: str, layout: TrialLayout) -> list[bytes]:
  """T frames of the layout's size when upright, as JPEG; see `encodings.NOTES`."""
  height, width = layout.rgb_size

  def encode(frame: av.VideoFrame) -> bytes:
    if (frame.height, frame.width) != (height, width):
      size = f'{frame.width}x{frame.height}'
      raise UserError(f'{where}: has frames of {size} pixels, not {width}x{height}')
    return video.shrink(frame, encodings.RGB_SHORT_SIDE)

  return video.read(data, where, encode).frames


READERS: dict[str, Callable] = {
  'imu': read_imu,
  'rgb': read_rgb,
  'depth': read_depth,
  'skeleton': read_skeleton,
}


def check_durations(
  lengths: Mapping[str, int], places: Mapping[str, str], layout: TrialLayout
) -> None:
  """Checks that the recordings of one trial belong together.

  Args:
    lengths: samples or frames per modality.
    places: how to name each modality's file.
    layout: has the rates and the accepted ratio of durations.

  Raises:
    UserError: a video and the IMU signal differ too much in duration, or depth and skeleton,
      which one camera yields, in frames.
  """
  low, high = layout.duration_ratio
  if 'imu' in lengths:
    imu = lengths['imu'] / layout.rates['imu']
    for modality in lengths.keys() - {'imu'}:
      video = lengths[modality] / layout.rates[modality]
      if not low <= video / imu <= high:
        raise UserError(f'{places[modality]}: lasts {video:.2f} s but {places["imu"]} {imu:.2f} s')
  if {'depth', 'skeleton'} <= lengths.keys() and lengths['depth'] != lengths['skeleton']:
    raise UserError(
      f'{places["skeleton"]}: has {lengths["skeleton"]} frames but '
      f'{places["depth"]} {lengths["depth"]}'
    )
