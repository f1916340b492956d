"""MobileNetV2 (Sandler et al., CVPR 2018) on each frame of a video, in torchvision's layout."""

from har.models.frames import FrameEncoder, Plan, divisible, plan
from har.ranges import Positive

# Expansion factor, channels, blocks, stride of the first, kernel (Table 2 of the paper).
STAGES = (
  (1, 16, 1, 1, 3),
  (6, 24, 2, 2, 3),
  (6, 32, 3, 2, 3),
  (6, 64, 4, 2, 3),
  (6, 96, 3, 1, 3),
  (6, 160, 3, 2, 3),
  (6, 320, 1, 1, 3),
)


class MobileNetV2(FrameEncoder):
  """MobileNetV2 without its classifier, then a model of time; see `FrameEncoder`.

  Attributes:
    width: factor of all channel counts, which are rounded to multiples of 8, but for the last
      convolution's 1280, which do not become fewer.
  """

  width: Positive = 1.0

  def layout(self) -> Plan:
    """The image network."""
    return plan(
      [(e, divisible(channels * self.width), *rest) for e, channels, *rest in STAGES],
      stem=divisible(32 * self.width),
      head=divisible(1280 * max(1.0, self.width)),
      same=False,
      epsilon=1e-5,
    )
