"""What a run will be, all but its weights: the text read, the rungs counted, the sizes planned."""

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from clearhead import registry
from clearhead.config import RunConfig
from clearhead.data.corpus import read_corpus
from clearhead.data.prepare import Prepared, prepare, prepared_folder, retokenise
from clearhead.data.shards import ShardDataset
from clearhead.data.tokens import TokenDataset
from clearhead.errors import ConfigError, CorpusError
from clearhead.evaluation.ladder import Rung, counted_rungs
from clearhead.evaluation.mixing import has_dev
from clearhead.files import check_name
from clearhead.initialise import default_name
from clearhead.runs.corpus import corpus_record, shards_record
from clearhead.runs.directory import RunDirectory
from clearhead.runtime import Runtime, choose_runtime
from clearhead.tokenizers.base import Tokenizer
from clearhead.training.budget import Budget
from clearhead.training.planner import Planner
from clearhead.training.suiting import tokenizer_hints


@dataclass(frozen=True)
class Text:
    """A text in tokens, and how it is computed on."""

    config: RunConfig
    """As it was asked for."""
    runtime: Runtime
    tokenizer: Tokenizer
    data: TokenDataset
    record: dict[str, Any]
    """What a run remembers of its text."""
    notices: list[str]


@dataclass(frozen=True)
class Draft:
    """What is decided before a weight is drawn."""

    config: RunConfig
    """As it will be written into the run."""
    text: Text
    rungs: list[Rung]
    budget: Budget | None
    notices: list[str]


def read_text(
    config: RunConfig, corpus: Sequence[str], *, name: str | None = None, init_from: RunDirectory | None = None
) -> Text:
    """Check what was asked for, and have the text in tokens; the errors of `prepare`, or ConfigError."""
    registry.check("models", config.model)
    registry.check("optimizers", config.train.optimizer)
    check_name(name)
    runtime = choose_runtime(config.train)
    prepared = prepare(config, corpus) if init_from is None else _prepare_for(init_from, config, corpus)
    if config.model == "mixture" and not has_dev(prepared.data):
        raise ConfigError("model=mixture is fitted on dev, and the text is too short for a dev split; try --model gpt")
    if (shards := prepared.shards) is not None:
        record, notices, config = shards_record(shards), list(shards.manifest.notices), shards.settings(config)
    else:
        record, notices = corpus_record(prepared.corpus), list(prepared.corpus.notices)
    return Text(config, runtime, prepared.tokenizer, prepared.data, record, notices)


def draft_run(
    text: Text,
    *,
    init_from: RunDirectory | None = None,
    budget: Budget | None = None,
    fixed: Collection[str] = (),
) -> Draft:
    """Count the rungs; with a budget let the planner choose what is not `fixed`; fit the context to the text.

    With `init_from` the weights will be another run's, and with them the sizes.
    """
    config, data, notices = text.config, text.data, list(text.notices)
    rungs = list(counted_rungs(data, text.tokenizer))
    if budget is not None:
        fixed = fixed if init_from is None else {*fixed, *asdict(config.architecture), "block_size", "dropout"}
        plan = Planner(config, fixed, data, text.tokenizer, rungs, budget, text.runtime).plan()
        config, budget = plan.config, plan.budget
        notices += [plan.words, *tokenizer_hints(text.tokenizer, data, config.train)]
    config, shrunk = fit_block(config, data)
    init = None if init_from else config.init or default_name(config.trained, config.preset)
    return Draft(replace(config, init=init), text, rungs, budget, notices + shrunk * (config.model != "ngram"))


def fit_block(config: RunConfig, data: TokenDataset) -> tuple[RunConfig, list[str]]:
    """The configuration with a context that the text can fill, and a line when it had to shrink."""
    asked = config.train.block_size
    fits = data.fits(asked)
    if fits == asked:
        return config, []
    notice = f"block_size={asked} is more than this text of {len(data.ids('train'))} tokens can fill; using {fits}"
    return replace(config, train=replace(config.train, block_size=fits)), [notice]


def _prepare_for(run: RunDirectory, config: RunConfig, corpus: Sequence[str]) -> Prepared:
    """A text in the tokens of another run; its own text when none is named."""
    arguments = corpus or run.read_corpus()["paths"]
    if not arguments:
        raise CorpusError(f"run {run.name} was trained on standard input, which is gone; name a text")
    tokenizer = run.read_tokenizer()
    if (folder := prepared_folder(arguments)) is not None:
        return Prepared(None, tokenizer, ShardDataset.open(folder, tokenizer))
    read = read_corpus(arguments, config.data, config.tokenizer)
    return Prepared(read, tokenizer, retokenise(read, tokenizer))
