"""What may be asked: the request bodies, checked field by field and described in the OpenAPI document.

The names are the OpenAI API's. What it has and a base model of ours has not is accepted only with the value that
means nothing; unknown fields are refused, for a setting that is silently ignored is a wrong answer.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

MAX_CHOICES = 128
MAX_STOPS = 4
MAX_LOGPROBS = 5

Stop = Annotated[str, Field(min_length=1, max_length=1_000)]
Ids = Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)]
Prompts = (
    str
    | Annotated[list[str], Field(min_length=1, max_length=2_048)]
    | Ids
    | Annotated[list[Ids], Field(min_length=1, max_length=2_048)]
)


class Body(BaseModel):
    """A request's body: no value is converted, no field passed over."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class StreamOptions(Body):
    """What a stream tells besides text."""

    include_usage: bool | None = Field(None, description="Send the counts of tokens before the end.")
    include_obfuscation: bool | None = Field(None, description="Accepted and not needed.")


class Drawing(Body):
    """How text is drawn: the fields that completions and chat share."""

    model: str = Field(description="The name of a run that is served.")
    n: int | None = Field(1, ge=1, le=MAX_CHOICES, description="Texts per prompt.")
    stop: Stop | Annotated[list[Stop], Field(max_length=MAX_STOPS)] | None = Field(
        None, description="Up to 4 texts; the answer ends before any of them."
    )
    seed: int | None = Field(None, ge=-(2**63), le=2**63 - 1, description="Same seed, same text.")
    temperature: float | None = Field(1.0, ge=0.0, le=2.0, description="0 always takes the likeliest token.")
    top_p: float | None = Field(1.0, gt=0.0, le=1.0, description="Draw from this share of the probability.")
    top_k: int | None = Field(None, ge=1, description="Draw from this many tokens only (not in the OpenAI API).")
    min_p: float | None = Field(None, ge=0.0, le=1.0, description="As `generate --min_p` (not in the OpenAI API).")
    repetition_penalty: float | None = Field(
        None, ge=0.01, le=100.0, description="As `generate --repetition_penalty` (not in the OpenAI API)."
    )
    logit_bias: dict[Annotated[str, Field(pattern=r"^\d{1,9}$")], Annotated[float, Field(ge=-100, le=100)]] | None = (
        Field(None, description="Token id to a number that is added to its logit.", max_length=1_024)
    )
    stream: bool | None = Field(False, description="Send the text as it is written, as server-sent events.")
    stream_options: StreamOptions | None = None
    user: str | None = Field(None, description="Accepted and not used.")
    presence_penalty: float | None = Field(0.0, ge=0.0, le=0.0, description="0: there is no such penalty here.")
    frequency_penalty: float | None = Field(0.0, ge=0.0, le=0.0, description="0: there is no such penalty here.")

    @property
    def stops(self) -> tuple[str, ...]:
        """The stop texts."""
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())

    @model_validator(mode="after")
    def _options_need_a_stream(self) -> "Drawing":
        if self.stream_options is not None and not self.stream:
            raise ValueError("stream_options is for streams; add stream: true")
        return self


class CompletionRequest(Drawing):
    """A text, or several, to go on from."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"model": "MODEL", "prompt": "ROMEO:", "max_tokens": 40, "seed": 1, "stop": "\n\n"}]
        }
    )
    prompt: Prompts | None = Field("", description="A text, several, token ids, or several lists of them.")
    max_tokens: int | None = Field(16, ge=0, description="Tokens to write at most; 0 with echo only scores.")
    logprobs: int | None = Field(
        None, ge=0, le=MAX_LOGPROBS, description="Tell each token's log-probability, and so many others'."
    )
    echo: bool | None = Field(False, description="Begin the answer with the prompt.")
    best_of: Literal[1] | None = Field(None, description="1: every text is answered as drawn.")
    suffix: None = Field(None, description="A base model here only goes on.")


class Content(Body):
    """A part of a message."""

    type: Literal["text"]
    text: str


class ChatMessage(Body):
    """One turn."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | Annotated[list[Content], Field(min_length=1, max_length=64)]
    name: str | None = Field(None, description="Accepted and not used.")

    @property
    def text(self) -> str:
        """What it says."""
        return self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)


class ChatRequest(Drawing):
    """Turns of a conversation, put into one text by the server's template."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"model": "MODEL", "messages": [{"role": "user", "content": "Who is there?"}]}]}
    )
    messages: Annotated[list[ChatMessage], Field(min_length=1, max_length=1_024)]
    max_tokens: int | None = Field(None, ge=1, description="The old name of max_completion_tokens.")
    max_completion_tokens: int | None = Field(None, ge=1, description="Tokens to write at most (default: 256).")
    logprobs: Literal[False] | None = Field(None, description="Ask /v1/completions for them.")


class TokenizeRequest(Body):
    """A text to be cut into tokens."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"model": "MODEL", "text": "hii there"}]})
    model: str
    text: str


class ScoreRequest(Body):
    """A text, or its ids, to be judged."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"model": "MODEL", "text": "To be, or not to be"}]})
    model: str
    text: str | None = None
    ids: Ids | None = None
    top: int = Field(0, ge=0, le=MAX_LOGPROBS, description="Tell this many of the likeliest tokens at each place.")

    @model_validator(mode="after")
    def _one_of_both(self) -> "ScoreRequest":
        if (self.text is None) == (self.ids is None):
            raise ValueError("give text or ids, one of them")
        return self


def explain(errors: Sequence[Any]) -> tuple[str, str | None]:
    """What is wrong with a body in one sentence, and the field that it is about."""
    first = errors[0]
    place = [str(part) for part in first["loc"] if part != "body"]
    field = place[0] if place else None
    if field == "prompt":
        return "prompt is none of: a text, a list of texts, a list of token ids, a list of such lists", field
    where = ".".join(part for part in place if "[" not in part) or "the body"
    if first["type"] == "extra_forbidden":
        return f"{where} is not known here; leave it out", field
    if first["type"] == "missing":
        return f"{where} is missing", field
    return f"{where}: {first['msg'].removeprefix('Value error, ')}", field
