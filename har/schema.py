"""All options of an experiment: what a config may hold, checked before anything starts.

`check` is for `launch.py`; `python -m har.schema` prints the options as tables.
"""

import contextlib
import copy
import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from ml_collections import ConfigDict, FieldReference

from har import options, ranges
from har.compress import options as compress
from har.data import inputs as inputs_lib
from har.data.options import DATASET, WINDOWS
from har.data.protocols import PROTOCOLS, SplitOptions
from har.errors import UserError
from har.evaluate.options import ALARM
from har.models import registry as models
from har.objectives import registry as objectives
from har.options import ABSENT, MISSING, Option, Schema, section, shown
from har.pretrained import registry as published
from har.train import options as train

_SECTIONS = ('dataset', 'inputs', 'encoders', 'stages', 'compress', 'runtime', 'alarm')
_TOP = {**train.EXPERIMENT, **{name: Option(MISSING, ranges.Section()) for name in _SECTIONS}}


class Section(NamedTuple):
  """A part of a config and its options.

  Attributes:
    where: its path, such as config.stages.imu.optimizer.
    schema: the options that it may have.
    values: those that it has.
    complete: whether it has to have them all.
  """

  where: str
  schema: Schema
  values: Mapping[str, Any]
  complete: bool = False


def check(config: Any, *, new: bool = True) -> None:
  """Checks all of a config that can be checked without data.

  Args:
    config: of an experiment.
    new: whether options without effect are refused too; runs that had them can go on.

  Raises:
    UserError: an option that is unknown or missing, a value of the wrong type or out of range, or
      one that does not go with another.
  """
  for one in sections(config):
    options.check(one.schema, one.values, one.where, complete=one.complete)
  for name, given in config['inputs'].items():
    inputs_lib.build(name, given)
  compress.Pruning(**compress.own(compress.PRUNED, config['compress']['pruned'], 'pruned'))
  _check_used(config)
  earlier: list[str] = []
  for name in config['order']:
    _check_stage(config, name, earlier)
    earlier.append(name)
  splits = SplitOptions.of(config['dataset'])
  splits.check()
  if new:
    splits.check_effect()
    for name in config['order']:
      train.check_effect(config['stages'][name], f'config.stages.{name}')
    if splits.protocol in PROTOCOLS and splits.protocol != 'official':
      train.check_validation(config, splits.validates)


def find(config: Any, key: str) -> Option | None:
  """The option that a key such as config.stages.imu.epochs stands for, if there is one."""
  where, _, name = key.rpartition('.')
  with contextlib.suppress(UserError):
    for one in sections(config):
      if one.where == where:
        return one.schema.get(name)
  return None


def sections(config: Any) -> Iterator[Section]:
  """All sections, from the top down: what is in a section can be relied upon once it is checked.

  Raises:
    UserError: what should be a section is none, or of an unknown kind.
  """
  yield Section('config', _TOP, config, True)
  yield Section('config.dataset', DATASET, config['dataset'], True)
  yield Section('config.dataset.windows', WINDOWS, config['dataset'].get('windows', {}))
  for name, given in config['inputs'].items():
    yield Section(f'config.inputs.{name}', inputs_lib.schema(name, given), given)
  for name, given in config['encoders'].items():
    yield _of_kind(models.ENCODERS, given, f'config.encoders.{name}', models.GIVEN)
  for name in config['stages']:
    yield from _stage(config, name)
  yield from _compress(config['compress'])
  yield Section('config.alarm', ALARM, config['alarm'], True)
  yield Section('config.runtime', train.RUNTIME, config['runtime'], True)


def untype(config: ConfigDict) -> None:
  """Lets options be set to another type than the config's value has, where there may be one.

  Raises:
    UserError: see `sections`.
  """
  for one in sections(config):
    values: Any = one.values or {}
    for name, option in one.schema.items():
      value = values.get(name, '')
      others = isinstance(value, int) and option.kind.accepts(value) and not _of_ints(option.kind)
      if others or value is None or isinstance(value, list):
        del values[name]
        values[name] = FieldReference(value, field_type=object)


def _of_ints(kind: ranges.Kind) -> bool:
  return isinstance(kind, ranges.Flag) or (isinstance(kind, ranges.Number) and kind.whole)


def defaults(config: Any) -> dict[str, Any]:
  """What every option of a config's sections is where nothing sets it, in the config's form."""
  found: dict[str, Any] = {}
  for one in sections(config):
    at = found
    for name in one.where.split('.')[1:]:
      at = at.setdefault(name, {})
    at |= copy.deepcopy(options.defaults(one.schema))
  return found


