"""Runs of launch.py in the tests' own process.

Apart from `launching`, which config files of other processes import: flags are defined once.
"""

import contextlib
import sys
import warnings
from unittest import mock

import jax
from absl import flags, logging
from absl.testing import flagsaver

import launch as launch_lib

SETTINGS = ('jax_compilation_cache_dir', 'jax_persistent_cache_min_compile_time_secs')


def run_here(capfd, *args):
  """What launch.py does with these flags, without the seconds that a process takes to start.

  It sees the eight devices of all tests.
  """
  argv = ['launch.py', *map(str, args)]
  # Overrides of the config are looked for in sys.argv.
  here = mock.patch.object(sys, 'argv', argv)
  # Else a config file without get_config has that of the one before.
  loaded = mock.patch.dict(sys.modules)
  with settings_kept(), here, loaded, flagsaver.flagsaver(), warnings.catch_warnings():
    sys.modules.pop('config_config', None)
    # How ml_collections loads a config file.
    warnings.filterwarnings('ignore', r'the load_module\(\)', DeprecationWarning)
    flags.FLAGS.unparse_flags()
    try:
      code = launch_lib.main(launch_lib._parse(argv))
    except SystemExit as e:  # How wrong flags end, before there is a main.
      code = e.code
  return code, *capfd.readouterr()


@contextlib.contextmanager
def settings_kept():
  """Undoes what launch.py sets for its process."""
  before = {name: getattr(jax.config, name) for name in SETTINGS}
  verbosity = logging.get_verbosity()
  try:
    yield
  finally:
    for name, value in before.items():
      jax.config.update(name, value)
    logging.set_verbosity(verbosity)
