"""The one exception that stands for a mistake of the user's."""


class UserError(Exception):
  """Bad input that the user can mend: a file, a flag or a config value.

  The message is one line that names the culprit and says what to do. The command line prints it
  without a traceback and exits with status 2.
  """
