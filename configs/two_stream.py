"""Two streams: colours, and how pixels move, each through an image network; then both together.

python launch.py --config=configs/two_stream.py --workdir=runs/two_stream

trains on the demo's generated clips from random values. Not measured yet: what it reaches, and on
which real clips. Simonyan and Zisserman (NeurIPS 2014) have CNN-M, a frame and ten flows; here
both streams are a network of today on some instants of a clip, their features averaged, and a
network of colours can start the flow's (Wang et al., ECCV 2016, Section 3.2):

python launch.py --config=configs/two_stream.py:dataset=fight,weights=mobilenet_v2-backbone ...
"""

from ml_collections import ConfigDict

from configs import base, light_video
from har.data import flow
from har.errors import UserError

STREAMS = ('rgb', 'flow')
FUSIONS = ('late', 'concat')


def get_config(arg: str | None = None) -> ConfigDict:
  """The experiment.

  Args:
    arg: `dataset=`, `title=`, `backbone=`, `weights=` and `trained=` (last) as in `light_video`;
      `stack=`, how many successive flows the network sees at each instant (10), where one is shown
      as a picture that a network for colours takes as it is; and `fusion=`, late (both classifiers'
      log-probabilities, whose weights start equal and are learnt with the classifiers) or concat (a
      perceptron on the features of both, learnt with the last blocks of the encoders).
  """
  args = base.parse_arg(
    arg,
    dataset='stickman',
    title='',
    backbone='mobilenet_v2',
    weights='',
    trained='last',
    stack='10',
    fusion='late',
  )
  fusion, stack = base.choose('fusion', args.pop('fusion'), FUSIONS), args.pop('stack')
  if not (stack.isascii() and stack.isdecimal() and int(stack)):
    raise UserError(f'--config: stack={stack!r} must be a whole number above 0')
  shared = ','.join(f'{key}={value}' for key, value in args.items())
  config = light_video.get_config(f'{shared},temporal=mean')
  config.modalities = STREAMS
  light_video.divide(config, args['dataset'], args['title'], flow=True)
  # Half the instants: at each of them `stack` flows are decoded.
  picture = {key: config.inputs.rgb[key] for key in ('resize', 'size', 'region')}
  config.inputs.flow = {
    'frames': config.inputs.rgb.frames // 2,
    'stack': int(stack),
    **picture,
    'mean': flow.STILL,
    'std': 0.226,  # As colours have it, for networks that were trained on them.
  }
  if stack == '1':
    config.inputs.flow = {**config.inputs.rgb, 'show': 'picture'}
  config.encoders.flow = config.encoders.rgb.copy_and_resolve_references()
  config.stages.flow = config.stages.rgb.copy_and_resolve_references()
  config.stages.flow.modalities = ('flow',)
  if stack != '1':
    # Even with published weights all is trained: its first layers have seen no such channels.
    config.stages.flow.update(trained=('*',), cached_views=0, epochs=20.0)
  config.stages.flow.augment = ConfigDict({'flow': {'flip': 0.5, 'zoom': 0.1}})
  config.stages.fusion = base.fusion(
    STREAMS,
    learning_rate=1e-3,
    epochs=5.0,
    augment={**config.stages.rgb.augment, **config.stages.flow.augment},
    head={'kind': 'decision'} if fusion == 'late' else {'kind': 'mlp', 'hidden': 128},
    objective=dict(config.stages.rgb.objective),
    optimizer={'warmup': 0.1, 'clip_norm': 1.0},
    batch_size=16,
  )
  if fusion == 'late':
    views = config.stages.rgb.cached_views if stack == '1' else 0
    config.stages.fusion.update(trained=('head',), cached_views=views)
  config.order = (*STREAMS, 'fusion')
  return config
