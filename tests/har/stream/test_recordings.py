"""Files as people have them, and one line about those that the model does not take."""

import json
import sys

import h5py
import numpy as np
import pytest
import scipy.io

from har.errors import UserError
from har.stream import checks, recordings
from har.stream.exported import open_model
from har.stream.recordings import Signal
from tests.data_builders import raw_trees
from tests.har.stream import exports

CHANNELS = tuple(
  [(f'accelerometer {a}', 'g') for a in 'xyz'] + [(f'gyroscope {a}', 'deg/s') for a in 'xyz']
)


def items(path, model, **options):
  (found,) = recordings.open_files([str(path)], model, **options)
  return list(found.items()), found


def test_csv_with_and_without_time(resampled, tmp_path):
  model, samples = open_model(resampled), exports.movement(2.0)
  expected = [k / 50 for k in range(100)]
  with_time, one = items(exports.table(tmp_path / 'a.csv', samples), model)
  assert [item.time for item in with_time] == pytest.approx(expected)
  assert one.notes == ()
  assert one.rate == pytest.approx(50.0)
  np.testing.assert_allclose([item.value for item in with_time], samples, rtol=1e-6)
  assert {(item.source, item.sensor) for item in with_time} == {('imu', None)}

  # Wherever the clock begins, in whatever unit its header says.
  stamps = 1.7e12 + 20 * np.arange(100)
  head = 'ax;ay;az;gx;gy;gz;timestamp (ms)'
  rows = np.column_stack([samples, stamps])
  np.savetxt(tmp_path / 'b.csv', rows, fmt='%.9g', delimiter=';', header=head, comments='')
  rows = (tmp_path / 'b.csv').read_text().splitlines()
  lines = [
    f'{row.rsplit(";", 1)[0]};{stamp:.0f}' for row, stamp in zip(rows[1:], stamps, strict=True)
  ]
  (tmp_path / 'b.csv').write_text('\n'.join([rows[0], *lines, '']))
  found, _ = items(tmp_path / 'b.csv', model)
  assert [item.time for item in found] == pytest.approx(expected, abs=1e-6)

  np.savetxt(tmp_path / 'c.csv', samples, delimiter=',')
  found, _ = items(tmp_path / 'c.csv', model)
  assert [item.time for item in found] == pytest.approx(expected)
  found, one = items(tmp_path / 'c.csv', model, rate=100.0)
  assert [item.time for item in found] == pytest.approx([t / 2 for t in expected])
  assert 'brought to 50' in one.notes[0]


def test_channels_are_found_by_their_names(resampled, tmp_path):
  samples = exports.movement(1.0)
  names = [name for name, _ in CHANNELS]
  shuffled = [3, 0, 5, 1, 4, 2]
  head = ','.join(['time', 'note', *(names[i] for i in shuffled)])
  rows = np.column_stack([np.arange(50) / 50, np.zeros(50), samples[:, shuffled]])
  np.savetxt(tmp_path / 'a.csv', rows, delimiter=',', header=head, comments='')
  found, _ = items(tmp_path / 'a.csv', open_model(resampled))
  np.testing.assert_allclose([item.value for item in found], samples, rtol=1e-6)


def test_mat(resampled, tmp_path):
  samples = exports.movement(1.0)
  path = tmp_path / 'a.mat'
  scipy.io.savemat(path, {'d_iner': samples, 'fs': 50.0})
  found, _ = items(path, open_model(resampled))
  np.testing.assert_array_equal([item.value for item in found], samples)
  scipy.io.savemat(path, {'d_iner': samples[:, :4]})
  with pytest.raises(UserError, match=r'd_iner \[50, 4\]; the model takes one array of 6 columns'):
    items(path, open_model(resampled))
  path.write_bytes(b'not MATLAB' * 99)
  with pytest.raises(UserError, match='not a readable MAT file'):
    items(path, open_model(resampled))


