"""The report says what the results hold, in one file that needs no other."""

import json
import os
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from har.errors import UserError
from har.evaluate import baselines, files, report, sections
from har.metrics.classification import Predictions
from har.objectives.classify import Classify

NAMES = ('walking', 'falling', 'punching', 'pushing', 'running', 'nodding_off')
LABELS = np.repeat(np.arange(6), 4)
KEYS = [f'a{label + 1}_s2_t{i % 4 + 1}' for i, label in enumerate(LABELS)]


def logits(*mistakes):
  """Scores that are right but for (example, predicted class)."""
  scores = 3 * np.eye(6)[LABELS]
  for example, predicted in mistakes:
    scores[example, predicted] = 4
  return scores


def run(names=NAMES, **scores):
  """(results, predictions) of a run whose stages gave these scores."""
  singles = {stage: values for stage, values in scores.items() if stage != 'fusion'}
  every = {**scores, 'product': baselines.product(singles)} if 'fusion' in scores else scores
  predictions = {s: Predictions.from_scores(KEYS, LABELS, v, names) for s, v in every.items()}
  measured = {stage: one.metrics() for stage, one in predictions.items()}
  product = measured.pop('product', None)
  results = {
    'dataset': 'toy',
    'protocol': 'cross_subject',
    'seed': 3,
    'stages': {stage: {'float32': values} for stage, values in measured.items()},
    'parameters': {stage: 1000 for stage in measured},
    'bytes': {stage: {'float32': 4000} for stage in measured},
    'seconds': {stage: 90.0 for stage in measured},
    'baselines': {'product': product} if product else {},
    'missing': {},
    'modalities': {s: list(singles) if s == 'fusion' else [s] for s in scores},
  }
  return results, predictions


TWO = {'imu': logits((0, 1), (5, 2)), 'rgb': logits((5, 2), (9, 3)), 'fusion': logits((9, 3))}
CURVE = [
  {'step': s, 'epoch': s / 4, 'split': split, 'loss': 2 - s / 10, 'top1': s / 10}
  for s in range(10)
  for split in ('train', 'validation')
]


def page(tmp_path, results, predictions, curves=None, **more):
  selections = dict.fromkeys(curves or {}, Classify.selection)
  about = report.About(curves=curves or {}, selections=selections, **more)
  path = report.write_report(tmp_path, results, predictions, about)
  assert path == tmp_path / 'report.html'
  return path.read_text(encoding='utf-8')


class Outline(HTMLParser):
  """The tags that open and close, and every attribute that may load something."""

  def __init__(self, text):
    super().__init__()
    self.open, self.counts, self.loads, self.words = [], {}, [], []
    self.feed(text)
    self.close()

  def handle_starttag(self, tag, attrs):
    self.counts[tag] = self.counts.get(tag, 0) + 1
    self.loads += [v for k, v in attrs if k in ('src', 'href', 'xlink:href', 'srcset', 'action')]
    if tag not in ('meta', 'link', 'br', 'img'):
      self.open.append(tag)

  def handle_startendtag(self, tag, attrs):
    self.handle_starttag(tag, attrs)
    self.open.pop()

  def handle_endtag(self, tag):
    assert self.open.pop() == tag

  def handle_data(self, data):
    self.words.append(data)

  @property
  def text(self):
    return re.sub(r'\s+', ' ', ' '.join(self.words))


def test_the_page_is_whole_and_needs_nothing_from_outside(tmp_path):
  html = page(tmp_path, *run(**TWO), {'imu': CURVE, 'rgb': CURVE, 'fusion': CURVE})
  outline = Outline(html)
  assert outline.open == []
  assert all(target.startswith('#') for target in outline.loads)
  assert 'http://' not in html
  assert 'https://' not in html
  assert '@import' not in html
  assert 'script' not in outline.counts
  assert len(html) < 3e6


