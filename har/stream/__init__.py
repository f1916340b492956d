"""Exported files on recordings and live sources, with NumPy and LiteRT alone; never JAX."""
