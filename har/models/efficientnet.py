"""EfficientNet-Lite 0 to 4 on each frame of a video.

EfficientNets (Tan and Le, ICML 2019) without squeeze-and-excitation and with ReLU6, as published in
https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite.
"""

import math
from typing import Annotated

from har.models.frames import FrameEncoder, Plan, divisible, plan
from har.ranges import Number

# Expansion factor, channels, blocks, stride of the first, kernel.
STAGES = (
  (1, 16, 1, 1, 3),
  (6, 24, 2, 2, 3),
  (6, 40, 2, 2, 5),
  (6, 80, 3, 2, 3),
  (6, 112, 3, 1, 5),
  (6, 192, 4, 2, 5),
  (6, 320, 1, 1, 3),
)
# Factors of channels and blocks, and the side in pixels that the weights were trained on.
VARIANTS = (
  (1.0, 1.0, 224),
  (1.0, 1.1, 240),
  (1.1, 1.2, 260),
  (1.2, 1.4, 280),
  (1.4, 1.8, 300),
)


class EfficientNetLite(FrameEncoder):
  """EfficientNet-Lite without its classifier, then a model of time; see `FrameEncoder`.

  Attributes:
    variant: 0 to 4, how wide and deep it is; all end in 1280 channels.
  """

  variant: Annotated[int, Number(0, len(VARIANTS) - 1, whole=True)] = 0

  def layout(self) -> Plan:
    """The image network."""
    width, depth, _ = VARIANTS[self.variant]
    stages = []
    for i, (expansion, channels, count, *rest) in enumerate(STAGES):
      ends = i in (0, len(STAGES) - 1)
      count = count if ends else math.ceil(count * depth)
      stages.append((expansion, divisible(channels * width), count, *rest))
    return plan(stages, stem=32, head=1280, same=True, epsilon=1e-3)
