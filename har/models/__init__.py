"""Encoders, fusions and heads: Flax Linen modules that know nothing of datasets."""
