"""The command line: who may come in, and one line for what is wrong."""

import http.client
import shutil
import signal
import ssl
import subprocess
import sys

import pytest

from har.errors import UserError
from har.stream.recordings import Signal
from har.stream.serve import __main__ as command
from har.stream.serve import offers
from tests.launching import ROOT


def test_others_than_this_computer_need_a_token():
  assert command.token_of('127.0.0.1', '') == command.token_of('localhost', '') == ''
  assert command.token_of('::1', '') == ''
  made = {
    command.token_of(host, '') for host in ('0.0.0.0', '192.168.1.7', '::', 'name', '10.0.0.1')
  }
  assert len(made) == 5
  assert min(map(len, made)) >= 32
  assert command.token_of('127.0.0.1', 'given-by-somebody') == 'given-by-somebody'
  for bad in ('short', 'with a blank in it', 'semicolons;semicolons'):
    with pytest.raises(UserError, match='--token'):
      command.token_of('0.0.0.0', bad)


def test_what_a_phone_measures_is_brought_to_the_units_of_a_model():
  def found(*units):
    plain = offers.channels(Signal(tuple((f'c{i}', u) for i, u in enumerate(units)), (50.0,)))
    return [(one.get('of'), one.get('axis'), one.get('factor')) for one in plain]

  axes = range(3)
  assert found(*['g'] * 3) == [('acceleration', i, 1 / 9.80665) for i in axes]
  assert found(*['rad/s'] * 3, *['m/s^2'] * 3) == [
    *(('rotation', i, pytest.approx(0.01745329)) for i in axes),
    *(('acceleration', i, 1.0) for i in axes),
  ]
  # A second place of the body, and what no phone tells in this way, are not made up.
  assert found(*['g'] * 6)[3:] == [(None, None, None)] * 3
  assert found('g', 'g', 'deg/s') == found('', '', '') == [(None, None, None)] * 3


def run(*args):
  return subprocess.run(
    [sys.executable, '-m', 'har.stream.serve', *map(str, args)],
    cwd=ROOT,
    capture_output=True,
    text=True,
    timeout=120,
  )


@pytest.mark.parametrize(
  ('flags', 'told'),
  [
    (['--model=/nothing'], 'error: /nothing: no such file or folder'),
    (['--certificate=/nothing'], 'error: --certificate=/nothing: no such file'),
    (['--token=1'], 'error: --token: at least 16'),
    (['--port=99999'], 'cannot be listened on'),
    (['--stage=x'], 'has no stage x, but imu'),
  ],
)
def test_a_mistake_is_one_line(resampled, flags, told):
  done = run(f'--model={resampled}', *flags)
  assert done.returncode == 2
  assert told in done.stderr.splitlines()[-1]


def test_https_with_a_token(resampled, tmp_path):
  if not (openssl := shutil.which('openssl')):
    pytest.skip('openssl is not installed')
  key, certificate = tmp_path / 'key.pem', tmp_path / 'certificate.pem'
  subprocess.run(
    [openssl, 'req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-subj', '/CN=har', '-days', '2']
    + ['-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', str(key), '-out', str(certificate)],
    check=True,
    capture_output=True,
  )
  process = subprocess.Popen(
    [sys.executable, '-m', 'har.stream.serve', f'--model={resampled}', '--host=0.0.0.0', '--port=0']
    + [f'--certificate={certificate}', f'--key={key}'],
    cwd=ROOT,
    stdout=subprocess.PIPE,
    text=True,
  )
  try:
    addresses = [process.stdout.readline()]
    while addresses[-1] and '127.0.0.1' not in addresses[-1]:
      addresses.append(process.stdout.readline())
    address, _, token = addresses[-1].strip().partition('/?token=')
    assert address.startswith('https://127.0.0.1:')
    context = ssl.create_default_context(cafile=certificate)
    for path, status in ((f'/?token={token}', 200), ('/', 401)):
      connection = http.client.HTTPSConnection(address.removeprefix('https://'), context=context)
      connection.request('GET', path)
      answer = connection.getresponse()
      assert answer.status == status
      if status == 200:
        assert 'Secure' in answer.headers['Set-Cookie']
        assert 'wss://127.0.0.1' in answer.headers['Content-Security-Policy']
      connection.close()
  finally:
    process.send_signal(signal.SIGTERM)
    process.stdout.close()
    assert process.wait(30) in (0, -signal.SIGTERM)


def test_no_jax_is_imported():
  text = (
    'import sys; from har.stream.serve import __main__, app, offers, protocols;'
    'print(sorted({m.partition(".")[0] for m in sys.modules}))'
  )
  done = subprocess.run(
    [sys.executable, '-c', text], cwd=ROOT, capture_output=True, text=True, check=True
  )
  found = set(eval(done.stdout))
  assert {'starlette', 'uvicorn'} <= found
  assert not found & {'jax', 'jaxlib', 'flax', 'optax', 'absl', 'ml_collections', 'tensorflow'}


def test_what_is_not_installed_is_named(resampled):
  text = (
    'import sys; sys.modules["uvicorn"] = None;'
    'from har.stream.serve import __main__; __main__.main(sys.argv[1:])'
  )
  done = subprocess.run(
    [sys.executable, '-c', text, f'--model={resampled}'], cwd=ROOT, capture_output=True, text=True
  )
  assert done.returncode == 2
  assert 'uvicorn is missing: pip install -r requirements-serve.txt' in done.stderr
