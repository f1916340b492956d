"""Smaller and cheaper models: quantisation and pruning."""
