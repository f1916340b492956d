"""Figures are SVG fragments that a page can take in."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.figure import Figure

from har.evaluate import drawing, figures
from har.metrics.detection import Detections
from har.objectives.classify import Classify
from har.objectives.reconstruct import Reconstruct

TOP1 = Classify.selection


def texts(svg):
  return [''.join(element.itertext()) for element in ElementTree.fromstring(svg).iter('text')]


def rows():
  return [
    {'step': s, 'epoch': s / 10, 'split': split, 'loss': 1.0 / (s + 1), 'top1': s / 30}
    for s in range(30)
    for split in ('train', 'validation')
  ]


def test_confusion_matrix_shows_the_counts_and_no_zeros():
  svg = figures.confusion_matrix(np.array([[3, 0], [71, 5]]), ['walk', 'fall'], ['fall'])
  shown = texts(svg)
  assert sorted(t for t in shown if t.isdigit()) == ['3', '5', '71']
  assert shown.count('walk') == 2
  assert shown.count('▲ fall') == 2  # flagged on both axes


def test_figures_take_the_colours_of_the_page():
  svg = figures.confusion_matrix(np.eye(2, dtype=int), ['a', 'b'], ['b'])
  assert all(f'var({name})' in svg for name in ('--ink', '--muted', '--grid', '--alarm'))
  assert not set(re.findall(r'#[0-9a-f]{6}', svg)) & set(drawing.VARIABLES)


def test_markup_and_formulas_in_names_are_only_text():
  names = ['<script>alert("x")</script>', '$x^2$', '走る']
  svg = figures.class_bars({'imu': np.ones(3)}, names, [])
  assert '<script' not in svg
  assert set(names) <= set(texts(svg))


def test_long_names_are_cut():
  svg = figures.class_bars({'imu': np.ones(1)}, ['n' * 40], [])
  assert 'n' * 29 + '…' in texts(svg)


def test_class_bars_have_a_column_per_stage():
  svg = figures.class_bars({'imu': np.array([0.25, 0.5]), 'fusion': np.ones(2)}, ['a', 'b'], [])
  shown = texts(svg)
  assert {'imu, mean 37.5', 'fusion, mean 100.0', '25', '50', '100'} <= set(shown)


def test_identifiers_differ_between_figures_and_references_resolve():
  both = [figures.learning_curves(stage, rows(), TOP1) for stage in ('imu', 'rgb')]
  names = [set(re.findall(r'\bid="([^"]+)"', svg)) for svg in both]
  assert not names[0] & names[1]
  for svg, known in zip(both, names, strict=True):
    assert set(re.findall(r'(?:url\(|href=")#([^)"]+)', svg)) <= known


def test_equal_input_gives_equal_figures():
  assert figures.learning_curves('imu', rows(), TOP1) == figures.learning_curves(
    'imu', rows(), TOP1
  )


@pytest.mark.parametrize('kept', [[], rows()[:1], [{**r, 'top1': None} for r in rows()]])
def test_learning_curves_of_little(kept):
  assert 'Loss' in texts(figures.learning_curves('imu', kept, TOP1))


def test_series_keeps_the_last_row_of_a_step_and_thins_long_ones():
  twice = [
    {'step': 1, 'epoch': 0.5, 'split': 'train', 'loss': 9.0},
    {'step': 0, 'epoch': 0.0, 'split': 'train', 'loss': 3.0},
    {'step': 1, 'epoch': 0.5, 'split': 'train', 'loss': 2.0},
    {'step': 1, 'epoch': 0.5, 'split': 'validation', 'loss': 7.0},
  ]
  epochs, losses = figures._series(twice, 'train', 'loss')
  np.testing.assert_array_equal(epochs, [0.0, 0.5])
  np.testing.assert_array_equal(losses, [3.0, 2.0])
  many = [{'step': i, 'epoch': i, 'split': 'train', 'loss': float(i)} for i in range(4000)]
  epochs, losses = figures._series(many, 'train', 'loss')
  assert len(epochs) == figures.MOST_POINTS
  assert losses[0] == 4.5  # the mean of the first ten


def test_a_narrow_axis_has_ticks_enough():
  assert figures._size_ticks(18.0, 29.0) == [20.0, 22.5, 25.0, 27.5]
  assert figures._size_ticks(90.0, 700.0) == [100.0, 200.0, 500.0]


def test_labels_keep_off_points_and_one_another():
  axes = Figure(figsize=(10, 4), dpi=72).add_axes((0, 0, 1, 1), xlim=(0, 720), ylim=(0, 288))
  points = [('imu', 'float32'), ('imu', 'int8'), ('imu', 'slim'), ('imu', 'pruned')]
  x, y = np.array([600.0, 300.0, 290.0, 300.0]), np.array([100.0, 100.0, 100.0, 103.0])
  figures._label_points(axes, points, x, y)
  placed = [yi + text.get_position()[1] for text, yi in zip(axes.texts, sorted(y), strict=True)]
  assert [text.get_text() for text in axes.texts] == [
    'imu float32',
    'imu int8',
    'imu slim',
    'imu pruned',
  ]
  # The first by itself, the second above the third's point, the others above the one before.
  assert placed == [100, 111, 126, 141]


def test_accuracy_against_size_names_every_point():
  points = [('imu', 'float32', 4e5, 0.9), ('imu', 'int8', 1e5, 0.9), ('rgb', 'float32', 4e5, 0.9)]
  shown = texts(figures.accuracy_against_size(points))
  assert {'imu float32', 'imu int8', 'rgb float32', '200 kB'} <= set(shown)


def test_figures_of_detectors():
  curve = [{**row, 'error': row['loss']} for row in rows()]
  drawn = texts(figures.learning_curves('imu', curve, Reconstruct.selection))
  assert 'error' in drawn
  assert not any('%' in text for text in drawn)
  labels, scores = np.array([0, 0, 1, 1, 2]), np.array([0.1, 0.3, 2.0, 4.0, 1.0])
  found = Detections(tuple('abcde'), labels, scores, ('walk', 'fall', 'run'), ('fall',))
  drawn = texts(figures.scores_by_class('imu', found))
  # The highest median first; what is abnormal is flagged.
  names = [text for text in drawn if any(name in text for name in found.class_names)]
  assert [name.split()[-1] for name in names] == ['fall', 'run', 'walk']
  assert names[0].startswith('▲')


def test_signals_have_a_panel_for_three_channels():
  svg = figures.signal(np.random.default_rng(0).normal(size=(30, 6)))
  assert svg.count('id="f') > 2
  assert len(re.findall(r'id="f\w+-axes_\d+"', svg)) == 2