def test_figures_of_every_stage(tmp_path):
  outline = Outline(page(tmp_path, *run(**TWO), {'imu': CURVE, 'rgb': CURVE, 'fusion': CURVE}))
  # size, three learning curves, F1 bars, three confusion matrices
  assert outline.counts['svg'] == outline.counts['figure'] == 1 + 3 + 1 + 3


def test_the_headline_compares_the_fusion(tmp_path):
  text = Outline(page(tmp_path, *run(**TWO))).text
  # imu and rgb 22 of 24, fusion 23; the product misses only the error that both share
  assert 'The trained fusion recognises 95.8 % of the test examples' in text
  assert '4.2 points above the best single modality (imu, 91.7 %)' in text
  assert 'equal to the untrained product' in text


@pytest.mark.parametrize(
  ('mistakes', 'words'),
  [(((9, 3),) * 1, 'equal to'), (((9, 3), (0, 1)), '4.2 points below'), ((), '4.2 points above')],
)
def test_the_headline_says_how_the_fusion_stands_to_the_product(tmp_path, mistakes, words):
  one = logits((9, 3))
  text = Outline(page(tmp_path, *run(imu=one, rgb=one, fusion=logits(*mistakes)))).text
  assert f'{words} the untrained product of the single models' in text


def test_what_the_fusion_fixed_and_broke():
  imu, rgb, other = sections.pairs(*run(**TWO))
  shared = {'fusion': 'fusion', 'p': 1.0}
  assert imu == {'name': 'imu', 'fixed': 2, 'broke': 1, 'both': 21, 'neither': 0, **shared}
  assert rgb == {'name': 'rgb', 'fixed': 1, 'broke': 0, 'both': 22, 'neither': 1, **shared}
  assert other['name'] == 'product'


def test_examples_worst_first():
  examples = sections.examples(*run(**TWO))
  assert [line['key'] for line in examples['wrong']] == [KEYS[9]]
  assert examples['broken'] == 1  # imu had it right
  assert [line['key'] for line in examples['fixed']] == [KEYS[5], KEYS[0]]  # nobody, then rgb alone
  assert [c for c, _ in examples['wrong'][0]['predicted']] == [2, 3, 3]


def test_alarms_count_any_abnormal_class():
  # Example 0 (walking) as falling is a false alarm; 9 (punching) as pushing is still an alarm.
  predicted = run(imu=logits((0, 1), (9, 3), (4, 0)))[1]['imu']
  alarms = sections.alarms(predicted, ['falling', 'punching', 'pushing', 'nodding_off'])
  assert alarms == {'abnormal': 16, 'found': 15, 'normal': 8, 'false': 1}


def test_a_fusion_is_what_has_several_modalities(tmp_path):
  """Whatever its name, alone or beside others."""
  results, predictions = run(imu=logits((0, 1)), both=logits(), again=logits((9, 3)))
  results['modalities'] = {'imu': ['imu'], 'both': ['imu', 'rgb'], 'again': ['imu', 'rgb']}
  assert sections.fusions(results) == ['both', 'again']
  found = sections.pairs(results, predictions)
  assert [(p['fusion'], p['fixed'], p['broke']) for p in found] == [('both', 1, 0), ('again', 1, 1)]
  assert 'in again' in Outline(page(tmp_path, results, predictions)).text
  only, predictions = run(whole=logits((0, 1), (5, 2)))
  only['modalities'] = {'whole': ['imu', 'rgb']}
  text = Outline(page(tmp_path, only, predictions)).text
  assert 'The trained fusion recognises 91.7 % of the test examples.' in text
  assert 'toy: imu + rgb' in text


def test_two_stages_of_one_modality_are_no_fusion(tmp_path):
  results, predictions = run(first=logits((0, 1)), second=logits())
  results['modalities'] = {'first': ['imu'], 'second': ['imu']}
  text = Outline(page(tmp_path, results, predictions)).text
  assert 'second alone recognises 100.0 %' in text
  assert 'toy: imu results' in text or 'toy: imu ' in text
  assert '0 wrong' in text


