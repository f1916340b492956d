"""What encoders hand to fusions."""

import flax.struct
import jax


@flax.struct.dataclass
class Features:
  """One modality's features.

  Attributes:
    sequence: `[B, N, D]`, N time steps.
    pooled: `[B, D]`, the whole clip.
    mask: bool `[B, N]`, false where a time step comes from padding alone; None if none does.
    present: bool `[B]`, false where the clip lacks the modality, whose features then mean nothing;
      None if none does.
  """

  sequence: jax.Array
  pooled: jax.Array
  mask: jax.Array | None = None
  present: jax.Array | None = None
