#!/usr/bin/env bash
# etils: a folder with brackets in its name seems empty; Orbax writes checkpoints there that it
# cannot read.
#
# Expected: `epath.Path('lr[0.1]').glob('*')` gives what is in the folder, as pathlib does.
#
# What happens: the folder's own path is joined to the pattern without being escaped, so that
# `[0.1]` stands for one of the characters 0, . and 1. Nothing is found, and no error raised. Orbax
# looks so for the parts of a checkpoint that each process has written, finds none, merges none,
# and says that it has saved; restoring then fails with NOT_FOUND. `*` and `?` in a folder's name
# match its neighbours, too, and `**` raises NotImplementedError.
#
# Seen with etils 1.15.0 and orbax-checkpoint 0.11.36; TFDS 4.9.10 finds none of a prepared
# dataset's files for the same reason and takes it for incomplete.
#
# Instead: keep such characters out of paths, or replace the method by
# `glob.glob(pattern, root_dir=folder)`.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3}" -m venv venv
venv/bin/pip install --quiet --no-compile --disable-pip-version-check \
  'etils[epath]==1.15.0' orbax-checkpoint==0.11.36 jax==0.10.2

cat > check.py <<'PYTHON'
import pathlib
from importlib.metadata import version

import jax.numpy as jnp
import orbax.checkpoint as ocp
from etils import epath

print('etils', version('etils'), 'orbax-checkpoint', version('orbax-checkpoint'))
seen = {}
for name in ('plain', 'lr[0.1]'):
  folder = pathlib.Path(name).absolute()
  folder.mkdir()
  (folder / 'file').touch()
  seen[name] = len(list(folder.glob('f*'))), len(list(epath.Path(folder).glob('f*')))
  with ocp.CheckpointManager(folder / 'checkpoints') as manager:
    manager.save(1, args=ocp.args.StandardSave({'x': jnp.ones(3)}))
  with ocp.CheckpointManager(folder / 'checkpoints') as manager:
    try:
      manager.restore(1, args=ocp.args.StandardRestore({'x': jnp.zeros(3)}))
      seen[name] += ('restored',)
    except ValueError as e:
      seen[name] += ('NOT_FOUND' if 'NOT_FOUND' in str(e) else str(e),)
  print(f'{name}: files found by pathlib, by etils, checkpoint: {seen[name]}')
assert seen == {'plain': (1, 1, 'restored'), 'lr[0.1]': (1, 0, 'NOT_FOUND')}, seen
PYTHON
JAX_PLATFORMS=cpu venv/bin/python check.py 2> log || { cat log; exit 1; }