def test_people_and_the_signals_of_the_surest_errors(tmp_path):
  results, predictions = run(**TWO)
  subjects = np.repeat([2, 4], 12)
  rows = sections.by_subject(predictions, subjects)
  assert [(r['subject'], r['examples']) for r in rows] == [(2, 12), (4, 12)]
  # imu is wrong on examples 0 and 5, both of subject 2; the fusion on 9.
  assert [round(r['top1']['imu'], 3) for r in rows] == [0.833, 1.0]
  assert sections.worst(predictions['fusion']) == [9]
  asked = []

  def signals(key):
    asked.append(key)
    return {'imu': np.sin(np.arange(60.0)).reshape(20, 3)}

  html = page(tmp_path, results, predictions, subjects=subjects, signals=signals)
  outline = Outline(html)
  assert asked == [KEYS[9]]
  assert 'By person' in outline.text
  assert f'{KEYS[9]} : punching taken for pushing' in outline.text
  assert html.count('aria-label="imu of') == 1


def test_where_the_model_looks_in_right_examples_and_errors(tmp_path):
  results, predictions = run(**TWO)
  asked = []

  def attention(stage, keys, classes):
    asked.append((stage, list(zip(keys, classes, strict=True))))
    return [{'rgb': f'data:image/jpeg;base64,{i}'} for i in range(len(keys))]

  html = page(tmp_path, results, predictions, attention=attention)
  # All scores of right examples are alike: the first of each of three classes, then the error.
  assert asked == [('fusion', [(KEYS[0], 0), (KEYS[4], 1), (KEYS[8], 2), (KEYS[9], 3)])]
  text = Outline(html).text
  assert f'{KEYS[4]} : falling, right' in text
  assert f'{KEYS[9]} : punching taken for pushing' in text
  assert html.count('<img class="strip"') == 4
  nothing = page(tmp_path, results, predictions, attention=lambda _, keys, __: [{} for _ in keys])
  assert 'Where the model looks' not in nothing


def test_abnormal_classes_are_flagged(tmp_path):
  results, predictions = run(**TWO)
  assert '▲' not in page(tmp_path, results, predictions)
  results['alarms'] = {'imu': sections.alarms(predictions['imu'], ['falling'])}
  text = Outline(page(tmp_path, results, predictions, abnormal=['falling', 'unknown'])).text
  assert '▲ falling' in text
  assert 'Abnormal activities' in text


def test_confusions_are_ranked_with_their_support():
  wrong, pairs = sections.confusions(run(imu=logits((0, 1), (4, 0), (5, 0)))[1]['imu'])
  assert wrong == 3
  assert pairs == [('falling', 'walking', 2, 4), ('walking', 'falling', 1, 4)]


def test_one_modality_alone(tmp_path):
  results, predictions = run(imu=logits((0, 1)))
  text = Outline(page(tmp_path, results, predictions, {'imu': CURVE})).text
  assert 'imu alone recognises 95.8 % of the test examples.' in text
  assert re.search(r'\bfusion\b', text) is None
  assert 'untrained' not in text
  assert '1 wrong' in text


def test_four_modalities_and_int8(tmp_path):
  results, predictions = run(depth=logits((1, 2)), skeleton=logits((2, 3)), **TWO)
  results['stages']['rgb']['int8'] = {**results['stages']['rgb']['float32'], 'top1': 0.123}
  results['bytes']['rgb']['int8'] = 1100
  text = Outline(page(tmp_path, results, predictions)).text
  assert '12.3' in text
  assert '1.1 kB' in text
  assert 'skeleton, mean 95.8' in text  # F1: two of six classes at 6/7 and 8/9


def test_rows_without_a_modality(tmp_path):
  results, predictions = run(**TWO)
  assert 'without' not in page(tmp_path, results, predictions)
  results['removed'] = {'fusion': {'imu': results['stages']['imu']['float32'] | {'top1': 0.125}}}
  row = next(r for r in report._rows(results) if r['variant'] == 'without imu')
  assert (row['stage'], row['metrics']['top1'], row['bytes']) == ('fusion', 0.125, None)
  text = page(tmp_path, results, predictions)
  assert 'A row “without” a modality is the same trained stage' in text
  assert re.search(r'without imu</td>\s*<td>12.5</td>', text)


