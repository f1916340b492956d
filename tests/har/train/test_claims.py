"""A run that is killed while it claims a workdir has claimed it wholly or not at all."""

import dataclasses
import os

import pytest

from har.data.membership import Membership
from har.errors import UserError
from har.train import claims


class Killed(BaseException):
  """What no handler catches."""


def claim(workdir, epochs=1, keys=('a', 'b')):
  examples = Membership(list(keys), ['fall'] * 2, [1, 2], ['train', 'test'], ['fall'])
  config = {'stages': {'imu': {'epochs': epochs}}}
  return claims.Claim(workdir, config, {'stages': {'imu': {'ema': 0.0}}}, examples)


def refused(one):
  try:
    one.check_config()
    one.check_data()
  except UserError:
    return True
  return False


@pytest.mark.parametrize('moment', range(9))
def test_killed_at_any_moment(moment, tmp_path, monkeypatch):
  workdir = tmp_path / 'run'
  moments = []
  replace = os.replace

  def killed_around(*paths):
    for step in (lambda: None, lambda: replace(*paths)):
      if len(moments) == moment:
        raise Killed
      moments.append(1)
      step()

  monkeypatch.setattr(os, 'replace', killed_around)
  if moment < 8:
    with pytest.raises(Killed):
      claim(workdir).write()
  else:
    claim(workdir).write()
  monkeypatch.undo()

  others = claim(workdir, epochs=2), claim(workdir, keys=('a', 'c'))
  assert [refused(other) for other in others] == [moment == 8] * 2
  # Another run has the folder to itself, whatever the killed one left there.
  last = claim(workdir, epochs=2, keys=('a', 'c')) if moment < 8 else claim(workdir)
  last.write()
  assert not refused(last)
  assert refused(dataclasses.replace(last, config={}))
  assert refused(dataclasses.replace(last, examples=claim(workdir, keys=('x', 'y')).examples))
  assert Membership.read(workdir / claims.EXAMPLES) == last.examples
