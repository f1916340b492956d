"""Light video models against larger ones, on the same folds of one dataset."""

import dataclasses

from har.study.grid import Row

_OFFICIAL = ('--config.dataset.protocol=official', '--config.dataset.folds=3')
FOLDS = {'ucf101': _OFFICIAL, 'hmdb51': _OFFICIAL, 'gmdcsa24': ('--config.dataset.folds=4',)}
"""Of datasets that are not divided into five folds by source."""


def rows(dataset: str) -> list[Row]:
  """The rows of the table.

  Args:
    dataset: a folder in `data_builders` that `configs/light_video.py` knows.
  """
  light = f'configs/light_video.py:dataset={dataset}'
  baseline = f'configs/video_baselines.py:dataset={dataset}'
  mobile, lite = 'weights=mobilenet_v2-backbone', 'weights=efficientnet_lite-imagenet'
  found = [
    Row('mobilenet_v2_lstm', f'{light},{mobile}'),
    Row('mobilenet_v2_bilstm', f'{light},temporal=bilstm,{mobile}'),
    Row('mobilenet_v2_tcn', f'{light},temporal=tcn,{mobile}'),
    Row('efficientnet_lite0_tcn', f'{light},backbone=efficientnet_lite0,temporal=tcn,{lite}'),
    Row(
      'mobilenet_v2_flow_tcn',
      f'{light},show=flow,temporal=tcn,{mobile}',
      variants=('slim', 'slim_int8_qat'),
    ),
    Row('mobilenet_v2_tsm', f'{light},temporal=tsm,{mobile}'),
    Row('cnn_bilstm', f'{baseline},model=cnn_bilstm,{mobile}'),
    Row('c3d', f'{baseline},model=c3d'),
    Row('s3d', f'{baseline},model=s3d'),
    Row('i3d', f'{baseline},model=i3d,weights=i3d-kinetics400'),
    Row('two_stream', f'{baseline},model=two_stream,{mobile}'),
  ]
  return [dataclasses.replace(row, flags=FOLDS.get(dataset, ())) for row in found]
