#!/usr/bin/env bash
# SciPy: a variable of doubles in a .mat file may load as unsigned integers, and differences wrap.
#
# Expected: scipy.io.loadmat gives a float64 array for a MATLAB variable of class double.
#
# What happens: MATLAB stores doubles that are whole numbers in the smallest integer type that holds
# them, and loadmat by default returns the type of the storage, not of the class. A recording of
# sensor counts 812, 805, 811 is uint16, and np.diff of it 65529, 6; the same variable of the next
# trial, with one fraction in it, is float64. Files that savemat writes always store doubles as
# doubles, so that tests with it never show this.
#
# Seen with scipy 1.17.1, numpy 2.4.6: for storage as uint8 and uint16 the differences wrap; with
# mat_dtype=True both files give float64 and -7, 6.
#
# Instead: loadmat(file, mat_dtype=True), or convert each array with np.asarray(x, np.float32) at
# once.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3}" -m venv venv
venv/bin/pip install --quiet --no-compile --disable-pip-version-check \
  scipy==1.17.1 numpy==2.4.6

cat > check.py <<'PYTHON'
import io
import struct

import numpy as np
import scipy
import scipy.io

print('scipy', scipy.__version__, 'numpy', np.__version__)
STORAGE = {'uint8': 2, 'uint16': 4, 'float64': 9}  # type numbers of the level 5 format
DOUBLE = 6  # the class of the variable


def element(kind, content):
  return struct.pack('<II', kind, len(content)) + content + b'\0' * (-len(content) % 8)


def mat_file(name, x, storage):
  """A level 5 file with one variable of class double, its numbers stored as `storage`."""
  variable = (
    element(6, struct.pack('<II', DOUBLE, 0))
    + element(5, struct.pack('<ii', *x.shape))
    + element(1, name.encode())
    + element(STORAGE[storage], x.astype(storage).tobytes(order='F'))
  )
  header = b'MATLAB 5.0 MAT-file'.ljust(116) + bytes(8) + struct.pack('<H', 0x0100) + b'IM'
  return io.BytesIO(header + element(14, variable))


def load(x, storage, **options):
  return scipy.io.loadmat(mat_file('counts', x, storage), **options)['counts']


counts = np.array([[812.0], [805], [811]])
for x, storage in ((counts, 'uint16'), (counts - 700, 'uint8'), (counts + 0.5, 'float64')):
  loaded, as_class = load(x, storage), load(x, storage, mat_dtype=True)
  print(f'doubles stored as {storage}: loads as {loaded.dtype}, differences '
        f'{np.diff(loaded, axis=0).ravel().tolist()}; with mat_dtype=True as {as_class.dtype}, '
        f'{np.diff(as_class, axis=0).ravel().tolist()}')
  assert loaded.dtype == storage and (loaded == x).all()
  assert as_class.dtype == np.float64 and np.diff(as_class, axis=0).ravel().tolist() == [-7, 6]

assert np.diff(load(counts, 'uint16'), axis=0).ravel().tolist() == [65529, 6]
assert np.diff(load(counts - 700, 'uint8'), axis=0).ravel().tolist() == [249, 6]
file = io.BytesIO()
scipy.io.savemat(file, {'counts': counts})
written = scipy.io.loadmat(io.BytesIO(file.getvalue()))['counts']
print('written by savemat: loads as', written.dtype)
assert written.dtype == np.float64
PYTHON
venv/bin/python check.py
