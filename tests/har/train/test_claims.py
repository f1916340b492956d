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

  for other in (claim(workdir, epochs=2), claim(workdir, keys=('a', 'c'))):
    if moment < 8:
      other.check_config()
      other.check_data()
    else:
      with pytest.raises(UserError, match='belongs to another config|trained with other data'):
        other.check_config()
        other.check_data()
  # Another run has the folder to itself, whatever the killed one left there.
  last = claim(workdir, epochs=2, keys=('a', 'c')) if moment < 8 else claim(workdir)
  last.check_config()
  last.write()
  last.check_config()
  last.check_data()
  for changed in ({'config': {}}, {'examples': claim(workdir, keys=('x', 'y')).examples}):
    with pytest.raises(UserError):
      other = dataclasses.replace(last, **changed)
      other.check_config()
      other.check_data()
  assert Membership.read(workdir / claims.EXAMPLES) == last.examples
