"""How preprocessing is told; read by programs that have no JAX."""

from typing import Any


def step(operation: str, how: str, **numbers: Any) -> dict[str, Any]:
  """One step of the preprocessing, for the JSON beside exported files.

  Args:
    operation: its name, for programs.
    how: what is computed, for people, in terms of `numbers`.
    **numbers: that it takes.
  """
  return {'operation': operation, **numbers, 'how': how}
