"""Writes small raw files in UTD-MHAD's names and formats."""

import io
import pathlib
import shutil
import zipfile
from collections.abc import Iterable, Sequence

import av
import h5py
import numpy as np
import scipy.io

from data_builders import raw_files
from data_builders.layout import Trial, TrialLayout

RATES = {'imu': 50.0, 'rgb': 15.0, 'depth': 20.0, 'skeleton': 20.0}
LAYOUT = TrialLayout(
  name='tiny',
  actions=('wave', 'clap'),
  subjects=(1, 2),
  trials=(1, 2),
  rates=RATES,
  train_subjects=(1,),
  absent=('a2_s2_t2',),
  flip_sensitive=('wave',),
  abnormal=('clap',),
  rgb_size=(24, 32),
  depth_size=(24, 32),
)
SECONDS = 0.4


def matrix(variable: str, array: np.ndarray) -> bytes:
  buffer = io.BytesIO()
  scipy.io.savemat(buffer, {variable: np.asarray(array, np.float64)}, do_compression=True)
  # The time of writing, in the first 116 bytes, would make equal arrays unequal files.
  return b'MATLAB 5.0 MAT-file'.ljust(116) + buffer.getvalue()[116:]


def matrix_73(
  variable: str, array: np.ndarray, kind: str = 'double', user_block: int = 512, **options
) -> bytes:
  """A file of version 7.3 as MATLAB writes it: axes in reverse, the class beside the data."""
  buffer = io.BytesIO()
  with h5py.File(buffer, 'w', userblock_size=user_block) as file:
    dataset = file.create_dataset(variable, data=np.asarray(array).T, **options)
    dataset.attrs['MATLAB_class'] = np.bytes_(kind)
  if not user_block:
    return buffer.getvalue()
  header = b'MATLAB 7.3 MAT-file'.ljust(116) + bytes(8) + b'\0\2IM'
  return header + buffer.getvalue()[len(header) :]


def as_73(data: bytes) -> bytes:
  """A version 5 file of one variable in version 7.3, packed as MATLAB does."""
  content = scipy.io.loadmat(io.BytesIO(data), mat_dtype=True)
  ((name, array),) = [pair for pair in content.items() if not pair[0].startswith('__')]
  return matrix_73(name, array, compression='gzip', compression_opts=3, chunks=True)


def avi(frames: Sequence[np.ndarray], codec: str = 'mjpeg', pixels: str = 'yuvj420p') -> bytes:
  buffer = io.BytesIO()
  with av.open(buffer, 'w', format='avi') as container:
    stream = container.add_stream(codec, rate=15)
    stream.height, stream.width = frames[0].shape[:2]
    stream.pix_fmt = pixels
    for frame in frames:
      container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format='rgb24')))
    container.mux(stream.encode())
  return buffer.getvalue()


def imu(trial: Trial) -> np.ndarray:
  """[T, 6], its values telling the trial."""
  t = np.arange(round(SECONDS * RATES['imu']))[:, None]
  return trial.action + 0.1 * trial.subject + 0.01 * trial.trial + 0.001 * t + np.arange(6)


def skeleton(trial: Trial) -> np.ndarray:
  """[20, 3, T]"""
  length = round(SECONDS * RATES['skeleton'])
  return np.random.default_rng(trial).normal(size=(20, 3, length))


def depth(trial: Trial, size: tuple[int, int] = LAYOUT.depth_size) -> np.ndarray:
  """[H, W, T] mm; not zero in rows 3 to 9 and columns 5 to 14 only."""
  video = np.zeros((*size, round(SECONDS * RATES['depth'])))
  body = np.random.default_rng(trial).integers(0, 2**16, (7, 10, video.shape[2]))
  body[0, 0, 0] = body[6, 9, 1] = 2**16 - 1
  video[3:10, 5:15] = body
  return video


def rgb(trial: Trial, size: tuple[int, int] = LAYOUT.rgb_size) -> list[np.ndarray]:
  """T pictures of one colour, brighter from frame to frame."""
  count = round(SECONDS * RATES['rgb'])
  return [np.full((*size, 3), 40 * trial.action + 10 * t, np.uint8) for t in range(count)]


def content(modality: str, trial: Trial) -> bytes:
  match modality:
    case 'imu':
      return matrix('d_iner', imu(trial))
    case 'skeleton':
      return matrix('d_skel', skeleton(trial))
    case 'depth':
      return matrix('d_depth', depth(trial))
    case _:
      return avi(rgb(trial))


def file_name(modality: str, trial: Trial) -> str:
  return trial.key + raw_files.SUFFIXES[modality]


def write_folder(
  raw_dir: pathlib.Path, modality: str, trials: Iterable[Trial] | None = None
) -> pathlib.Path:
  """Writes the files of one modality, of all the tiny layout's trials if none are given."""
  folder = raw_dir / raw_files.FOLDERS[modality]
  folder.mkdir(parents=True)
  for trial in LAYOUT.expected() if trials is None else trials:
    (folder / file_name(modality, trial)).write_bytes(content(modality, trial))
  return folder


def litter_beside(name: str) -> list[str]:
  """Paths of what systems, file servers and programs leave in a recording's folder."""
  return [
    *('Thumbs.db', 'THUMBS.DB', 'desktop.ini', 'Desktop.ini', '.DS_Store', 'ehthumbs.db'),
    *(f'._{name}', f'{name}:Zone.Identifier', f'{name}:com.dropbox.attrs', '.nfs000000000a1b'),
    *(f'~${name}', f'.~lock.{name}#', '.fuse_hidden0000001', '.directory', 'Icon\r'),
    *('.dropbox', '.dropbox.attr', '.stfolder/x', '.stignore', f'.stversions/{name}'),
    *(f'@eaDir/{name}/SYNOINDEX_MEDIA_INFO', f'@eaDir/{name}@SynoEAStream', f'#recycle/{name}'),
    *(f'@Recycle/{name}', f'.@__thumb/{name}', f'__MACOSX/._{name}', f'.AppleDouble/{name}'),
    *(f'.Trash-1000/files/{name}', f'$RECYCLE.BIN/{name}', f'lost+found/{name}'),
    *('.gitattributes', '.gitkeep', f'.ipynb_checkpoints/{name}', f'.snapshot/day/{name}'),
  ]


def zip_folder(folder: pathlib.Path) -> pathlib.Path:
  """Replaces a folder by the archive that the owner would distribute."""
  archive = folder.with_name(f'{folder.name}.zip')
  with zipfile.ZipFile(archive, 'w') as target:
    for path in sorted(folder.rglob('*')):
      target.write(path, f'{folder.name}/{path.relative_to(folder)}')
  shutil.rmtree(folder)
  return archive
