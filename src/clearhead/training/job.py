"""From a configuration, or from a run, to a job: all that is prepared before the first step."""

import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import torch

from clearhead import registry
from clearhead.config import RunConfig
from clearhead.data.tokens import TokenDataset
from clearhead.errors import CheckpointError, ClearheadError, CompleteError, ConfigError
from clearhead.evaluation.ladder import Rung, counted_order, counted_rungs, fit_ngram, losses_by_rung
from clearhead.evaluation.mixing import MixtureFit, fit_mixture
from clearhead.files import file_name, sweep
from clearhead.initialise import initialise
from clearhead.models.base import LanguageModel
from clearhead.models.counting import MOST_TOKENS
from clearhead.models.gpt import GPTLanguageModel
from clearhead.models.mixture import MixtureLanguageModel
from clearhead.models.ngram import NgramLanguageModel
from clearhead.runs.checkpoint import (
    Checkpoint,
    best_checkpoint,
    drop_mixture,
    final_checkpoint,
    newest_checkpoint,
    prune,
    save_checkpoint,
    save_mixture,
    set_newer_aside,
)
from clearhead.runs.corpus import open_data
from clearhead.runs.directory import RunDirectory, create_run
from clearhead.runs.lock import RunLock
from clearhead.runs.records import read_json
from clearhead.runtime import Runtime, choose_runtime, environment, world
from clearhead.tokenizers.base import Tokenizer
from clearhead.training.budget import Budget
from clearhead.training.draft import Draft, draft_run, read_text
from clearhead.training.events import Event, Finished, Notice, Saved
from clearhead.training.parallel import check_ranks
from clearhead.training.progress import Progress
from clearhead.training.resuming import check_fits, extend, first_plan, is_complete, rewind, told_of_ranks
from clearhead.training.trainer import Trainer


@dataclass
class Job:
    """A run that is ready to be trained."""

    run: RunDirectory
    trainer: Trainer | None
    """None for a counted model, which was fitted whole."""
    rungs: list[Rung]
    notices: list[str] = field(default_factory=list)
    lock: RunLock | None = None
    """Held as long as the run is written to; see `release`."""

    @property
    def follows(self) -> bool:
        """Whether another process writes and tells what this one trains along with."""
        return self.trainer is not None and not self.trainer.ranks.first

    def release(self) -> None:
        """Let others write into the run, once what is being written lies on the disk."""
        try:
            if self.trainer is not None:
                self.trainer.saver.writer.wait()
        finally:
            if self.lock is not None:
                self.lock.release()

    def abandon(self) -> None:
        """As `release`, for who leaves at once: what is being written is not waited for."""
        if self.trainer is not None and self.trainer.saver.writer.busy:
            threading.Thread(target=self._release_quietly, name="release", daemon=True).start()
        else:
            self._release_quietly()

    def _release_quietly(self) -> None:
        with suppress(ClearheadError):
            self.release()

    def events(self) -> Iterator[Event]:
        """The events of training, notices first."""
        step = self.trainer.progress.step if self.trainer else 0
        yield from (Notice(step, message) for message in self.notices)
        if self.trainer is None:
            yield Saved(0, self.run.checkpoint(0).name)
            yield Finished(0, "done", 0.0)
            return
        mixes = self.trainer.config.model == "mixture"
        for event in self.trainer.events():
            if mixes and isinstance(event, Finished) and event.reason != "interrupted":
                yield from _mix(self.trainer, self.rungs, event)
            else:
                yield event


def _mix(trainer: Trainer, rungs: Sequence[Rung], finished: Finished) -> Iterator[Event]:
    """Fit and save the mixture of the best weights, then end: later than training by what that took."""
    checkpoint = final_checkpoint(trainer.run)
    gpt = checkpoint.model.to(trainer.runtime.device)
    assert isinstance(gpt, GPTLanguageModel)
    mixture, fit = mix(trainer.run, gpt, trainer.data, trainer.tokenizer, trainer.runtime, rungs)
    path = save_mixture(trainer.run, checkpoint.step, mixture, state=asdict(fit))
    yield Notice(finished.step, fit.summary)
    yield Saved(finished.step, path.name)
    yield replace(finished, seconds=finished.seconds + fit.seconds)


