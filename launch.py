"""Trains and evaluates an experiment.

python launch.py --config=configs/demo.py --workdir=runs/demo
"""

import contextlib
import errno
import os
import pathlib
import re
import sys
from typing import Any

from absl import app, flags, logging
from ml_collections import config_flags

from har.errors import UserError
from har.stream import options as predict_options
from har.train import memory

_PATHS = ('config', 'workdir', 'data_dir', 'raw_dir')
_MODES = ('train', 'evaluate', 'compress', 'export', 'benchmark', 'predict', 'robustness')
# That read a finished workdir, stage by stage.
_OF_STAGES = ('export', 'benchmark', 'predict')
# What wrong flags, config files and overrides raise while they are parsed.
_FLAG_ERRORS = (
  UserError,
  flags.Error,
  ArithmeticError,
  AssertionError,
  AttributeError,
  LookupError,
  NameError,
  SyntaxError,
  TypeError,
  ValueError,
  OSError,
  ImportError,
)
# What a disk that is full, gone or not to be written to answers, and not a mistake in the code.
_DISK_ERRORS = (
  errno.ENOSPC,
  errno.EDQUOT,
  errno.EFBIG,
  errno.EROFS,
  errno.EACCES,
  errno.EPERM,
  errno.EIO,
  errno.ESTALE,
)

_CONFIG = config_flags.DEFINE_config_file(
  'config',
  None,
  'The experiment: a file in configs/.',
  lock_config=False,
  accept_new_attributes=True,
)
_WORKDIR = flags.DEFINE_string('workdir', None, 'Where everything is written.')
_MODE = flags.DEFINE_string('mode', 'train', f'One of {", ".join(_MODES)}.')
_SPLIT = flags.DEFINE_enum(
  'split',
  'test',
  ('test', 'validation'),
  'What is evaluated on, but by --mode=export and benchmark.',
)
_STAGES = flags.DEFINE_list(
  'stages', None, 'Of --mode=export, benchmark and predict; if not given, all or the one that fits.'
)
_INPUT = flags.DEFINE_list('input', None, 'Of --mode=predict: a recording, or a pair of them.')
_OUTPUT = flags.DEFINE_string(
  'output', None, "Of --mode=predict; the workdir's predictions if none."
)
_VARIANT = flags.DEFINE_string('variant', 'float32', 'Of --mode=predict, such as int8.')
_TIME_UNIT = flags.DEFINE_enum(
  'time_unit', '', ('', 's', 'ms', 'us', 'ns'), 'Of --mode=predict: of time stamps in numbers.'
)
_NUMBERS = {
  name: flags.DEFINE_float(name, default, f'Of --mode=predict: {meaning}.')
  for name, (default, meaning) in predict_options.NUMBERS.items()
}
_DATA_DIR = flags.DEFINE_string(
  'data_dir', None, "Where prepared datasets are kept; TFDS's own place if not given."
)
_RAW_DIR = flags.DEFINE_string(
  'raw_dir', None, "The folder with the dataset's files as their owner distributes them."
)
_ALLOW_CORRUPT = flags.DEFINE_integer(
  'allow_corrupt', 0, 'Unreadable raw files that may be left out of the dataset.', lower_bound=0
)
_DISTRIBUTED = flags.DEFINE_bool(
  'distributed', False, 'Join the other processes of a TPU pod, SLURM or Open MPI job.'
)
_COORDINATOR = flags.DEFINE_string(
  'coordinator', None, 'host:port of process 0, where nothing else tells.'
)
_NUM_PROCESSES = flags.DEFINE_integer('num_processes', None, 'With --coordinator.')
_PROCESS_ID = flags.DEFINE_integer('process_id', None, 'With --coordinator.')
_DEBUG = flags.DEFINE_bool('debug', False, 'Show tracebacks of user errors.')


