"""What is streamed to the server is what `predict` says of the same recording."""

import dataclasses
import io
import json
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from har.stream import follow as following
from har.stream import predict, result
from har.stream.exported import open_model
from har.stream.log import EventLog
from har.stream.options import Options
from har.stream.serve.limits import Limits
from tests.har.stream import exports
from tests.har.stream.serve import serving

OPTIONS = Options(seconds=1.0, step=0.25)
FAST = Limits(messages=1e6)  # A recording is sent as fast as it is followed.


@pytest.fixture(autouse=True)
def unhurried(monkeypatch):
  """However busy this machine is, nothing is given up."""
  for name in ('_BEHIND', '_LATEST'):
    monkeypatch.setattr(following, name, 60.0)


def film(path, pictures, rate):
  """Writes pictures as a film of JPEGs; returns those."""
  jpegs = []
  for picture in pictures:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, 'JPEG', quality=90, subsampling=2)
    jpegs.append(buffer.getvalue())
  with av.open(str(path), 'w', format='matroska') as container:
    stream = container.add_stream('mjpeg', rate=rate)
    stream.height, stream.width = pictures[0].shape[:2]
    stream.pix_fmt = 'yuvj420p'
    for i, jpeg in enumerate(jpegs):
      packet = av.Packet(jpeg)
      packet.stream, packet.pts, packet.dts = stream, i, i
      packet.time_base, packet.is_keyframe = Fraction(1, rate), True
      container.mux(packet)
  return jpegs


def expected(export, paths, options):
  found = predict.analyse(
    open_model(export, given={'imu', 'video'}), list(map(str, paths)), options
  )
  return result.plain(*found)


def follow(served, rates, messages):
  """Sends messages (seconds, bytes), never more than a second ahead of what is said; returns all
  that was told."""
  told, ahead = [], 0.0
  with served.stream() as socket:
    socket.send(serving.start(**rates))
    told += serving.until(socket, 'started')
    for time, message in messages:
      while time > ahead + 2.0:
        told += serving.until(socket, 'window')
        ahead = told[-1]['end']
      socket.send(message)
    socket.send('{"type": "stop"}')
    for text in socket:
      told.append(json.loads(text))
    assert (socket.close_code, socket.close_reason) == (1000, 'ended')
  return told


def of(told, state):
  return [{n: x for n, x in one.items() if n != 'state'} for one in told if one['state'] == state]


def test_samples_alone(resampled, tmp_path):
  path = exports.table(tmp_path / 'a.csv', exports.movement(30.0))
  options = exports.lively(open_model(resampled), path, OPTIONS)
  found = expected(resampled, [path], options)
  assert len(found['events']) > 3
  rows = np.loadtxt(path, delimiter=',', skiprows=1)
  log = EventLog(tmp_path / 'log.jsonl')
  with serving.Served(resampled, options, FAST, log) as served:
    messages = [(t, serving.samples([1000 + t], [v])) for t, *v in rows.tolist()]
    told = follow(served, {'imu': 50.0}, messages)
    assert of(told, 'ended') == found['events']
    assert len(of(told, 'raised')) == len(found['events'])
    windows = of(told, 'window')
    assert [one['class'] for one in windows] == [one['class'] for one in found['windows']]
    assert [one['start'] for one in windows] == [one['start'] for one in found['windows']]
    assert all(abs(one['after'] - one['end']) < 0.05 for one in windows)
    counted = of(told, 'counters')[-1]
    assert counted['taken'] == {'imu': len(rows)}
    assert counted['dropped'] == {}
    status, _, metrics = served.get('/metrics')
    assert status == 200
    assert f'har_taken_total{{source="imu"}} {len(rows)}\n' in metrics.decode()
    assert f'har_windows_total{{state="known"}} {len(windows)}\n' in metrics.decode()
    assert 'har_streams 0\n' in metrics.decode()
  log.close()
  kept = [json.loads(line) for line in (tmp_path / 'log.jsonl').read_text().splitlines()]
  assert {one.pop('stream') for one in kept} == {1}
  assert [one['name'] for one in kept if one['state'] == 'ended'] == [
    one['name'] for one in found['events']
  ]


def test_a_pair_of_camera_and_samples(both, tmp_path):
  path = exports.table(tmp_path / 'a.csv', exports.movement(12.0))
  rng = np.random.default_rng(0)
  noise = rng.integers(0, 255, (180, 1, 1, 3)) + rng.integers(-20, 20, (180, 32, 48, 3))
  jpegs = film(tmp_path / 'a.mkv', np.clip(noise, 0, 255).astype(np.uint8), 15)
  rows = np.loadtxt(path, delimiter=',', skiprows=1)
  model, options = open_model(both), dataclasses.replace(OPTIONS, step=0.1)
  probe = expected(both, [path, tmp_path / 'a.mkv'], options)
  high = [one['p(swipe_left)'] + one['p(swipe_right)'] for one in probe['windows']]
  high = np.minimum(high, 0.999)  # What is as good as certain is above it.
  rule = dataclasses.replace(options.rule, on=float(np.quantile(high, 0.7)), cool_down=0.3)
  options = dataclasses.replace(
    options, rule=dataclasses.replace(rule, off=float(np.quantile(high, 0.5)))
  )
  del model
  found = expected(both, [path, tmp_path / 'a.mkv'], options)
  assert len(found['events']) > 2
  messages = [(t, serving.samples([t], [v])) for t, *v in rows.tolist()]
  # A frame of Matroska has its time in whole milliseconds.
  times = [round(1000 * i / 15) / 1000 for i in range(len(jpegs))]
  messages += [(t, serving.frame(t, jpeg)) for t, jpeg in zip(times, jpegs, strict=True)]
  messages.sort(key=lambda one: one[0])
  with serving.Served(both, options, FAST) as served:
    told = follow(served, {'imu': 50.0, 'video': 15.0}, messages)
  assert of(told, 'ended') == found['events']
  assert of(told, 'counters')[-1]['taken'] == {'imu': 600, 'video': 180}


def test_files_that_are_sent_have_the_timeline_of_predict(resampled, tmp_path):
  path = exports.table(tmp_path / 'a.csv', exports.movement(10.0))
  options = exports.lively(open_model(resampled), path, OPTIONS)
  with serving.Served(resampled, options) as served:
    status, _, body = served.post([('../../etc/my walk.CSV', path.read_bytes())])
    assert status == 200, body
    found = json.loads(body)
    assert found.pop('inputs') == ['samples-1.csv']
    assert found.pop('notes') == []
    wanted = expected(resampled, [path], options)
    del wanted['inputs'], wanted['notes']
    assert found == json.loads(json.dumps(wanted))
    four = exports.table(tmp_path / 'four.csv', exports.movement(3.0)[:, :4])
    status, _, body = served.post([('four.csv', four.read_bytes())])
    assert status == 422
    assert body.startswith(b'samples-1.csv: has 4 channels')
