"""Stickman: a procedural demo dataset of an articulated figure in video and on a wrist sensor."""
