"""Lines of the log are whole."""

import json
import os

import pytest

from har.errors import UserError
from har.stream.log import EventLog


def test_lines_are_appended_and_on_the_disk(tmp_path, monkeypatch):
  synced = []
  monkeypatch.setattr(os, 'fsync', lambda file: synced.append(os.fstat(file).st_size))
  path = tmp_path / 'new' / 'log.jsonl'
  log = EventLog(path)
  log.append({'name': 'fällt', 'start': 1.5})
  log.append({'name': 'b'})
  assert synced == [len('{"name": "fällt", "start": 1.5}\n'.encode()), path.stat().st_size]
  log.close()
  again = EventLog(path)
  assert again.cut == 0
  again.append({'name': 'c'})
  again.close()
  assert [json.loads(line)['name'] for line in path.read_text().splitlines()] == ['fällt', 'b', 'c']


@pytest.mark.parametrize('broken', ['{"name": "bro', '{"name": "' + 'x' * 200_000, '\0' * 70_000])
def test_a_last_line_without_an_end_is_cut_off(tmp_path, broken):
  path = tmp_path / 'log.jsonl'
  path.write_text('{"name": "a"}\n{"name": "b"}\n' + broken)
  log = EventLog(path)
  assert log.cut == len(broken)
  log.append({'name': 'c'})
  log.close()
  assert path.read_text() == '{"name": "a"}\n{"name": "b"}\n{"name": "c"}\n'
  path.write_text(broken)
  log = EventLog(path)
  assert (log.cut, path.read_text()) == (len(broken), '')
  log.close()


def test_a_full_disk_leaves_no_part_of_a_line(tmp_path, monkeypatch):
  path = tmp_path / 'log.jsonl'
  log = EventLog(path)
  log.append({'name': 'a'})
  write = os.write
  monkeypatch.setattr(os, 'write', lambda file, data: write(file, data[:5]))
  with pytest.raises(UserError, match='only a part of a line could be written'):
    log.append({'name': 'b'})
  log.close()
  assert path.read_text() == '{"name": "a"}\n'


def test_two_processes_do_not_write_one_log(tmp_path):
  log = EventLog(tmp_path / 'log.jsonl')
  with pytest.raises(UserError, match=r'--log=.*log\.jsonl: another process writes it'):
    EventLog(tmp_path / 'log.jsonl')
  log.close()
  EventLog(tmp_path / 'log.jsonl').close()
  (tmp_path / 'file').write_text('')
  with pytest.raises(UserError, match='cannot be written'):
    EventLog(tmp_path / 'file' / 'log.jsonl')
