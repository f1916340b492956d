"""Figures of whole splits, in NumPy, and what a model gave for every example of one."""
