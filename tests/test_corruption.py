"""The harness of `corruption.py` notices what it is there for; and some of its cases."""

import dataclasses
import random
import re
import subprocess
import sys
import time

import pytest

from har.errors import UserError
from tests import corruption


def test_damaged_files_end_as_the_policy_says():
  command = [sys.executable, corruption.__file__, '--count=24', '--seed=1']
  done = subprocess.run(command, capture_output=True, text=True, timeout=600)
  assert done.returncode == 0, done.stdout + done.stderr
  assert '24 cases, no failure' in done.stdout
  row = re.search(r'^all +(\d+) +(\d+) +(\d+) +0$', done.stdout, re.M)
  assert sum(map(int, row.groups())) == 24


def raise_it(error):
  raise error


# Other tests of this process may have started JAX; the forked child runs nothing of it.
@pytest.mark.filterwarnings('ignore:os.fork:RuntimeWarning')
@pytest.mark.parametrize(
  ('prepare', 'outcome', 'message'),
  [
    (lambda *_: ('error', 'x'), 'error', 'x'),
    (lambda *_: raise_it(KeyError('x')), 'failure', 'KeyError'),
    (lambda *_: time.sleep(30), 'failure', 'longer than 1 s'),
    (lambda *_: ('error', str(len(b'x' * 2**28))), 'failure', 'MB of memory'),
  ],
)
def test_crashes_hangs_and_hunger_are_failures(prepare, outcome, message, monkeypatch, tmp_path):
  monkeypatch.setattr(corruption, 'prepare', prepare)
  monkeypatch.setattr(corruption, 'SECONDS', 1)
  monkeypatch.setattr(corruption, 'MEMORY', 2**25)
  case = corruption.Case('flipped', 'utd_mhad', 'folder')
  found = corruption.limited(case, tmp_path, tmp_path)
  assert found[0] == outcome
  assert message in found[1]


@pytest.mark.parametrize(
  ('said', 'outcome'), [('raw/a.avi: bad', 'error'), ('something is bad', 'failure')]
)
def test_an_error_has_to_name_the_file(said, outcome, monkeypatch, tmp_path):
  class Builder:
    def download_and_prepare(self):
      raise UserError(said)

  layout = dataclasses.replace(corruption.LAYOUTS['utd_mhad'], build=lambda *_: Builder())
  monkeypatch.setitem(corruption.LAYOUTS, 'utd_mhad', layout)
  case = corruption.Case('flipped', 'utd_mhad', 'folder', suspects=('a.avi',))
  assert corruption.prepare(case, tmp_path, tmp_path)[0] == outcome
  (tmp_path / 'x.array_record').write_bytes(b'')
  assert corruption.prepare(case, tmp_path, tmp_path)[0] == 'failure'


@pytest.mark.parametrize(
  ('kind', 'outcome', 'message', 'judged'),
  [
    ('flipped', 'harmless', 'x', 'harmless'),
    ('in its place', 'error', 'x', 'error'),
    ('in its place', 'harmless', 'x', 'failure'),
    ('half download', 'counted', 'x', 'failure'),
    ('beyond float32', 'harmless', 'x', 'failure'),
    ('litter', 'error', 'x', 'failure'),
    ('litter', 'harmless', 'same', 'harmless'),
    ('litter', 'harmless', 'other', 'failure'),
  ],
)
def test_some_damage_has_to_end_in_one_way(kind, outcome, message, judged):
  case = corruption.Case(kind, 'mmact', 'zip')
  assert corruption.judge(case, outcome, message, {'mmact': 'same'})[0] == judged


def test_every_kind_of_damage_comes_in_every_form():
  every = {
    (kind, name, form)
    for name, layout in corruption.LAYOUTS.items()
    for kind in layout.kinds
    for form in layout.forms
  }
  planned = corruption.cases(len(every) + 5, random.Random(0))
  assert {(case.kind, case.layout, case.form) for case in planned[: len(every)]} == every
