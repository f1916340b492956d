"""Trains one stage, from wherever it was left."""

import dataclasses
import functools
import math
import time
from typing import Any

import jax
import numpy as np

from har.errors import UserError
from har.train import accumulate, checkpoints, optimizers, predict, source, step
from har.train import mesh as mesh_lib
from har.train.context import Context
from har.train.interrupt import Interrupted, StopSignal
from har.train.log import DataWait, StageLog
from har.train.plateau import Progress
from har.train.stage import Stage
from har.train.state import TrainState, inference_variables


def train_stage(
  stage: Stage, context: Context, variables: dict[str, Any], stop: StopSignal
) -> checkpoints.Meta:
  """Trains until the stage is finished and writes its result.

  Args:
    stage: what is trained.
    context: data, devices and folders.
    variables: where the stage starts, unless an interrupted run is there to continue.
    stop: asks for an early end.

  Returns:
    Facts of the finished stage: `seconds`, `data_wait` (of them, the share in which data was waited
    for, see `har.train.log.DataWait`), `steps` and, if validation chose, `best_step` and
    `validation`, its figures there.

  Raises:
    Interrupted: `stop` was requested; the state is saved.
    UserError: the loss is not finite.
  """
  c = stage.config
  mesh_lib.check_batch_size(
    c['batch_size'], context.mesh, f'config.stages.{stage.name}', c['accumulate']
  )
  with checkpoints.StageCheckpoints(context.workdir, stage.name) as saved:
    run = _Run(stage, context, saved, variables)
    state, progress = run.start()
    state, progress = run.train(state, progress, stop)
    return run.finish(state, progress)


