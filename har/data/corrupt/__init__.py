"""Recordings as broken or badly mounted sensors would have given them, for tests of robustness."""
