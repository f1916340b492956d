import multiprocessing
import os
import pathlib
import signal

import pytest

from data_builders.mmact import clips, generate, workers
from data_builders.mmact import mmact_dataset_builder as mmact
from data_builders.mmact.sources import find
from har.errors import UserError

MANIFEST = pathlib.Path(__file__).with_name('manifest.csv')


@pytest.fixture(scope='module')
def jobs(tmp_path_factory):
  raw = tmp_path_factory.mktemp('raw')
  generate.write_raw(raw / 'mmact', MANIFEST, clips=12, defects=False)
  return mmact.plan(find(raw / 'mmact', raw / 'scratch'), mmact.make_config(mmact.MODALITIES, 24))


@pytest.mark.parametrize('count', [0, 2])
def test_every_job_is_done_and_told_once(jobs, tmp_path, count):
  told = []
  outcomes = list(workers.run(jobs, tmp_path, count, lambda: told.append(1)))
  assert sorted(o.signature for o in outcomes) == sorted(job.signature for job in jobs)
  assert len(told) == 12
  assert all(clips.finished(job, tmp_path) for job in jobs)
  assert not multiprocessing.active_children()


def test_a_killed_process_is_a_user_error(jobs, tmp_path):
  # Many, so that it is not done before it is killed.
  outcomes = workers.run(jobs * 100, tmp_path, 1, lambda: None)
  next(outcomes)
  for child in multiprocessing.active_children():
    os.kill(child.pid, signal.SIGKILL)
  with pytest.raises(UserError, match=r'was killed, .* the same command continues'):
    list(outcomes)


def test_stopped_early_it_leaves_no_process(jobs, tmp_path):
  outcomes = workers.run(jobs, tmp_path, 2, lambda: None)
  next(outcomes)
  outcomes.close()
  assert not multiprocessing.active_children()
