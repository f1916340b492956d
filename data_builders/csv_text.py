"""The lines of CSV files as programs and people really write them, parted into fields."""

import codecs
import csv
import dataclasses
import io
import re
from collections.abc import Iterator, Sequence

from data_builders import stamps
from data_builders.litter import mistaken
from har.errors import UserError

MAX_BYTES = 2**26
MAX_FIELDS = 3 * 2**22  # as Python's texts, about 700 MB
MAX_COLUMNS = 1024
# Longer fields are no numbers and no names, but a quote that was never closed.
_MAX_FIELD = 2**14
_DELIMITERS = '\t;, '
_BOMS = {
  codecs.BOM_UTF8: 'utf-8',
  codecs.BOM_UTF32_LE: 'utf-32-le',  # Before UTF-16, whose mark begins alike.
  codecs.BOM_UTF16_LE: 'utf-16-le',
  codecs.BOM_UTF16_BE: 'utf-16-be',
}
_COMMENTS = ('#', '%')
_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)
NUMBER = re.compile(r'[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?', re.ASCII)
COMMA_NUMBER = re.compile(r'[+-]?\d*,\d+([eE][+-]?\d+)?', re.ASCII)
# 1,234 is 1.234 or 1234, but 0,123 and 1,2345 leave no choice.
PERHAPS_GROUPED = re.compile(r'[+-]?[1-9]\d{0,2},\d{3}', re.ASCII)
GROUPED = re.compile(
  r'[+-]?\d{1,3}((,\d{3}){2,}(\.\d*)?|(,\d{3})+\.\d*|(\.\d{3})+,\d*|(\.\d{3}){2,}'
  r"|(['\u00a0\u202f ]\d{3})+)",
  re.ASCII,
)
"""Numbers with thousands separators, as far as they can be told from others."""
NO_NUMBER = (
  'nan',
  '-nan',
  'inf',
  '+inf',
  '-inf',
  'infinity',
  '-infinity',
  'na',
  'n/a',
  '#n/a',
  'null',
  'none',
)
"""What is written where a number is not known, in small letters."""


@dataclasses.dataclass(frozen=True)
class Lines:
  """Rows of texts.

  Attributes:
    rows: the fields of every line but comments and blank lines.
    numbers: of those lines, from 1.
    delimiter: what parted the fields.
    ended: whether the last line has a line end.
  """

  rows: list[list[str]]
  numbers: list[int]
  delimiter: str
  ended: bool

  def pop(self) -> list[str]:
    """Takes off the first row."""
    del self.numbers[0]
    return self.rows.pop(0)


def decode(data: bytes, where: str) -> str:
  """The text of a file, UTF-8 or with a byte-order mark UTF-16 or UTF-32.

  Raises:
    UserError: it is another encoding, no text, a web page or pointer in its place, or too large.
  """
  if len(data) > MAX_BYTES:
    raise UserError(f'{where}: too large ({len(data)} bytes; at most {MAX_BYTES}); split it')
  if reason := mistaken(data):
    raise UserError(f'{where}: {reason}')
  bom = next((bom for bom in _BOMS if data.startswith(bom)), b'')
  try:
    text = data[len(bom) :].decode(_BOMS.get(bom, 'utf-8'))
  except UnicodeDecodeError as error:
    line = data.count(b'\n', 0, error.start + len(bom)) + 1
    raise UserError(
      f'{where}, line {line}: not {_BOMS.get(bom, "utf-8").upper()} text; save the file as UTF-8'
    ) from error
  if '\0' in text:
    raise UserError(f'{where}: not a text file; save it as CSV in UTF-8')
  return text


def _split(text: str, delimiter: str, where: str) -> Iterator[tuple[int, list[str]]]:
  """The fields of every line but blank lines and comments, with its number."""
  # Not StringIO, which takes four bytes a character.
  stream = io.TextIOWrapper(io.BytesIO(text.encode()), 'utf-8', newline=None)
  if delimiter == ' ':
    for number, line in enumerate(stream, 1):
      if line.strip() and not line.lstrip().startswith(_COMMENTS):
        yield number, line.split()
    return
  # Comments are blanked, not removed, so that line numbers stay.
  lines = ('\n' if line.lstrip().startswith(_COMMENTS) else line for line in stream)
  csv.field_size_limit(_MAX_FIELD)
  reader = csv.reader(lines, delimiter=delimiter, strict=True, skipinitialspace=True)
  try:
    for row in reader:
      fields = [field.strip() for field in row]
      if any(fields):
        yield reader.line_num, fields
  except csv.Error as error:
    raise UserError(
      f'{where}, line {reader.line_num}: not CSV ({error}); is a quote left open?'
    ) from error


