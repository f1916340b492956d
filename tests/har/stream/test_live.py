"""Sources that are heard while they are recorded: what is opened, what comes of it, how it ends."""

import json
import types

import pytest

from har.errors import UserError
from har.stream import __main__ as command
from har.stream import live
from har.stream.counters import Counters
from har.stream.exported import open_model
from har.stream.recordings import Signal, SourceError
from tests.har.stream import exports, network

FRAMES = 60
SERVERS = {'http': network.over_http, 'rtsp': network.over_rtsp}


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
  monkeypatch.setenv('no_proxy', '127.0.0.1')


@pytest.mark.parametrize('kind', SERVERS)
def test_every_frame_of_a_camera_of_the_network_comes_with_its_stamp(kind, capfd):
  with SERVERS[kind](FRAMES) as port:
    name = f'{kind}://127.0.0.1:{port}/film'
    one = live.source(name, None, Counters())
    found = list(one.items())
  assert (one.source, one.rate) == ('video', network.RATE)
  assert [item.time for item in found] == pytest.approx([k / network.RATE for k in range(FRAMES)])
  grey = [item.value.to_ndarray(format='gray').mean() for item in found]
  assert grey[0] < 40 < 200 < grey[-1]
  assert sorted(grey) == pytest.approx(grey, abs=2)
  assert capfd.readouterr().err == f'--source={name}: has ended\n'


@pytest.mark.parametrize('kind', SERVERS)
def test_a_camera_that_falls_silent_is_told(kind, monkeypatch):
  monkeypatch.setattr(live, '_TIMEOUT', 1.0)
  with SERVERS[kind](FRAMES, share=0.5, hang=True) as port:
    name, found = f'{kind}://127.0.0.1:{port}/film', []
    with pytest.raises(SourceError, match=f'^--source={name}: has stopped .nothing came for 1 s.$'):
      found.extend(live.source(name, None, Counters()).items())
  assert 20 < len(found) < 40


def test_a_camera_of_the_network_is_followed(film, tmp_path, capfd):
  """To its end, and to where it breaks off: what came before is told all the same."""
  args = [f'--model={film}', '--windows', '--seconds=1', '--step=0.2']
  with network.over_http(FRAMES) as port:
    assert command.main([*args, f'--source=http://127.0.0.1:{port}/film']) == 0
  out, err = capfd.readouterr()
  assert err == f'--source=http://127.0.0.1:{port}/film: has ended\n'
  *told, counted = map(json.loads, out.splitlines())
  windows = [one['start'] for one in told if one['state'] == 'window']
  assert counted['taken']['video'] + counted['dropped'].get('video', 0) == FRAMES
  assert len(windows) == sum(counted['windows'].get(n, 0) for n in ('known', 'unknown')) > 0
  assert windows == sorted(windows)

  report = tmp_path / 'counters.json'
  with network.over_http(FRAMES, share=0.8) as port, pytest.raises(SystemExit) as end:
    command.main([*args, f'--source=http://127.0.0.1:{port}/film', f'--counters={report}'])
  assert end.value.code == 2
  out, err = capfd.readouterr()
  assert err == f'error: --source=http://127.0.0.1:{port}/film: has stopped (Input/output error)\n'
  counted = json.loads(report.read_text())
  assert json.loads(out.splitlines()[-1]) == {'state': 'counters', **counted}
  assert counted['taken']['video'] + counted['dropped'].get('video', 0) > 40
  assert [json.loads(line)['state'] for line in out.splitlines()].count('window') > 0


class Opened:
  """Stands for PyAV; remembers what was opened."""

  def __init__(self, *rates):
    streams = [types.SimpleNamespace(average_rate=rate, base_rate=30) for rate in rates]
    self.streams, self.calls = types.SimpleNamespace(video=streams), []

  def __call__(self, *args, **options):
    self.calls.append((args, options))
    return self


@pytest.mark.parametrize(
  ('name', 'device', 'options'),
  [
    ('camera', '/dev/video0', {'format': 'v4l2'}),
    ('camera:/dev/video1', '/dev/video1', {'format': 'v4l2'}),
    ('/dev/video2', '/dev/video2', {'format': 'v4l2'}),
    ('rtsp://a:b@host/1', 'rtsp://a:b@host/1', {'options': {'rtsp_transport': 'tcp'}}),
    ('http://host/1', 'http://host/1', {}),
  ],
)
def test_a_source_is_opened_by_what_its_name_says(name, device, options, monkeypatch):
  opened = Opened(20)
  monkeypatch.setattr(live.av, 'open', opened)
  one = live.source(name, None, Counters())
  assert opened.calls == [((device, 'r'), {'timeout': 10.0, **options})]
  assert (one.source, one.rate) == ('video', 20.0)
  monkeypatch.setattr(live.av, 'open', Opened(None))
  assert live.source(name, None, Counters()).rate == 30.0
  monkeypatch.setattr(live.av, 'open', Opened())
  with pytest.raises(UserError, match=f'^--source={name}: has no video$'):
    live.source(name, None, Counters())


def test_a_camera_that_is_not_there_is_one_line(film, capfd):
  for name in ('camera:/dev/video97', 'http://127.0.0.1:9/film', 'rtsp://127.0.0.1:9/film'):
    with pytest.raises(SystemExit) as end:
      command.main([f'--model={film}', f'--source={name}'])
    assert end.value.code == 2
    out, err = capfd.readouterr()
    assert out == ''
    assert err.startswith(f'error: --source={name}: cannot be opened (')
    assert err.count('\n') == 1


def test_samples_of_another_kind_are_refused_on_standard_input(resampled):
  signal_, counters = Signal.of(open_model(resampled)), Counters()
  samples = exports.movement(8.0)

  def text(values):
    return [','.join(map(str, [7 + k / 50, *row])) for k, row in enumerate(values)]

  found = list(live.read_lines(['t,a,b,c,d,e,f', *text(samples), '', 'x'], signal_, counters))
  assert len(found) == 400
  assert counters.bad_lines == 1
  assert [found[0].time, found[50].time] == [0.0, pytest.approx(1.0)]
  with pytest.raises(UserError, match=r'standard input, line 1: has 4 channels'):
    list(live.read_lines(text(samples[:, :4]), signal_, counters))
  with pytest.raises(UserError, match=r'standard input: .* gravity in m/s\^2'):
    list(live.read_lines(text(samples * 9.81), signal_, counters))


def test_the_counters_are_last_where_standard_input_breaks_off(resampled, monkeypatch, capfd):
  samples = exports.movement(2.0)
  lines = [','.join(map(str, [k / 50, *row])) for k, row in enumerate(samples)]
  monkeypatch.setattr(live.sys, 'stdin', [*lines, '2,1,2,3'])
  with pytest.raises(SystemExit) as end:
    command.main([f'--model={resampled}', '--source=-', '--pace=fast', '--seconds=1'])
  assert end.value.code == 2
  out, err = capfd.readouterr()
  assert err.startswith('error: standard input, line 101: has 3 channels')
  *events, counted = map(json.loads, out.splitlines())
  assert (counted['state'], counted['taken']) == ('counters', {'imu': 100})
  told = [one['state'] for one in events]
  assert counted['events'] == {what: told.count(what) for what in set(told)}


def test_what_is_live_is_known_by_its_name():
  for name in ('-', 'camera', 'camera:/dev/video1', '/dev/video0', 'rtsp://host/1'):
    assert live.is_live(name)
  for name in ('a.csv', '/data/camera.mp4', 'cameras/1.mp4', './-'):
    assert not live.is_live(name)
