"""A real browser with a camera that shows a film and sensors that tests move."""

import contextlib
import os
import shutil
from fractions import Fraction

import av
import numpy as np

RUNTIME = os.environ.get('ONNXRUNTIME_WEB', '')  # package/dist of onnxruntime-web.
BROWSER, DRIVER = shutil.which('chromium'), shutil.which('chromedriver')

# Moves like `exports.movement`, in a browser's units, as strongly as `window.strength` says.
MOVE = """
window.strength = arguments[0];
const noise = () => 0.06 * (Math.random() - 0.5);
const speeds = [1.0, 1.3, 0.7, 1.1, 0.9, 1.7];
setInterval(() => {
  const t = performance.now() / 1000;
  const x = speeds.map((s) => Math.sin(2 * Math.PI * t * s) * window.strength + noise());
  window.dispatchEvent(new DeviceMotionEvent('devicemotion', {
    accelerationIncludingGravity: { x: 4.9 * x[0], y: 4.9 * x[1], z: 9.81 + 4.9 * x[2] },
    rotationRate: { alpha: 50 * x[3], beta: 50 * x[4], gamma: 50 * x[5] },
    interval: 20,
  }));
}, 20);
"""


# What a test sees of the page: how bright the camera's picture is, 0 to 255, and the alarm.
LOOK = """
const canvas = document.createElement('canvas');
[canvas.width, canvas.height] = [8, 6];
const context = canvas.getContext('2d');
context.drawImage(document.getElementById('video'), 0, 0, 8, 6);
const { data } = context.getImageData(0, 0, 8, 6);
const bright = data.filter((_, i) => i % 4 < 3).reduce((sum, x) => sum + x, 0) / (3 * 48);
return [bright, !document.getElementById('alarm').hidden];
"""

LIT = (2.0, 5.0)  # Seconds of the film between which there is light.


def camera_film(path, seconds=9, rate=15, size=(240, 320)):
  """A figure that walks up and down before a wall, as Chromium's fake cameras take it: again and
  again from the beginning."""
  height, width = size
  y, x = np.mgrid[:height, :width]
  with av.open(str(path), 'w', format='yuv4mpegpipe') as container:
    stream = container.add_stream('wrapped_avframe', rate=rate)
    stream.height, stream.width, stream.pix_fmt = height, width, 'yuv420p'
    for i in range(seconds * rate):
      picture = np.empty((height, width, 3), np.uint8)
      picture[:] = [70, 92, 110]
      picture[y > 0.82 * height] = [58, 62, 66]
      middle = width * (0.5 + 0.3 * np.sin(2 * np.pi * i / (6 * rate)))
      body = np.abs(x - middle) < 22 - 8 * (y > 0.6 * height)
      picture[body & (y > 0.36 * height) & (y < 0.9 * height)] = [220, 120, 60]
      picture[(x - middle) ** 2 + (y - 0.28 * height) ** 2 < 20**2] = [235, 190, 160]
      if not LIT[0] <= i / rate < LIT[1]:
        picture //= 2
      frame = av.VideoFrame.from_ndarray(picture, format='rgb24').reformat(format='yuv420p')
      frame.pts, frame.time_base = i, Fraction(1, rate)
      container.mux(stream.encode(frame))
    container.mux(stream.encode(None))
  return path


@contextlib.contextmanager
def browser(folder, film=None, size=(1240, 1000)):
  """Chromium, driven by Selenium."""
  from selenium import webdriver
  from selenium.webdriver.chrome.service import Service

  options = webdriver.ChromeOptions()
  options.binary_location = BROWSER
  flags = ['--headless=new', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage']
  flags += ['--use-fake-device-for-media-stream', '--use-fake-ui-for-media-stream']
  flags += [f'--use-file-for-fake-video-capture={film}'] if film else []
  flags += [f'--window-size={size[0]},{size[1]}', f'--user-data-dir={folder / "profile"}']
  for flag in flags:
    options.add_argument(flag)
  options.set_capability('goog:loggingPrefs', {'browser': 'ALL'})
  driver = webdriver.Chrome(options=options, service=Service(DRIVER))
  try:
    yield driver
  finally:
    driver.quit()
