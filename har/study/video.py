"""Light video models against larger ones, on the same folds of one dataset."""

import dataclasses
from collections.abc import Sequence

from har.errors import UserError
from har.evaluate import figures
from har.evaluate.folds import numbered
from har.study.measured import Measured
from har.study.row import Asked, Row
from har.study.table import Picture

SPLITS = {
  'ucf101': numbered(3, 'official'),
  'hmdb51': numbered(3, 'official'),
  'gmdcsa24': numbered(4),
}
"""Of datasets that are not divided into five folds by source."""


def rows(asked: Asked) -> list[Row]:
  """The rows of the table.

  Args:
    asked: its dataset is a folder in `data_builders` that `configs/light_video.py` knows.

  Raises:
    UserError: modalities are given.
  """
  if asked.modalities is not None:
    raise UserError(f'--modalities={asked.modalities}: the study video has its own; leave it out')
  light = f'configs/light_video.py:dataset={asked.dataset}'
  baseline = f'configs/video_baselines.py:dataset={asked.dataset}'
  streams = f'configs/two_stream.py:dataset={asked.dataset}'
  mobile, lite = 'weights=mobilenet_v2-backbone', 'weights=efficientnet_lite-imagenet'
  splits = SPLITS.get(asked.dataset, numbered(5))
  found = [
    Row('mobilenet_v2_lstm', f'{light},{mobile}', splits),
    Row('mobilenet_v2_bilstm', f'{light},temporal=bilstm,{mobile}', splits),
    Row('mobilenet_v2_tcn', f'{light},temporal=tcn,{mobile}', splits),
    Row(
      'efficientnet_lite0_tcn', f'{light},backbone=efficientnet_lite0,temporal=tcn,{lite}', splits
    ),
    Row(
      'mobilenet_v2_flow_tcn',
      f'{light},show=flow,temporal=tcn,{mobile}',
      splits,
      variants=('slim', 'slim_int8_qat'),
    ),
    Row('mobilenet_v2_tsm', f'{light},temporal=tsm,{mobile}', splits),
    Row('cnn_bilstm', f'{baseline},model=cnn_bilstm,{mobile}', splits),
    Row('c3d', f'{baseline},model=c3d', splits),
    Row('s3d', f'{baseline},model=s3d', splits),
    Row('i3d', f'{baseline},model=i3d,weights=i3d-kinetics400', splits),
    # Flow as a picture: ten flows at each instant are trained from the first layer on, for days.
    Row('two_stream', f'{streams},stack=1,trained=time,{mobile}', splits),
  ]
  return [quick for row in found if (quick := _quick(row))] if asked.quick else found


def _quick(row: Row) -> Row | None:
  """One epoch on the first two splits, on four frames of 32 pixels; None of most rows.

  Left are one with published weights, what they give being kept, and one that trains everything.
  """
  if row.name not in ('mobilenet_v2_tcn', 'c3d'):
    return None
  sizes = {'frames': 4, 'resize': 36, 'size': 32}
  flags = [f'--config.inputs.rgb.{name}={value}' for name, value in sizes.items()]
  if row.name == 'c3d':
    flags.append('--config.encoders.rgb.width=0.125')
  return dataclasses.replace(
    row,
    splits=dict(list(row.splits.items())[:2]),
    flags=(*row.flags, *flags, '--config.stages.rgb.epochs=1.0'),
    benchmark=row.name == 'c3d',
  )


def picture(measured: Sequence[Measured]) -> Picture | None:
  """Accuracy against latency."""
  points = [
    (one.row, one.variant, one.speed('latency_ms_per_frame'), one.mean('top1'))
    for one in measured
    if one.file
  ]
  if not points:
    return None
  return Picture(
    'Accuracy against latency',
    'Top-1 accuracy against milliseconds per frame',
    figures.accuracy_against_latency(points, 'median latency of one frame'),
  )