def main(argv: list[str]) -> int:
  """Runs one mode; returns the exit status."""
  from har.train.interrupt import Interrupted  # Here, so that wrong flags are answered at once.

  try:
    if len(argv) > 1:
      raise UserError(f'{argv[1]!r} is not understood: every argument is a --flag=value')
    _run()
  except Interrupted as e:
    print(f'stopped: {e}; the same command continues', file=sys.stderr)
  except UserError as e:
    if _DEBUG.value:
      raise
    return _fail(e)
  except OSError as e:
    if _DEBUG.value or e.errno not in _DISK_ERRORS:
      raise
    place = e.filename or f'--workdir={_WORKDIR.value}'
    return _fail(UserError(f'{place}: {e.strerror}; mend that, and the same command continues'))
  return 0


def _run() -> None:
  config, workdir = _CONFIG.value, _WORKDIR.value
  if config is None:
    raise UserError('--config is missing')
  if workdir is None:
    raise UserError('--workdir is missing')
  for name in _PATHS[1:]:
    value = flags.FLAGS[name].value
    if value is not None and (not value or value.startswith('~')):
      raise UserError(f'--{name}={value} is no folder; a name that begins with ~ is ./~...')
  if _STAGES.value and _MODE.value not in _OF_STAGES:
    raise UserError(f'--stages goes with --mode={", ".join(_OF_STAGES)}, not {_MODE.value}')
  if (_INPUT.value is None) == (_MODE.value == 'predict'):
    raise UserError('--mode=predict and --input=FILE[,FILE] go together')
  if _SPLIT.value != 'test' and _MODE.value in ('export', 'benchmark'):
    raise UserError(f'--split={_SPLIT.value}: --mode={_MODE.value} checks files on the test split')
  if _MODE.value not in _MODES:
    raise UserError(f'--mode={_MODE.value} is none of {", ".join(_MODES)}')
  if _MODE.value != 'train' and not pathlib.Path(workdir, 'config.json').exists():
    raise UserError(f'--workdir={workdir} holds no run: train first (--mode=train)')

  if '\\' in os.path.abspath(workdir):
    raise UserError(f'--workdir={workdir}: TensorStore takes backslashes for slashes; use another')
  from har import schema

  schema.check(config, new=not pathlib.Path(workdir, 'config.json').exists())
  # Imports log too, and Orbax logs the traceback of whatever it raises.
  logging.set_verbosity(logging.WARNING if _DEBUG.value else logging.FATAL)
  from har.train import experiment, mesh

  mesh.initialise(
    distributed=_DISTRIBUTED.value,
    coordinator=_COORDINATOR.value,
    num_processes=_NUM_PROCESSES.value,
    process_id=_PROCESS_ID.value,
  )
  with experiment.exclusive(pathlib.Path(workdir)):
    _dispatch(config, pathlib.Path(workdir))


def _open(config: Any, workdir: pathlib.Path) -> Any:
  """The experiment, its data prepared."""
  from har import schema
  from har.train import experiment

  return experiment.open_experiment(
    config,
    workdir,
    data_dir=_DATA_DIR.value,
    raw_dir=_RAW_DIR.value,
    allow_corrupt=_ALLOW_CORRUPT.value,
    split=_SPLIT.value,
    defaults=schema.defaults(config),
  )


def _predict(config: Any, workdir: pathlib.Path) -> None:
  """Says what is in a recording."""
  from har.export import predict

  predict.run(
    config,
    workdir,
    _INPUT.value or (),
    predict_options.of_flags({n: flag.value for n, flag in _NUMBERS.items()}, _TIME_UNIT.value),
    lambda: _open(config, workdir),
    output=_OUTPUT.value,
    variant=_VARIANT.value,
    stages=_STAGES.value,
  )


def _dispatch(config: Any, workdir: pathlib.Path) -> None:
  """Does what the mode asks for in a workdir that is ours."""
  from har.compress import run as compression
  from har.export import supported
  from har.train import experiment

  if _MODE.value == 'predict':
    _predict(config, workdir)
    return
  opened = _open(config, workdir)
  command = ' '.join(['python', *sys.argv])
  if _MODE.value == 'export':
    from har.export import run as export

    export.run(opened, _STAGES.value)
  elif _MODE.value == 'benchmark':
    from har.export import benchmark

    benchmark.run(opened, _STAGES.value, command=command)
  elif _MODE.value == 'robustness':
    from har.evaluate import robustness

    robustness.run(opened, command=command)
  elif _MODE.value == 'compress':
    compression.compress(opened, command=command)
  else:
    if _MODE.value == 'train':
      supported.announce(opened)
      experiment.train(opened)
    compression.evaluate(opened, command=command)


