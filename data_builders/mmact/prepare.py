"""Prepares MMAct, before a training run would: on the cores of this machine, or by Apache Beam.

    python -m data_builders.mmact.prepare --raw_dir=MMACT --data_dir=DATA [--allow_corrupt=3]
    python -m data_builders.mmact.prepare ... --beam_runner=FlinkRunner --beam_options=...

A run that was stopped goes on where it was; the records come out the same. Beam needs the package
apache-beam, and --raw_dir and --data_dir on a file system that all its workers share.
"""

import importlib
import pathlib
import sys
from typing import Any

from absl import app, flags

from har.errors import UserError


def beam_config(runner: str, options: list[str]) -> Any:
  """A TFDS download config that has Apache Beam write the shards.

  Args:
    runner: name of a Beam runner.
    options: its options, each like `parallelism=8`.

  Raises:
    UserError: Beam is not installed, or has no such runner.
  """
  try:
    pipeline_options = importlib.import_module('apache_beam.options.pipeline_options')
    runners = importlib.import_module('apache_beam.runners')
  except ImportError as error:
    raise UserError(
      '--beam_runner: needs apache-beam (pip install -r requirements-beam.txt)'
    ) from error
  try:
    chosen = runners.create_runner(runner)
  except (ValueError, ImportError, AttributeError) as error:
    raise UserError(f'--beam_runner={runner}: Apache Beam has no such runner') from error
  import tensorflow_datasets as tfds

  return tfds.download.DownloadConfig(
    try_download_gcs=False,
    beam_runner=chosen,
    beam_options=pipeline_options.PipelineOptions([f'--{option}' for option in options]),
  )


def main(argv: list[str]) -> None:
  """Entry point of the command line."""
  # Here, since every worker process imports this module again, and does not need them.
  from data_builders.mmact import mmact_dataset_builder, report

  if len(argv) > 1:
    raise app.UsageError(f'unexpected argument {argv[1]!r}')
  values = flags.FLAGS
  try:
    builder = mmact_dataset_builder.Builder(
      modalities=values.modalities.split('+'),
      raw_dir=values.raw_dir,
      data_dir=values.data_dir,
      short_side=values.short_side,
      workers=values.workers,
      allow_corrupt=values.allow_corrupt,
    )
    kwargs: dict[str, Any] = {}
    if values.beam_runner:
      config = beam_config(values.beam_runner, values.beam_options)
      kwargs['download_config'] = config
    builder.download_and_prepare(**kwargs)
  except UserError as error:
    print(f'error: {error}', file=sys.stderr)
    sys.exit(2)
  except KeyboardInterrupt:
    print('stopped; the same command continues', file=sys.stderr)
    sys.exit(130)
  counts = {name: split.num_examples for name, split in builder.info.splits.items()}
  print(f'{builder.data_dir}: {counts}; see {pathlib.Path(builder.data_dir) / report.FILE}')


if __name__ == '__main__':
  # Defined here only, to keep them out of programs that import this module.
  flags.DEFINE_string('raw_dir', None, "Folder with the owner's files.", required=True)
  flags.DEFINE_string('data_dir', None, "Folder of prepared datasets; TFDS's own if not given.")
  flags.DEFINE_string('modalities', 'imu+rgb', 'imu, rgb or imu+rgb.')
  flags.DEFINE_integer('short_side', 128, 'Of the stored frames, pixels.', lower_bound=1)
  flags.DEFINE_integer('workers', -1, 'Processes; -1: one per core.', lower_bound=-1)
  flags.DEFINE_integer('allow_corrupt', 0, 'Unreadable files to leave out.', lower_bound=0)
  flags.DEFINE_string('beam_runner', '', 'Name of an Apache Beam runner.')
  flags.DEFINE_multi_string('beam_options', [], "The runner's options, like parallelism=8.")
  app.run(main)