def test_mat_of_matlab_7_3(resampled, tmp_path, monkeypatch):
  samples, path, model = exports.movement(1.0), tmp_path / 'a.mat', open_model(resampled)
  with h5py.File(path, 'w', userblock_size=512) as file:
    for name, array in (('fs', np.full((1, 1), 50.0)), ('d_iner', samples)):
      one = file.create_dataset(name, data=array.T, compression='gzip', chunks=True)
      one.attrs['MATLAB_class'] = np.bytes_('double')
    file.create_group('about').attrs['MATLAB_class'] = np.bytes_('struct')
  found, _ = items(path, model)
  np.testing.assert_array_equal([item.value for item in found], samples)
  with monkeypatch.context() as patch:
    patch.delitem(sys.modules, 'data_builders.mat_hdf5')
    patch.delattr('data_builders.mat_hdf5')
    patch.setitem(sys.modules, 'h5py', None)
    with pytest.raises(UserError, match=r'a\.mat: is of MATLAB 7\.3, .* pip install h5py$'):
      items(path, model)
  path.write_bytes(raw_trees.matrix_73('d_iner', samples[:, :4]))
  with pytest.raises(UserError, match=r'd_iner \[50, 4\]; the model takes one array of 6 columns'):
    items(path, model)
  content = raw_trees.matrix_73('d_iner', samples)
  path.write_bytes(content[: len(content) // 2])
  with pytest.raises(UserError, match='not a readable MAT file'):
    items(path, model)
  with h5py.File(path, 'w', userblock_size=512) as file:  # It claims what it does not hold.
    one = file.create_dataset('d_iner', (6, 10**9), 'f8', chunks=(6, 1000))
    one.attrs['MATLAB_class'] = np.bytes_('double')
  with pytest.raises(UserError, match=r'not a readable MAT file .*claims the shape'):
    items(path, model)


def test_a_video_begins_at_zero(film, tmp_path):
  pictures = np.zeros((5, 24, 32, 3), np.uint8)
  found, one = items(exports.film(tmp_path / 'a.mkv', pictures), open_model(film))
  assert one.rate == 15.0
  assert [item.time for item in found] == pytest.approx([i / 15 for i in range(5)], abs=1e-3)


def test_sensors_in_files_of_their_own_have_one_clock(both, tmp_path):
  samples, paths = exports.movement(1.0), []
  for s, delay in enumerate((0.0, 0.1)):
    rows = np.column_stack([7 + delay + np.arange(50) / 50, samples[:, 3 * s : 3 * s + 3]])
    paths.append(str(tmp_path / f'{s}.csv'))
    np.savetxt(paths[-1], rows, delimiter=',', header='time,x,y,z', comments='')
  (one,) = recordings.open_files(paths, open_model(both))
  found = list(one.items())
  assert [item.time for item in found] == sorted(item.time for item in found)
  first = {item.sensor: item.time for item in reversed(found)}
  assert first == {0: 0.0, 1: pytest.approx(0.1)}
  with pytest.raises(UserError, match='3 files of IMU samples, and the model takes 2 sensors'):
    recordings.open_files([*paths, paths[0]], open_model(both))


def test_what_is_wrong_is_one_line(resampled, film, tmp_path):
  model, samples = open_model(resampled), exports.movement(3.0)

  def refused(path, message, model=model, **options):
    with pytest.raises(UserError, match=message) as error:
      recordings.open_files([str(path)], model, **options)
    assert '\n' not in str(error.value)

  refused(tmp_path / 'none.csv', r'--input=.*none\.csv: no such file')
  four = exports.table(tmp_path / 'four.csv', samples[:, :4])
  refused(four, r'four\.csv: has 4 channels, and the model takes 6 \(accelerometer x, ')
  slow = exports.table(tmp_path / 'slow.csv', samples[::4], rate=12.5)
  refused(slow, r'slow\.csv: has 12\.5 samples or frames a second, and the model takes 50')
  stamps = exports.table(tmp_path / 'ms.csv', samples, rate=0.05)
  refused(stamps, r'has 0\.05 samples .* --time_unit')
  assert recordings.open_files([str(stamps)], model, time_unit='ms')[0].notes == ()
  metres = exports.table(tmp_path / 'm.csv', samples * [9.81, 9.81, 9.81, 1, 1, 1])
  refused(metres, r'magnitude of \d+\.\d+, which is gravity in m/s\^2, and the model takes g')
  head = 'time,ax (m/s^2),ay (m/s^2),az (m/s^2),gx,gy,gz'
  rows = np.column_stack([np.arange(150) / 50, samples])
  np.savetxt(tmp_path / 'u.csv', rows, delimiter=',', header=head, comments='')
  refused(tmp_path / 'u.csv', r'gives accelerometer x in m/s\^2, and the model takes g')
  (tmp_path / 'empty.csv').write_text('')
  refused(tmp_path / 'empty.csv', r'empty\.csv: has no samples')
  (tmp_path / 'a.mp4').write_text('no film')
  refused(tmp_path / 'a.mp4', r'the model takes imu')
  refused(tmp_path / 'a.mp4', r'a\.mp4: not a readable video', open_model(film))
  refused(four, 'the model takes video', open_model(film))
  slow = exports.film(tmp_path / 'slow.mkv', np.zeros((5, 24, 32, 3), np.uint8), rate=5)
  refused(
    slow, r'slow\.mkv: has 5 samples or frames a second, and the model takes 15', open_model(film)
  )


def test_units_are_told_by_gravity_alone():
  still = np.zeros((99, 6))
  still[:, 1] = 1.0
  assert checks.check_gravity(still, CHANNELS, 'it') == ''
  metres = tuple((name, 'm/s^2' if unit == 'g' else unit) for name, unit in CHANNELS)
  with pytest.raises(
    UserError, match=r'magnitude of 1, which is gravity in g, and the model takes m/s'
  ):
    checks.check_gravity(still, metres, 'it')
  # A millesimal unit, or gravity taken off, is told and not refused.
  for factor in (1000.0, 0.01):
    assert 'neither in g nor in m/s^2' in checks.check_gravity(still * factor, CHANNELS, 'it')
  assert checks.check_gravity(still[:3] * 1000, CHANNELS, 'it') == ''
  assert checks.check_gravity(still * 1000, [('a', '')] * 6, 'it') == ''


def test_a_rate_that_is_not_far_off_is_brought_to_the_models():
  assert checks.check_rate(49.0, 50.0, 'it') == ''
  assert checks.check_rate(100.0, 50.0, 'it') == (
    'it: 100 samples or frames a second, brought to 50'
  )
  for rate in (24.0, 251.0):
    with pytest.raises(UserError):
      checks.check_rate(rate, 50.0, 'it')


def test_a_model_of_two_sensors_is_known_by_its_description(both):
  signal = Signal.of(open_model(both))
  assert signal.rates == (50.0, 50.0)
  assert [name for name, _ in signal.sensor(1).channels] == [f'gyroscope {a}' for a in 'xyz']


def test_files_that_are_not_as_described_are_refused(resampled, causal, tmp_path):
  folder = tmp_path / 'export' / 'imu'
  folder.mkdir(parents=True)

  def refused(message, path=folder, **options):
    with pytest.raises(UserError, match=message):
      open_model(path, **options)

  refused(r'holds no float32\.tflite; it has no \.tflite file')
  refused('no such file or folder', tmp_path / 'nothing')
  source = resampled / 'imu'
  content = (source / 'float32.tflite').read_bytes()
  about = json.loads((source / 'float32.tflite.json').read_text())
  file, description = folder / 'float32.tflite', folder / 'float32.tflite.json'
  file.write_bytes(content)
  refused(r'float32\.tflite\.json: No such file or directory; it belongs beside')
  description.write_text('{')
  refused('not a description of an exported file')
  description.write_text('[]')
  refused('not a description of an exported file')
  description.write_text(json.dumps(about))
  assert open_model(folder).labels == tuple(about['labels'])
  assert open_model(folder.parent, given={'imu'}).labels == tuple(about['labels'])
  refused('holds no int8.tflite; it has float32.tflite', variant='int8')
  file.write_bytes(content[:-1])
  refused('is not the file that float32.tflite.json describes')
  about['inputs']['imu']['kind'] = 'skeleton'
  file.write_bytes(content)
  description.write_text(json.dumps(about))
  refused('its input imu is of kind skeleton; what is read here is signal, frames')
  about['inputs']['imu']['kind'] = 'signal'
  about['inputs']['ankle'] = about['inputs']['imu'] | {'field': 'imu_ankle'}
  description.write_text(json.dumps(about))
  refused('its inputs of kind signal read imu and imu_ankle; one of each kind is read here')


def test_the_stage_is_the_one_that_reads_what_there_is(resampled, film, both, tmp_path):
  import shutil

  for source in (resampled, film, both):
    (stage,) = source.iterdir()
    shutil.copytree(stage, tmp_path / stage.name)
  for given, stage in (({'imu'}, 'imu'), ({'video'}, 'rgb'), ({'imu', 'video'}, 'imu_rgb')):
    assert open_model(tmp_path, given=given).about['stage'] == stage
  assert open_model(tmp_path, stage='imu_rgb', given={'imu'}).about['stage'] == 'imu_rgb'
  with pytest.raises(UserError, match='has no stage depth, but imu, imu_rgb, rgb'):
    open_model(tmp_path, stage='depth')
  shutil.copytree(tmp_path / 'imu', tmp_path / 'wrist')
  with pytest.raises(UserError, match='several stages read that; choose one of imu, wrist'):
    open_model(tmp_path, given={'imu'})