def test_header_facts_notes_and_missing_trials(tmp_path):
  results, predictions = run(**TWO)
  results['missing'] = {'rgb': ['a1_s1_t1', 'a2_s3_t4']}
  facts = {'command': 'python launch.py --config=a.py', 'versions': 'JAX 0.10', 'device': ''}
  text = Outline(page(tmp_path, results, predictions, facts=facts, notes=['From scratch.'])).text
  for words in ('toy: imu + rgb', 'cross_subject', 'Seed 3', 'python launch.py', 'JAX 0.10'):
    assert words in text
  assert 'Device' not in text
  assert 'From scratch.' in text
  assert 'rgb: 2 a1_s1_t1, a2_s3_t4' in text


def test_hostile_names_stay_text(tmp_path):
  hostile = ('<script>alert(1)</script>', '"><img src=x onerror=alert(1)>', '&amp;', *NAMES[3:])
  results, predictions = run(names=hostile, **TWO)
  results['dataset'] = '</title><script>alert(2)</script>'
  facts = {'command': '<script>alert(3)</script>'}
  html = page(tmp_path, results, predictions, facts=facts, abnormal=hostile[:1], notes=['<b>x</b>'])
  outline = Outline(html)
  assert outline.open == []
  assert 'script' not in outline.counts
  assert 'img' not in outline.counts
  assert outline.text.count(hostile[0]) > 3


def test_long_lists_of_examples_are_cut_with_a_word(tmp_path, monkeypatch):
  monkeypatch.setattr(report, 'MOST_EXAMPLES', 2)
  text = Outline(page(tmp_path, *run(imu=logits((0, 1), (4, 0), (5, 0))))).text
  assert '1 more are in predictions/*.csv' in text


def test_equal_results_give_equal_pages(tmp_path):
  pages = [page(tmp_path / name, *run(**TWO), {'imu': CURVE}) for name in 'ab']
  assert pages[0] == pages[1]


def test_predictions_of_other_examples_are_refused(tmp_path):
  results, predictions = run(**TWO)
  turned = Predictions.from_scores(KEYS[::-1], LABELS, TWO['rgb'], NAMES)
  with pytest.raises(ValueError, match='of rgb and imu are of different examples'):
    report.write_report(tmp_path, results, {**predictions, 'rgb': turned}, report.About())
  del predictions['fusion']
  with pytest.raises(ValueError, match=r"no predictions of \['fusion'\]"):
    report.write_report(tmp_path, results, predictions, report.About())
  assert os.listdir(tmp_path) == []


def test_a_report_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
  old = page(tmp_path, *run(imu=logits()))

  def full(*args):
    raise OSError(28, 'No space left on device')

  monkeypatch.setattr(files.os, 'fsync', full)
  with pytest.raises(UserError, match=r'report\.html: No space left'):
    report.write_report(tmp_path, *run(imu=logits((0, 1))), report.About())
  assert (tmp_path / 'report.html').read_text(encoding='utf-8') == old
  assert os.listdir(tmp_path) == ['report.html']


def test_curves_are_read_without_the_line_that_a_kill_cut(tmp_path):
  (tmp_path / 'metrics').mkdir()
  lines = [json.dumps(row) for row in CURVE[:3]]
  (tmp_path / 'metrics' / 'imu.jsonl').write_text(
    '\n'.join([*lines[:2], '{"step": 1, "ep', lines[2]])
  )
  assert report.read_curves(tmp_path, ['imu', 'rgb']) == {'imu': CURVE[:3], 'rgb': []}


@pytest.mark.parametrize(
  ('seconds', 'text'), [(35.2, '35 s'), (119, '119 s'), (300, '5 min'), (7500, '2 h 05 min')]
)
def test_duration(seconds, text):
  assert report._duration(seconds) == text