def mix(
    run: RunDirectory,
    gpt: GPTLanguageModel,
    data: TokenDataset,
    tokenizer: Tokenizer,
    runtime: Runtime,
    rungs: Sequence[Rung],
) -> tuple[MixtureLanguageModel, MixtureFit]:
    """The mixture of a run's GPT: its weights fitted with the checkpoint that has not learned from dev.

    The order of its n-gram is the one given for the run, else that of the counted rung, which dev chose.
    """
    judged = best_checkpoint(run).model.to(runtime.device).eval()
    assert isinstance(judged, GPTLanguageModel)
    mixture, fit = fit_mixture(judged, data, tokenizer, runtime.exact, run.read_config().order or counted_order(rungs))
    return MixtureLanguageModel(mixture.ngram, gpt, mixture.gate), fit


def new_job(
    config: RunConfig,
    corpus: Sequence[str] = (),
    *,
    out: Path = Path("runs"),
    name: str | None = None,
    init_from: RunDirectory | None = None,
    budget: Budget | None = None,
    fixed: Collection[str] = (),
) -> Job:
    """Read the text, count the rungs, build the model and make the run's folder.

    All that can be wrong with the input is found before the folder is made. With `init_from` the weights and the
    tokenizer are another run's; `config` must describe the same model (see `config_from`). With a `budget` the
    planner chooses what is not `fixed`: size, context, batch, steps.
    """
    if init_from is not None:
        init_from.verify()
    text = read_text(config, corpus, name=name, init_from=init_from)
    draft = draft_run(text, init_from=init_from, budget=budget, fixed=fixed)
    return begin_job(draft, out=out, name=name, init_from=init_from)


def begin_job(draft: Draft, *, out: Path, name: str | None = None, init_from: RunDirectory | None = None) -> Job:
    """Build the model of a draft, and make the run's folder."""
    config, text, data, tokenizer = draft.config, draft.text, draft.text.data, draft.text.tokenizer
    check_ranks(config.train.batch_size, world().size)
    model = _fresh_model(config, tokenizer, data) if init_from is None else _weights_of(init_from, config)
    run = create_run(
        out,
        name or f"{file_name(text.record['name'])}-{config.model}",
        config=config,
        tokenizer=tokenizer,
        corpus=text.record,
        environment={**environment(), "world_size": world().size, "launch": world().launch},
    )
    lock = RunLock(run.lock_file)
    if isinstance(model, NgramLanguageModel):
        save_checkpoint(run, 0, model, state={})
        return Job(run, None, draft.rungs, draft.notices, lock)
    rungs = losses_by_rung(draft.rungs)
    trainer = Trainer(config, model, tokenizer, data, run, text.runtime, rungs, budget=draft.budget)
    if init_from is not None:  # weights that a resume could not make again
        save_checkpoint(run, 0, model, state=vars(trainer.progress))
    return Job(run, trainer, draft.rungs, draft.notices, lock)


def resume_job(run: RunDirectory, max_iters: int | None = None, parallel: str | None = None) -> Job:
    """A run as it was at its newest whole checkpoint. Events after it are taken back; they will come again.

    With `max_iters` it goes on to that step, also where it was complete; with `parallel` its processes work together
    in another way than before. CheckpointError where there is nothing to go on from or to, where another process
    trains the run, and where files of it have changed.
    """
    lock = RunLock(run.lock_file)
    try:
        return _resumed(run, max_iters, parallel, lock)
    except BaseException:
        lock.release()
        raise


