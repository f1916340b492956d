"""Light video models against larger ones, on the same folds of one dataset."""

from har.study.grid import Row


def rows(dataset: str) -> list[Row]:
  """The rows of the table.

  Args:
    dataset: a folder in `data_builders` that `configs/light_video.py` knows.
  """
  light = f'configs/light_video.py:dataset={dataset}'
  baseline = f'configs/video_baselines.py:dataset={dataset}'
  weights = 'weights=mobilenet_v2-backbone'
  return [
    Row('mobilenet_v2_lstm', f'{light},temporal=lstm,{weights}', variants=('slim',)),
    Row('mobilenet_v2_bilstm', f'{light},temporal=bilstm,{weights}'),
    Row('mobilenet_v2_tcn', f'{light},temporal=tcn,{weights}'),
    Row('cnn_bilstm', f'{baseline},model=cnn_bilstm,{weights}'),
    Row('c3d', f'{baseline},model=c3d'),
    Row('s3d', f'{baseline},model=s3d'),
    Row('i3d', f'{baseline},model=i3d,weights=i3d-kinetics400'),
    Row('two_stream', f'configs/two_stream.py:dataset={dataset},{weights}'),
  ]
