"""The demo of light video models, made small, learns to tell actions of people it has not seen."""

import json

import numpy as np

from configs import light_video
from data_builders.stickman import generate
from har.evaluate import run as evaluation
from har.models import mobilenet
from har.train import experiment


def test_the_demo_learns(tmp_path, monkeypatch):
  monkeypatch.setattr(mobilenet, 'STAGES', mobilenet.STAGES[:2])
  raw = tmp_path / 'raw'
  generate.write_raw(raw, subjects=(1, 2, 3, 4), trials=(1, 2), modalities=('rgb',))
  config = light_video.get_config('show=motion,temporal=tcn')
  config.dataset.require_complete = False
  config.runtime.update(devices=1, log_steps=1)
  config.inputs.rgb.update(frames=8, resize=36, size=32)
  config.encoders.rgb.update(width=0.5, features=32)
  config.stages.rgb.update(epochs=25.0, batch_size=8)
  config.stages.rgb.optimizer.learning_rate = 4e-3
  opened = experiment.open_experiment(
    config, tmp_path / 'run', data_dir=str(tmp_path), raw_dir=str(raw)
  )
  experiment.train(opened)
  found = evaluation.run(opened, command='test')['stages']['rgb']['float32']
  rows = map(json.loads, (tmp_path / 'run' / 'metrics' / 'rgb.jsonl').read_text().splitlines())
  losses = [row['loss'] for row in rows if row['split'] == 'train']
  assert len(losses) == 75
  assert np.mean(losses[-10:]) < 0.7 * np.mean(losses[:10])
  # Six actions: who guesses has ten or more of 24 right once in 300 times.
  assert found['examples'] == 24
  assert found['top1'] >= 10 / 24
