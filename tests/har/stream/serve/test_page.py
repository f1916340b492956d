"""The page in a real browser: its camera shows a film, and its sensors are moved by the test."""

import dataclasses
import json
import time

import av
import numpy as np
import pytest

from har.stream.exported import open_model
from har.stream.log import EventLog
from har.stream.options import Options, Rule
from har.stream.windows import Windows
from tests import fakes
from tests.har.stream import exports
from tests.har.stream.serve import browsing, serving

pytestmark = pytest.mark.skipif(
  not (browsing.BROWSER and browsing.DRIVER), reason='Chromium and its driver are not installed'
)


@pytest.fixture(scope='module')
def shown(tmp_path_factory):
  """The film that the camera shows."""
  return browsing.camera_film(tmp_path_factory.mktemp('camera') / 'film.y4m')


@pytest.fixture(scope='module')
def driver(shown, tmp_path_factory):
  with browsing.browser(tmp_path_factory.mktemp('browser'), shown) as found:
    yield found


def text(driver, name):
  return driver.find_element('id', name).text


def number(driver, name):
  return int(text(driver, name).split()[0])


def wait(driver, condition, seconds=60.0):
  end = time.monotonic() + seconds
  while not condition():
    names = ('state', 'class', 'notice', 'windows', 'frames', 'samples', 'score')
    assert time.monotonic() < end, [text(driver, name) for name in names]
    time.sleep(0.05)


def clean(driver):
  """Whether the browser had nothing to complain of, such as what the page's policy forbids."""
  return [one for one in driver.get_log('browser') if one['level'] == 'SEVERE'] == []


def scores(export):
  """The largest score of somebody who rests, and the least of somebody who moves."""
  model = open_model(export)
  found = []
  for strength in (0.0, 1.0):
    windows = Windows(model, {'imu': 50.0}, seconds=1.0, step=0.25)
    t = np.arange(500) / 50
    x = np.sin(2 * np.pi * t[:, None] * [1.0, 1.3, 0.7, 1.1, 0.9, 1.7]) * strength
    x = x * [0.5, 0.5, 0.5, 50, 50, 50] + [0, 0, 1, 0, 0, 0]
    told = [d.score for s, row in zip(t, x, strict=True) for d in windows.push('imu', s, row)]
    found.append(told)
  return max(found[0]), min(found[1])


def test_a_fall_of_the_phone_is_an_alarm(driver, anomaly):
  """Rest is none; movement is, and ends with it."""
  rest, movement = scores(anomaly)
  assert movement > 2 * rest
  options = Options(seconds=1.0, step=0.25, threshold=float(np.sqrt(rest * movement)))
  with serving.Served(anomaly, options) as served:
    driver.get(f'http://{served.address}/')
    wait(driver, lambda: 'motion' in text(driver, 'model'))
    driver.execute_script(browsing.MOVE, 0.0)
    driver.find_element('id', 'start').click()
    wait(driver, lambda: number(driver, 'windows') >= 8)
    assert text(driver, 'class') == 'normal'
    assert not driver.find_element('id', 'alarm').is_displayed()
    driver.execute_script('window.strength = 1')
    wait(driver, lambda: driver.find_element('id', 'alarm').is_displayed())
    colour = 'return getComputedStyle(document.getElementById("verdict")).backgroundColor'
    wait(driver, lambda: driver.execute_script(colour) == 'rgb(179, 23, 28)')
    assert text(driver, 'events').startswith('anomaly')
    driver.execute_script('window.strength = 0')
    wait(driver, lambda: not driver.find_element('id', 'alarm').is_displayed())
    assert 0 <= number(driver, 'latency') < 5000
    driver.find_element('id', 'start').click()
    wait(driver, lambda: text(driver, 'state') == 'stopped')
  assert clean(driver)


def lit(model, shown):
  """Whether it is a swipe, in windows of the film: the most in the dark, the least in the light."""
  windows, found = Windows(model, {'video': 15.0}, seconds=0.5, step=0.25), []
  with av.open(str(shown)) as container:
    for i, frame in enumerate(container.decode(video=0)):
      found += windows.push('video', i / 15, frame)
  begin, end = browsing.LIT
  p = [(d.start, d.end, float(d.probabilities[1:].sum())) for d in found]
  dark = [x for first, last, x in p if last <= begin or first >= end]
  return max(dark), min(x for first, last, x in p if begin <= first and last <= end)


@pytest.fixture(scope='module')
def seeing(tmp_path_factory):
  """Tells by brightness alone."""
  data = fakes.FakeDataset(metadata=exports.FACTS | {'abnormal': fakes.CLASSES[1:]})
  encoders = {'rgb': {'kind': 'brightness'}}
  folder = tmp_path_factory.mktemp('seeing') / 'run'
  return exports.write(folder, {'rgb': exports.VIDEO}, encoders, data)


def test_what_the_camera_sees_is_an_alarm(driver, seeing, shown, tmp_path):
  """It is raised in the light, and in the dark there is none."""
  dark, light = lit(open_model(seeing), shown)
  assert light - dark > 0.1
  middle = (light + dark) / 2
  rule = Rule(on=middle, off=middle, least=0.5, cool_down=0.0)
  options, log = Options(seconds=0.5, step=0.25, rule=rule), EventLog(tmp_path / 'log.jsonl')
  with serving.Served(seeing, options, log=log) as served:
    driver.get(f'http://{served.address}/')
    wait(driver, lambda: '(camera)' in text(driver, 'model'))
    driver.find_element('id', 'start').click()
    wait(driver, lambda: number(driver, 'frames') >= 1)
    seen = []

    def over():
      seen.append(driver.execute_script(browsing.LOOK))
      return any(alarm for _, alarm in seen) and not seen[-1][1]

    wait(driver, over)
    driver.find_element('id', 'start').click()
    wait(driver, lambda: text(driver, 'state') == 'stopped')
  log.close()
  bright = [mean > 64 for mean, _ in seen]
  alarms = [alarm for _, alarm in seen]
  assert bright.index(True) <= alarms.index(True)
  assert not bright[-1]
  events = [json.loads(line) for line in (tmp_path / 'log.jsonl').read_text().splitlines()]
  first = next(one for one in events if one['state'] == 'ended')
  assert first['name'] in fakes.CLASSES[1:]
  assert 1.5 < first['end'] - first['start'] < 4.0  # There is light for 3 s.
  assert clean(driver)


