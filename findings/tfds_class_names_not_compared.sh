#!/usr/bin/env bash
# TFDS: a prepared dataset opens with a builder's changed class names, without a word.
#
# Expected: opening prepared records with a builder whose ClassLabel has other names, or the same in
# another order, raises: ClassLabel compares the stored names with its own and has an error for it.
#
# What happens: FeaturesDict restores its features in a thread pool and never asks for the results,
# so the error is raised there and lost. Records keep their numbers, and each number now means
# another class: what was written as 'wave' reads as 'clap'.
#
# Seen with tensorflow-datasets 4.9.10, without TensorFlow: written as wave, reads as clap; the same
# comparison of the feature alone raises ValueError.
#
# Instead: store the names in the metadata as well and compare them when a dataset is opened, or
# give the builder a new version whenever its classes change.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3}" -m venv venv
venv/bin/pip install --quiet --no-compile --disable-pip-version-check \
  tensorflow-datasets==4.9.10 importlib_resources==6.5.2 array-record==0.8.3 numpy==2.4.6

cat > check.py <<'PYTHON'
import tempfile
from importlib.metadata import version

import tensorflow_datasets as tfds

print('tensorflow-datasets', version('tensorflow-datasets'))


class Toy(tfds.core.GeneratorBasedBuilder, skip_registration=True):
  VERSION = tfds.core.Version('1.0.0')
  names = ('wave', 'clap')

  def _info(self):
    label = tfds.features.ClassLabel(names=list(self.names))
    return tfds.core.DatasetInfo(
      builder=self, features=tfds.features.FeaturesDict({'label': label})
    )

  def _split_generators(self, dl_manager):
    return {'train': self._generate_examples()}

  def _generate_examples(self):
    yield 0, {'label': 'wave'}


folder = tempfile.mkdtemp()
Toy(data_dir=folder).download_and_prepare(file_format='array_record')
Toy.names = ('clap', 'wave')
opened = Toy(data_dir=folder)
(record,) = opened.as_data_source('train')
read = opened.info.features['label'].names[record['label']]
print('written as wave, reads as', read)

label = tfds.features.ClassLabel(names=['clap', 'wave'])
try:
  label.load_metadata(opened.data_dir, 'label')
  alone = 'nothing'
except ValueError as error:
  alone = f'ValueError: {error}'
print('the feature alone raises', alone[:100])

assert read == 'clap'
assert alone.startswith('ValueError')
PYTHON
venv/bin/python check.py
