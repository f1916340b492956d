"""Stages: what is trained, from where, how."""