def _parse(argv: list[str]) -> list[str]:
  """Parses flags; whatever is wrong with one ends in a line on stderr and exit status 2."""
  argv = [re.sub(f'(--?(?:{"|".join(_PATHS)})=)(~.*)', _at_home, arg) for arg in argv]
  try:
    args = _parse_flags(argv)
    # A config file that cannot be loaded is noticed when the config is first looked at.
    if _CONFIG.value is not None and 'stages' not in _CONFIG.value:
      path = config_flags.get_config_filename(flags.FLAGS['config'])
      raise UserError(f'--config={path} is not an experiment')
    return args
  except _FLAG_ERRORS as e:
    if '--debug' in argv:
      raise
    sys.exit(_fail(UserError(_explain(e, argv))))


def _parse_flags(argv: list[str]) -> list[str]:
  """Parses flags; an override may have any type that the schema allows.

  ml_collections alone wants that of the config's value: no tuple in place of one number.
  """
  try:
    return flags.FLAGS(argv)
  except flags.Error as e:
    if not any(arg.startswith('--config.') for arg in argv) or 'config.' not in str(e):
      raise
  for name in [name for name in flags.FLAGS if name.startswith('config.')]:
    delattr(flags.FLAGS, name)  # They are defined anew.
  flag = flags.FLAGS['config']
  strict = flag.parser
  flag.parser = _Untyped(strict)
  try:
    return flags.FLAGS(argv)
  finally:
    flag.parser = strict


class _Untyped(flags.ArgumentParser):
  """Loads a config whose options take any literal; the schema is what checks them."""

  def __init__(self, parser: flags.ArgumentParser):
    self._parser = parser

  def parse(self, path: str) -> Any:
    from har import schema

    config = self._parser.parse(path)
    with contextlib.suppress(UserError):  # A wrong config, which is told of later.
      schema.untype(config)
    return config


def _at_home(flag: re.Match) -> str:
  """`--flag=~/x` with the home folder, which shells leave as it is."""
  return flag[1] + os.path.expanduser(flag[2])


def _explain(e: Exception, argv: list[str]) -> str:
  """A message that names the flag at fault."""
  overrides = [a for a in argv if a.startswith('--config.')]
  if typed := re.match(r'flag --(config\.([\w.]+)=.*?): ', str(e), re.DOTALL):
    from har import schema

    path = config_flags.get_config_filename(flags.FLAGS['config'])
    option = schema.find(flags.FLAGS['config'].parser.parse(path), f'config.{typed[2]}')
    if option is not None:
      return f'{typed[1]}: must be {option.kind.text}'
  word = re.search(r'\w+', str(e))
  if isinstance(e, KeyError | AttributeError) and overrides and word:
    key = word[0]
    hint = re.search(r'Did you mean "\w+"', str(e))
    arg = next((a for a in overrides if key in a), '--config')
    return f'{arg}: the config has no {key!r}.' + (f' {hint[0]}?' if hint else '')
  arg = next((a for a in argv if a.startswith('--config')), '--config')
  if isinstance(e, AttributeError) and 'get_config' in str(e):
    return f'{arg} is not an experiment: it has no get_config'
  if isinstance(e, OSError):
    return f'{arg} cannot be loaded: {(e.__cause__ or e)}'
  if 'Error whilst parsing config file' in str(e):  # And the whole traceback.
    return f'{arg} cannot be loaded: {str(e).strip().splitlines()[-1]}'
  if isinstance(e, UserError | flags.Error):
    return str(e)
  return f'{arg} cannot be loaded: {type(e).__name__}: {e}'


def _fail(e: UserError) -> int:
  print('error:', ' '.join(str(e).split()), file=sys.stderr)
  return 2


if __name__ == '__main__':
  memory.restart_keeping_memory()
  app.run(main, flags_parser=_parse)