class _Run:
  """The compiled steps and constants of one stage's run."""

  def __init__(
    self,
    stage: Stage,
    context: Context,
    saved: checkpoints.StageCheckpoints,
    variables: dict[str, Any],
  ):
    self.source = source.of_stage(stage, context)
    self.stage = stage = self.source.stage
    self.context, self.saved, self.variables = context, saved, variables
    c = stage.config
    self.steps_per_epoch = len(self.source.positions) / c['batch_size']
    self.total_steps = max(1, round(c['epochs'] * self.steps_per_epoch))
    self.optimizer = optimizers.make_optimizer(c['optimizer'], self.total_steps)
    if stage.wrap:
      self.optimizer = stage.wrap(self.optimizer, self.total_steps)
    train_step = step.make_train_step(
      stage.model,
      stage.train_preprocess,
      stage.objective,
      self.optimizer,
      trained=stage.trained,
      ema=c['ema'],
      seed=stage.seed,
    )
    self.restart = functools.partial(
      step.restart, optimizer=self.optimizer, trained=stage.trained, ema=c['ema']
    )
    state = jax.eval_shape(self.restart, variables)
    self.shardings = mesh_lib.shardings(state, context.mesh, context.runtime)
    self.train_step = accumulate.compile_step(
      train_step,
      state,
      trained=stage.trained,
      accumulate=c['accumulate'],
      mesh=context.mesh,
      runtime=context.runtime,
    )
    self.eval_step = jax.jit(step.make_eval_step(stage.model, stage.preprocess, stage.objective))
    self.teacher = self._load_teacher()

  def _load_teacher(self) -> Any:
    if self.stage.teacher is None:
      return None
    mesh, runtime, one = self.context.mesh, self.context.runtime, self.stage.teacher
    where = mesh_lib.shardings(one.variables, mesh, runtime)
    return checkpoints.load_final(self.context.workdir, one.name, one.variables, where)[0]

  def start(self) -> tuple[TrainState, Progress]:
    """The saved state if there is one, else step 0."""
    mesh, runtime = self.context.mesh, self.context.runtime
    placed = jax.device_put(self.variables, mesh_lib.shardings(self.variables, mesh, runtime))
    fresh = jax.jit(self.restart, out_shardings=self.shardings)(placed)
    restored = self.saved.restore_latest(fresh)
    if restored is None:
      return fresh, Progress()
    state, meta = restored
    return state, Progress(**meta)

  def train(
    self, state: TrainState, progress: Progress, stop: StopSignal
  ) -> tuple[TrainState, Progress]:
    """Takes the steps that are left."""
    c, mesh = self.stage.config, self.context.mesh
    first = int(state.step)
    started, before, wait = time.monotonic(), progress, DataWait()
    kept = {'params': state.params, 'batch_stats': state.batch_stats}
    training, validation = self.source.open(kept, functools.partial(self._heed, stop, first))
    batches = training.train_batches(c['batch_size'], self.stage.seed, first)
    wait.restart()
    window: list[dict[str, jax.Array]] = []
    rate_scale = self._scalar(progress.rate_scale)
    with StageLog(
      self.context.workdir,
      self.stage.name,
      start_step=first,
      total_steps=self.total_steps,
      batch_size=c['batch_size'],
      enabled=jax.process_index() == 0,
    ) as log:
      for i in range(first + 1, self.total_steps + 1):
        with wait.data(window[-1]['loss'] if window else None):
          parts = accumulate.split(next(batches), c['accumulate'])
          placed = [mesh_lib.put_batch(part, mesh) for part in parts]
        with jax.transfer_guard('disallow'):
          state, metrics = self.train_step(state, placed, rate_scale, self.teacher)
        window.append(metrics)
        log.advance()
        due = self._due(i)
        stopping = stop.requested(i)
        if due or stopping or len(window) >= self.context.runtime['log_steps']:
          self._report(log, i, window, wait, progress.rate_scale)
          window = []
        progress = dataclasses.replace(
          progress,
          seconds=before.seconds + time.monotonic() - started,
          waited=before.waited + wait.waited,
        )
        if 'validate' in due:
          progress = self._validate(log, i, state, progress, validation)
          rate_scale = self._scalar(progress.rate_scale)
        if 'save' in due or stopping:
          self.context.claim()
          self.saved.save_latest(state, progress.to_json())
        if stopping:
          raise self._interrupted(i)
        if c['early_stopping'] and progress.stale >= c['early_stopping']:
          break
        if not window:
          wait.restart()
    return state, progress

  def finish(self, state: TrainState, progress: Progress) -> checkpoints.Meta:
    """Writes the stage's result: the best variables on validation, or the last."""
    variables = inference_variables(state)
    meta: checkpoints.Meta = {
      'seconds': progress.seconds,
      'data_wait': progress.waited / max(progress.seconds, 1e-9),
      'steps': int(state.step),
    }
    if self._validating and self.stage.config['keep'] == 'best':
      variables, best_meta = self.saved.restore_best(variables)
      meta = {**meta, **best_meta}
    self.context.claim()
    self.saved.finish(int(state.step), variables, meta)
    return meta

  @property
  def _validating(self) -> bool:
    return len(self.context.splits.validation) > 0

  def _due(self, i: int) -> set[str]:
    """What the end of step i calls for."""
    due = set()
    epochs_done = [math.floor(n / self.steps_per_epoch + 1e-9) for n in (i - 1, i)]

    def crosses(every: int) -> bool:
      return epochs_done[0] // every != epochs_done[1] // every

    last = i == self.total_steps
    if self._validating and (last or crosses(self.stage.config['validate_every'])):
      due.add('validate')
    if last or crosses(1):
      due.add('log')
    if i % self.context.runtime['save_steps'] == 0:
      due.add('save')
    return due

  def _report(
    self,
    log: StageLog,
    i: int,
    window: list[dict[str, jax.Array]],
    wait: DataWait,
    rate_scale: float,
  ) -> None:
    """Fetches the figures of the last steps, checks the losses and logs the means."""
    host = jax.device_get(window)
    for back, metrics in enumerate(host):
      if not np.isfinite(metrics['loss']):
        at = i - len(host) + 1 + back
        raise UserError(
          f'stage {self.stage.name}: the loss is {metrics["loss"]} at step {at}; lower '
          f'config.stages.{self.stage.name}.optimizer.learning_rate or look at the data'
        )
    means = {k: float(np.mean([m[k] for m in host])) for k in host[0]}
    rate = optimizers.make_schedule(self.stage.config['optimizer'], self.total_steps)
    means |= {'learning_rate': float(rate(i - 1)) * rate_scale, 'data_wait': round(wait.share(), 4)}
    log.write('train', i, i / self.steps_per_epoch, **means)

  def _validate(
    self,
    log: StageLog,
    i: int,
    state: TrainState,
    progress: Progress,
    examples: source.Source,
  ) -> Progress:
    context, c, objective = self.context, self.stage.config, self.stage.objective
    variables = inference_variables(state)
    size = mesh_lib.round_up(context.runtime['eval_batch_size'], context.mesh)
    batches = examples.eval_batches(size)
    scores = predict.predict(self.eval_step, variables, batches, context.mesh)
    figures = objective.validate(scores, context.dataset.index.label[self.source.validation])
    log.write('validation', i, i / self.steps_per_epoch, **figures)
    value = objective.selection.better(figures[objective.selection.name])
    optimizer = c['optimizer']
    patience = optimizer['patience'] if optimizer['schedule'] == 'plateau' else 0
    new = progress.validated(value, patience=patience, factor=optimizer['factor'])
    if new.best != progress.best:
      context.claim()
      self.saved.save_best(i, variables, {'validation': figures, 'best_step': i})
    return new

  def _heed(self, stop: StopSignal, step: int) -> None:
    """Ends what comes before the first step if that is asked for; the state is that of `step`."""
    if stop.heard:
      raise self._interrupted(step)

  def _interrupted(self, step: int) -> Interrupted:
    name, last = self.stage.name, self.total_steps
    return Interrupted(f'stage {name} is saved at step {step} of {last}')

  def _scalar(self, value: float) -> jax.Array:
    return jax.device_put(np.float32(value), mesh_lib.replicated(self.context.mesh))
