"""The base of builders of one owner's video files, which need no list of their user's."""

from data_builders import folders
from data_builders.catalogue import Entry
from data_builders.clips import clips_dataset_builder
from har.errors import UserError


class Builder(clips_dataset_builder.Builder, skip_registration=True):  # type: ignore[call-arg]
  """TFDS builder of videos that `_records` finds; see `clips` for what is stored.

  A subclass sets `TITLE`, the dataset's name among prepared ones if no option `title` is given.
  """

  def _find(self, folder: folders.Folder) -> tuple[list[Entry], list[str]]:
    for option in ('labels', 'pattern'):
      if self._options[option]:
        raise UserError(
          f"{option}={self._options[option]!r}: {self.TITLE} has its owners' lists; leave the "
          'option out, or take the dataset clips'
        )
    return self._records(folder)

  def _records(self, folder: folders.Folder) -> tuple[list[Entry], list[str]]:
    """The records to be made, and what is wrong with others; UserError if none can be."""
    raise NotImplementedError


def find_one(folder: folders.Folder, name: str, what: str) -> str:
  """The path of the only file of this name, whatever its case; UserError unless there is one."""
  paths = [path for path in folder.paths if path.rpartition('/')[2].lower() == name.lower()]
  if len(paths) != 1:
    found = f'{len(paths)} files {name}, {paths[0]} and {paths[1]}' if paths else f'no {name}'
    raise UserError(f'{folder.root}: has {found}; it is {what}, and needed once')
  return paths[0]