def _resumed(run: RunDirectory, max_iters: int | None, parallel: str | None, lock: RunLock) -> Job:
    run.verify()
    config, tokenizer = run.read_config(), run.read_tokenizer()
    sweep(run.path)
    sweep(run.checkpoints)
    checkpoint, notices = _standing(run, config, tokenizer)
    if config.model == "ngram":
        raise CheckpointError(f"run {run.name} is a counted model: it is complete, there is nothing to resume")
    check_fits(checkpoint, config, tokenizer, run)
    check_ranks(config.train.batch_size, world().size)
    before, config = config, config.with_settings({"parallel": parallel} if parallel else {})
    complete = is_complete(run, config, checkpoint)
    if max_iters == config.train.max_iters and not complete:
        max_iters = None  # it ends there already
    if max_iters is not None:
        config, extended = extend(config, checkpoint, max_iters)
        notices.append(extended)
    elif complete:
        raise CompleteError(
            f"run {run.name} is complete at step {checkpoint.step}; "
            f"to go on: clearhead resume {run.path} --max_iters {2 * config.train.max_iters}",
            run.path,
        )
    data = open_data(run, tokenizer)
    rungs = list(counted_rungs(data, tokenizer))
    run.unseal()
    set_newer_aside(run, checkpoint.step)
    if max_iters is not None:
        drop_mixture(run)
    if config != before:
        run.replace_config(config)
    trainer = Trainer(
        config, checkpoint.model, tokenizer, data, run, choose_runtime(config.train), losses_by_rung(rungs)
    )
    trainer.first_plan = first_plan(run, config) if max_iters is None else None
    trainer.restore(checkpoint)
    notices += told_of_ranks(trainer.progress, world().size)
    rewind(run, trainer.progress)
    prune(run, config.train.keep)  # a kill between a save and its pruning leaves one too many
    return Job(run, trainer, rungs, notices, lock)


def _standing(run: RunDirectory, config: RunConfig, tokenizer: Tokenizer) -> tuple[Checkpoint, list[str]]:
    """Where a run stands: at its newest whole checkpoint, or at its beginning when it was cut short before the first.

    With a line for each checkpoint that was passed over.
    """
    if run.steps() or config.init is None or config.model == "ngram":
        return newest_checkpoint(run)
    threads = read_json(run.environment_file)["threads"]
    progress = Progress(micro_batches=config.train.accumulation, threads=threads)
    return Checkpoint(0, _fresh_model(config, tokenizer, open_data(run, tokenizer)), {}, vars(progress)), []


def config_from(run: RunDirectory) -> RunConfig:
    """The configuration to start from another run's weights: its model, tokenizer and context, fresh training."""
    other = run.read_config()
    fresh = RunConfig.from_preset(other.preset, other.model).train
    return replace(other, train=replace(fresh, block_size=other.train.block_size, dropout=other.train.dropout))


def _fresh_model(config: RunConfig, tokenizer: Tokenizer, data: TokenDataset) -> LanguageModel:
    if config.model == "ngram":
        return fit_ngram(data, tokenizer, config.order, MOST_TOKENS - 1).model
    vocab_size = tokenizer.vocab_size
    shape = {"vocab_size": vocab_size} if config.trained == "bigram" else asdict(config.gpt(vocab_size))
    torch.manual_seed(config.train.seed)  # a model of somebody else's may draw its own first weights
    model: LanguageModel = registry.resolve("models", config.trained).from_config(shape)
    initialise(model, config.init, seed=config.train.seed, ids=data.counted("train"))
    return model


def _weights_of(run: RunDirectory, config: RunConfig) -> LanguageModel:
    """Another run's weights, in the shape that `config` describes; ConfigError where the shapes differ."""
    checkpoint = final_checkpoint(run)
    other = run.read_config()
    mine, theirs = (
        {"model": c.trained, "block_size": c.train.block_size, **asdict(c.architecture)} for c in (config, other)
    )
    for key, value in theirs.items():
        if mine[key] != value:
            raise ConfigError(f"{key}={mine[key]} but the weights of {run.name} have {key}={value}; leave the flag out")
    if checkpoint.model.kind == "ngram":
        raise ConfigError(f"run {run.name} is a counted model: it has no weights to train on; choose another")
    if config.train.dropout != other.train.dropout:
        tensors = checkpoint.model.state_dict()
        described = {**checkpoint.model.to_config(), "dropout": config.train.dropout}
        return type(checkpoint.model).restore(described, tensors)
    return checkpoint.model
