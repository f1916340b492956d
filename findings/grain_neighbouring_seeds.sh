#!/usr/bin/env bash
# Grain: runs with neighbouring seeds see the same epochs, one epoch apart.
#
# Expected: seeds 0 and 1 give unrelated orders in every epoch, and unrelated random numbers for
# augmentation, so that the spread over seeds 0, 1, 2 measures chance.
#
# What happens: the order of epoch e under seed s depends on s + e alone. Seed 1 runs through
# exactly the epochs of seed 0, without the first. IndexSampler, behind DataLoader, has the same
# order, and the generator of the record at position i depends on s + i alone, so that seed 1 uses
# the generators of seed 0 moved by one record.
#
# Seen with grain 0.2.18: MapDataset.shuffle(seed=s) and IndexSampler(shuffle=True, seed=s) as
# above; MapDataset.seed(s).shuffle() shares no epoch.
#
# Instead: call MapDataset.seed(s) before shuffle() without a seed, or take seeds that lie further
# apart than a run has epochs (and records), such as hashes of 0, 1, 2.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3}" -m venv venv
venv/bin/pip install --quiet --no-compile --disable-pip-version-check \
  grain==0.2.18 numpy==2.4.6

cat > check.py <<'PYTHON'
from importlib.metadata import version

import grain

RECORDS, EPOCHS = 1000, 5
print('grain', version('grain'))


def epochs(keys):
  keys = list(keys)
  return [keys[e * RECORDS : (e + 1) * RECORDS] for e in range(EPOCHS)]


def explicit(seed):
  data = grain.MapDataset.range(RECORDS).shuffle(seed=seed).repeat(EPOCHS)
  return epochs(data[i] for i in range(RECORDS * EPOCHS))


def derived(seed):
  data = grain.MapDataset.range(RECORDS).seed(seed).shuffle().repeat(EPOCHS)
  return epochs(data[i] for i in range(RECORDS * EPOCHS))


def records(seed):
  sampler = grain.samplers.IndexSampler(RECORDS, shuffle=True, seed=seed, num_epochs=EPOCHS)
  return [sampler[i] for i in range(RECORDS * EPOCHS)]


def sampled(seed):
  return epochs(r.record_key for r in records(seed))


def shared(orders):
  """Pairs (epoch of seed 0, epoch of seed 1) with the same order."""
  zero, one = orders(0), orders(1)
  return [(i, j) for i in range(EPOCHS) for j in range(EPOCHS) if zero[i] == one[j]]


moved = [(e + 1, e) for e in range(EPOCHS - 1)]
for orders in (explicit, sampled, derived):
  print(f'{orders.__name__}: epochs of seed 0 that are epochs of seed 1: {shared(orders)}')
zero, one = ([int(r.rng.integers(2**31)) for r in records(seed)] for seed in (0, 1))
print('random numbers of seed 0:', zero[:4], 'of seed 1:', one[:4])

assert shared(explicit) == shared(sampled) == moved
assert zero[1:] == one[:-1]
assert shared(derived) == []
PYTHON
venv/bin/python check.py