def _stage(config: Any, name: str) -> Iterator[Section]:
  where = f'config.stages.{name}'
  given = section(config['stages'][name], where)
  if name not in config['order'] and not set(train.STAGE) <= set(given):
    raise UserError(f'{where}: no such stage; there are {", ".join(config["order"])}')
  yield Section(where, train.STAGE, given, True)
  yield Section(f'{where}.optimizer', train.OPTIMIZER, given['optimizer'], True)
  yield _of_kind(models.HEADS, given['head'], f'{where}.head', models.GIVEN)
  yield _of_kind(objectives.OBJECTIVES, given['objective'], f'{where}.objective', objectives.GIVEN)
  for one, values in given['augment'].items():
    if one not in config['inputs']:
      known = ', '.join(config['inputs'])
      raise UserError(f'{where}.augment.{one}: no such input; there are {known}')
    kind = inputs_lib.KINDS[inputs_lib.build(one, config['inputs'][one]).kind]
    yield Section(f'{where}.augment.{one}', kind.augmentation, values)


def _compress(given: Any) -> Iterator[Section]:
  where = 'config.compress'
  yield Section(where, compress.COMPRESS, given, True)
  yield Section(f'{where}.int8', compress.INT8, given['int8'])
  for name, changes in given['study'].items():
    yield Section(f'{where}.study.{name}', compress.INT8, changes)
  yield Section(f'{where}.int8_qat', compress.QAT, given['int8_qat'], True)
  for name, schema in (('pruned', compress.PRUNED), ('slim', compress.SLIM)):
    yield Section(f'{where}.{name}', schema, given[name])
    changes = given[name].get('changes', {})
    yield Section(f'{where}.{name}.changes', _partly(train.STAGE), changes)
    at = f'{where}.{name}.changes.optimizer'
    yield Section(at, _partly(train.OPTIMIZER), changes.get('optimizer', {}))


def _partly(schema: Schema) -> Schema:
  """The same, of which any may be missing."""
  return {name: dataclasses.replace(one, default=ABSENT) for name, one in schema.items()}


def _of_kind(
  kinds: Mapping[str, type[Any]], given: Any, where: str, without: tuple[str, ...]
) -> Section:
  return Section(where, options.of_kind(kinds, given, where, without)[1], given)


def _check_used(config: Any) -> None:
  """Checks that the stages have what they use, and use what there is."""
  for group in ('inputs', 'encoders'):
    used = {}
    for name, stage in config['stages'].items():
      for modality in stage['modalities']:
        used[modality] = f'config.stages.{name}.modalities={shown(stage["modalities"])}'
    for modality, where in used.items():
      if modality not in config[group]:
        known = ', '.join(config[group])
        raise UserError(f'{where}: {modality!r} is none of config.{group}, which has {known}')
    for name in config[group]:
      if name not in used:
        raise UserError(
          f'config.{group}.{name}: no stage has it among its modalities; there are '
          f'{", ".join(used)}'
        )


def _check_stage(config: Any, name: str, earlier: list[str]) -> None:
  """Checks what a stage says of other stages, and of files."""
  stages, known = config['stages'], ', '.join(earlier) or 'there is none before it'
  if name not in stages:
    raise UserError(
      f'config.order={shown(config["order"])}: {name!r} is none of the stages {", ".join(stages)}'
    )
  stage, where = stages[name], f'config.stages.{name}'
  if stage['batch_size'] % stage['accumulate']:
    raise UserError(
      f'{where}.accumulate={stage["accumulate"]}: must divide batch_size={stage["batch_size"]}'
    )
  for source in stage['init_from'].split(','):
    other = train.stage_source(source)
    if other is None and source.strip() != 'random':
      published.check(source.strip(), f'{where}.init_from')
    elif other is not None and other not in earlier:
      raise UserError(
        f'{where}.init_from={shown(stage["init_from"])}: {other!r} must be an earlier stage of '
        f'config.order: {known}'
      )


def tables() -> str:
  """All options, as Markdown."""
  parts = [
    ('config', _TOP),
    ('config.dataset', DATASET),
    ('config.dataset.windows', WINDOWS),
    *(
      (f'config.inputs.NAME, kind {n}', inputs_lib.schema('NAME', {'kind': n}))
      for n in inputs_lib.KINDS
    ),
    *_kinds('config.encoders.NAME', models.ENCODERS, models.GIVEN),
    ('config.stages.NAME', train.STAGE),
    ('config.stages.NAME.optimizer', train.OPTIMIZER),
    *_kinds('config.stages.NAME.head', models.HEADS, models.GIVEN),
    *_kinds('config.stages.NAME.objective', objectives.OBJECTIVES, objectives.GIVEN),
    *(
      (f'config.stages.NAME.augment.INPUT, kind {n}', k.augmentation)
      for n, k in inputs_lib.KINDS.items()
    ),
    ('config.compress', compress.COMPRESS),
    ('config.compress.int8', compress.INT8),
    ('config.compress.int8_qat', compress.QAT),
    ('config.compress.pruned', compress.PRUNED),
    ('config.compress.slim', compress.SLIM),
    ('config.alarm', ALARM),
    ('config.runtime', train.RUNTIME),
  ]
  return '\n\n'.join(f'### {title}\n\n{options.table(schema)}' for title, schema in parts)


def _kinds(
  where: str, kinds: Mapping[str, type[Any]], without: tuple[str, ...]
) -> Iterator[tuple[str, Schema]]:
  for name, kind in kinds.items():
    yield f'{where}, kind {name}', options.of_class(kind, without)


if __name__ == '__main__':
  print(tables())