def _delimiter(text: str, where: str) -> tuple[str, str]:
  """What parts the fields, by the first line, and the text without a line `sep=;` that names it.

  A tab outside quotes parts fields if there is one, or else a semicolon, for no number has any;
  then a comma, unless all commas are decimal ones between spaces, `1,5 2,3`; then spaces.
  """
  first, _, rest = text.partition('\n')
  if named := _SEPARATOR_LINE.fullmatch(first.rstrip('\r')):
    if named[1] not in _DELIMITERS:
      raise UserError(f'{where}, line 1: fields parted by {named[1]!r}; use commas or semicolons')
    return named[1], '\n' + rest
  lines = (line.strip(' \r\n') for line in io.StringIO(text, newline=None))
  first = next((line for line in lines if line and not line.startswith(_COMMENTS)), '')
  bare = re.sub(r'"[^"]*"', '""', first)
  spaced = bare.split()
  between_spaces = len(spaced) > 1 and all(map(is_decimal, spaced))
  for delimiter in '\t;' if between_spaces else '\t;,':
    if delimiter in bare:
      return delimiter, text
  return (' ' if len(spaced) > 1 and '"' not in bare else ','), text


def is_decimal(field: str) -> bool:
  """Whether it is a number with a decimal point or comma, or without either."""
  return bool(NUMBER.fullmatch(field) or COMMA_NUMBER.fullmatch(field))


def number(field: str) -> float:
  """A number by itself, with a decimal point or comma.

  Raises:
    ValueError: it is none, or its comma may part thousands.
  """
  if NUMBER.fullmatch(field):
    return float(field)
  if PERHAPS_GROUPED.fullmatch(field):
    point, none = field.replace(',', '.'), field.replace(',', '')
    raise ValueError(f'it may be {point} or {none}; write decimals with points')
  if not COMMA_NUMBER.fullmatch(field):
    raise ValueError('not a number')
  return float(field.replace(',', '.'))


def is_value(field: str) -> bool:
  """Whether a field is meant as a number or a time, however wrong: no header has such names."""
  return (
    is_decimal(field)
    or bool(GROUPED.fullmatch(field))
    or field.lower() in NO_NUMBER
    or stamps.is_stamp(field)
  )


def read_lines(data: bytes, where: str) -> Lines:
  """The fields of a file.

  Args:
    data: the file.
    where: how to name it.

  Raises:
    UserError: no text, no CSV, or too large.
  """
  text = decode(data, where)
  delimiter, rest = _delimiter(text, where)
  rows: list[list[str]] = []
  numbers: list[int] = []
  count = 0
  for number, fields in _split(rest, delimiter, where):
    count += len(fields)
    if count > MAX_FIELDS:
      raise UserError(f'{where}: more than {MAX_FIELDS} fields; split it')
    if len(fields) > MAX_COLUMNS:
      raise UserError(f'{where}, line {number}: {len(fields)} fields; at most {MAX_COLUMNS}')
    rows.append(fields)
    numbers.append(number)
  return Lines(rows, numbers, delimiter, text.endswith(('\n', '\r')))


def read_names(data: bytes, where: str) -> list[str]:
  """The names that a file's first line gives its columns."""
  found = read_lines(data, where)
  return found.rows[0] if found.rows else []


def read_records(
  data: bytes, where: str, required: Sequence[str]
) -> list[tuple[int, dict[str, str]]]:
  """Rows of texts below a header, such as a list of labels.

  Args:
    data: the file.
    where: how to name it.
    required: columns that it must have.

  Returns:
    The number of each row's line, and its texts by column.

  Raises:
    UserError: no or another header, a column twice, or a row of another length.
  """
  found = read_lines(data, where)
  names = found.rows[0] if found.rows else []
  for name in required:
    if name not in names:
      raise UserError(f'{where}: its first line names no column {name!r}; it has {names}')
  if twice := [name for name in names if names.count(name) > 1]:
    raise UserError(f'{where}: names the column {twice[0]!r} twice')
  records = []
  for number, row in zip(found.numbers[1:], found.rows[1:], strict=True):
    if len(row) != len(names):
      raise UserError(
        f'{where}, line {number}: {len(row)} fields for {len(names)} columns; put quotes around a '
        'field that has the separator in it'
      )
    records.append((number, dict(zip(names, row, strict=True))))
  return records