def test_camera_and_motion_together(driver, both, tmp_path):
  """Something is an event whatever is likeliest; the page lists what the log has."""
  log = EventLog(tmp_path / 'log.jsonl')
  rule = Rule(on=1e-6, off=1e-9, cool_down=0.0)
  options = Options(seconds=1.0, step=0.25, rule=rule)
  with serving.Served(both, options, log=log) as served:
    driver.get(f'http://{served.address}/')
    wait(driver, lambda: 'motion and camera' in text(driver, 'model'))
    driver.execute_script(browsing.MOVE, 1.0)
    driver.find_element('id', 'start').click()
    wait(driver, lambda: driver.find_element('id', 'alarm').is_displayed())
    wait(driver, lambda: number(driver, 'windows') >= 8)
    # A busy machine may have passed over some by then.
    wait(driver, lambda: number(driver, 'frames') >= 20)
    wait(driver, lambda: number(driver, 'samples') >= 50)
    assert 'too little' not in text(driver, 'confidence')
    shown = driver.execute_script('return document.getElementById("video").videoWidth')
    assert shown == 320
    driver.find_element('id', 'start').click()
    wait(driver, lambda: text(driver, 'state') == 'stopped')
    listed = text(driver, 'events').splitlines()
  log.close()
  ended = [json.loads(line) for line in (tmp_path / 'log.jsonl').read_text().splitlines()]
  ended = [one for one in ended if one['state'] == 'ended']
  assert [one['name'] for one in ended] == [line for line in listed if ' s, ' not in line][::-1]
  assert clean(driver)


def test_a_recording_is_sent(driver, resampled, tmp_path):
  path = exports.table(tmp_path / 'a.csv', exports.movement(12.0))
  options = exports.lively(open_model(resampled), path, Options(seconds=1.0, step=0.25))
  four = exports.table(tmp_path / 'four.csv', exports.movement(3.0)[:, :4])
  with serving.Served(resampled, options) as served:
    driver.get(f'http://{served.address}/')
    wait(driver, lambda: 'motion' in text(driver, 'model'))
    driver.find_element('id', 'files').send_keys(str(path))
    driver.find_element('id', 'send').click()
    wait(driver, lambda: text(driver, 'answer').startswith('45 windows'))
    driver.find_element('id', 'files').clear()
    driver.find_element('id', 'files').send_keys(str(four))
    driver.find_element('id', 'send').click()
    wait(driver, lambda: 'has 4 channels' in text(driver, 'answer'))


# Stands for what iOS alone has: it answers a tap only.
ASK = """
window.asked = [];
DeviceMotionEvent.requestPermission = async () => {
  window.asked.push(navigator.userActivation.isActive);
  return window.answer;
};
window.answer = arguments[0];
"""


def test_motion_sensors_that_have_to_be_asked_for(driver, resampled):
  driver.get_log('browser')  # Of files that were refused before.
  options = dataclasses.replace(Options(), seconds=1.0)
  with serving.Served(resampled, options) as served:
    driver.get(f'http://{served.address}/')
    wait(driver, lambda: 'motion' in text(driver, 'model'))
    driver.execute_script(ASK, 'denied')
    driver.execute_script(browsing.MOVE, 1.0)
    driver.find_element('id', 'start').click()
    wait(driver, lambda: text(driver, 'state') == 'ended')
    assert text(driver, 'notice') == 'The motion sensors were not allowed.'
    assert text(driver, 'start') == 'Start'
    assert served.site.totals.open == 0  # Nothing is sent.
    assert driver.execute_script('return window.asked') == [True]
    driver.execute_script("window.answer = 'granted'")
    driver.find_element('id', 'start').click()
    wait(driver, lambda: number(driver, 'windows') >= 1)
    assert text(driver, 'notice') == ''
    assert driver.execute_script('return window.asked') == [True, True]
    driver.find_element('id', 'start').click()
    wait(driver, lambda: text(driver, 'state') == 'stopped')
  assert clean(driver)


def test_what_is_missing_is_told(driver, resampled):
  """Without HTTPS, by an address that is not this computer's own to the browser; without token."""
  options = dataclasses.replace(Options(), seconds=1.0)
  with serving.Served(resampled, options, token='a-very-long-token') as served:
    driver.get(f'http://{served.address}/')
    assert 'open the address with ?token=' in driver.page_source
    driver.get(f'http://{served.address}/?token=a-very-long-token')
    wait(driver, lambda: 'motion' in text(driver, 'model'))
    assert driver.current_url == f'http://{served.address}/'
    driver.execute_script(browsing.MOVE, 1.0)
    driver.find_element('id', 'start').click()
    wait(driver, lambda: number(driver, 'windows') >= 1)
    driver.get(f'http://0.0.0.0:{served.port}/?token=a-very-long-token')
    wait(driver, lambda: 'over HTTPS' in text(driver, 'notice'))
