"""From what a client sends to the ids that a model goes on from."""

from collections.abc import Sequence
from typing import NamedTuple

from clearhead.config import SamplingConfig, ServeConfig
from clearhead.errors import ConfigError
from clearhead.generation.text import encode_prompt
from clearhead.serving.errors import ApiError, short
from clearhead.serving.schema import Drawing
from clearhead.serving.shelf import Loaded

PROMPT_WINDOWS = 16
"""The longest prompt in windows of the model, where nothing else is said."""


class Prompt(NamedTuple):
    """A prompt as the model sees it."""

    ids: list[int]
    hidden: int
    """How many ids, the first ones, the client did not write: end-of-text, or what an empty prompt stands for."""


def list_prompts(prompt: object) -> list[str | list[int]]:
    """All forms of `prompt` as a list.

    >>> list_prompts("a"), list_prompts(["a", "b"]), list_prompts([1, 2]), list_prompts([[1], [2]])
    (['a'], ['a', 'b'], [[1, 2]], [[1], [2]])
    """
    if prompt is None or isinstance(prompt, str):
        return [prompt or ""]
    assert isinstance(prompt, list)
    return [prompt] if isinstance(prompt[0], int) else list(prompt)


def read_prompt(prompt: str | Sequence[int], loaded: Loaded, config: ServeConfig, param: str = "prompt") -> Prompt:
    """The ids of one prompt; ApiError (400) where the model has no ids for it, or it is too long."""
    tokenizer, model = loaded.run.tokenizer, loaded.run.model
    if isinstance(prompt, str):
        encoded = encode_prompt(tokenizer, prompt)
        if encoded.dropped and tokenizer.unk_id is None:
            unknown = " ".join(map(short, encoded.dropped[:8]))
            raise ApiError(400, f"the model has never seen {unknown}; leave it out", param=param, code="unknown_text")
        own = len(encoded.ids) - (tokenizer.eot_id is not None) if prompt else 0
        read = Prompt(encoded.ids, len(encoded.ids) - own)
    else:
        if (worst := max(prompt)) >= model.vocab_size:
            reason = f"token id {worst} is outside the vocabulary of {model.vocab_size}"
            raise ApiError(400, f"{reason}; ids are 0 .. {model.vocab_size - 1}", param=param, code="unknown_token")
        read = Prompt(list(prompt), 0)
    most = config.max_prompt_tokens or PROMPT_WINDOWS * (model.block_size or loaded.run.config.train.block_size)
    if len(read.ids) > most:
        raise ApiError(
            400,
            f"the prompt has {len(read.ids):,} tokens, and this server reads {most:,} of {loaded.lane.name} at most",
            param=param,
            code="context_length_exceeded",
        )
    return read


def sampling_for(asked: Drawing, tokens: int, logprobs: int | None, seed: int, loaded: Loaded) -> SamplingConfig:
    """How a request wants its text drawn; ApiError (400) where that cannot be."""
    bias = tuple((int(token), value) for token, value in (asked.logit_bias or {}).items())
    if outside := [token for token, _ in bias if token >= loaded.run.model.vocab_size]:
        raise ApiError(400, f"logit_bias names the token {outside[0]}, which is none", param="logit_bias")
    try:
        return SamplingConfig(
            temperature=1.0 if asked.temperature is None else asked.temperature,
            top_p=None if asked.top_p in (None, 1.0) else asked.top_p,
            top_k=asked.top_k,
            min_p=asked.min_p,
            repetition_penalty=asked.repetition_penalty or 1.0,
            logit_bias=bias,
            logprobs=logprobs,
            max_new_tokens=tokens,
            stop=asked.stops,
            seed=seed,
        )
    except ConfigError as error:
        raise ApiError(400, str(error)) from None
