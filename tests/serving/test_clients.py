"""The programs this is for: OpenAI's own client, plain and asynchronous, and LangChain."""

import asyncio

import openai
import pytest

from clearhead.serving.template import Template
from serving.live import Live, serving

TEMPLATE = Template("Q: {content}\n", "A: {content}\n", "A:", stop=("\n",))


@pytest.fixture(scope="module")
def client(live: Live):
    with openai.OpenAI(base_url=f"{live.address}/v1", api_key="none", max_retries=0) as client:
        yield client


def test_models(client: openai.OpenAI):
    assert [model.id for model in client.models.list()] == ["names", "poem", "verse"]
    assert client.models.retrieve("poem").owned_by == "clearhead"
    with pytest.raises(openai.NotFoundError, match="no model"):
        client.models.retrieve("nobody")


def test_completions_whole_and_streamed(client: openai.OpenAI):
    asked = {"model": "verse", "prompt": ["Der Wind", "Ł"], "max_tokens": 60, "seed": 3, "n": 2, "logprobs": 2}
    whole = client.completions.create(**asked)
    assert whole.usage is not None
    assert whole.usage.completion_tokens == 240
    texts, counts = [""] * 4, [0] * 4
    for chunk in client.completions.create(**asked, stream=True, stream_options={"include_usage": True}):
        if not chunk.choices:
            assert chunk.usage == whole.usage
        for choice in chunk.choices:
            texts[choice.index] += choice.text
            counts[choice.index] += len(choice.logprobs.tokens or []) if choice.logprobs else 0
    assert [text.encode() for text in texts] == [choice.text.encode() for choice in whole.choices]
    assert counts == [len(choice.logprobs.tokens or []) for choice in whole.choices if choice.logprobs]


def test_errors_are_of_the_clients_own_kinds(client: openai.OpenAI):
    with pytest.raises(openai.BadRequestError) as refused:
        client.completions.create(model="poem", prompt="The " * 1_000)
    assert (refused.value.code, refused.value.param) == ("context_length_exceeded", "prompt")
    with pytest.raises(openai.BadRequestError, match="base model"):
        client.chat.completions.create(model="poem", messages=[{"role": "user", "content": "Hello"}])


def test_many_at_once_asynchronously(live: Live):
    async def ask() -> tuple[list[str], list[str]]:
        async with openai.AsyncOpenAI(base_url=f"{live.address}/v1", api_key="none") as client:

            async def one(seed: int) -> str:
                return (
                    (await client.completions.create(model="poem", prompt="The ", max_tokens=30, seed=seed))
                    .choices[0]
                    .text
                )

            async def streamed(seed: int) -> str:
                stream = await client.completions.create(
                    model="poem", prompt="The ", max_tokens=30, seed=seed, stream=True
                )
                return "".join([choice.text async for chunk in stream for choice in chunk.choices])

            together = await asyncio.gather(*map(one, range(8)), *map(streamed, range(8)))
            return together[:8], together[8:]

    whole, streamed = asyncio.run(ask())
    assert whole == streamed
    assert len(set(whole)) == 8


def test_chat_with_a_template(served_runs):
    with (
        serving([served_runs / "poem"], TEMPLATE) as live,
        openai.OpenAI(base_url=f"{live.address}/v1", api_key="none") as client,
    ):
        turns = [
            {"role": "system", "content": "the"},
            {"role": "user", "content": [{"type": "text", "text": "the wind"}]},
        ]
        refused = live.ask("POST", "/v1/chat/completions", {"model": "poem", "messages": turns})
        assert (refused.status, refused.code) == (400, "unknown_text"), "poem has no Q"
    plain = Template("{content}\n", "{content}\n", "and ", stop=("\n",))
    with (
        serving([served_runs / "poem"], plain) as live,
        openai.OpenAI(base_url=f"{live.address}/v1", api_key="none") as client,
    ):
        asked = {"model": "poem", "messages": turns, "seed": 1, "n": 2}
        whole = client.chat.completions.create(**asked, max_completion_tokens=40)
        same = live.complete(prompt="the\nthe wind\nand ", n=2, max_tokens=40, stop="\n").json["choices"]
        assert [choice.message.content for choice in whole.choices] == [choice["text"] for choice in same]
        assert [choice.finish_reason for choice in whole.choices] == [choice["finish_reason"] for choice in same]
        texts = ["", ""]
        for chunk in client.chat.completions.create(**asked, max_tokens=40, stream=True):
            for choice in chunk.choices:
                texts[choice.index] += choice.delta.content or ""
        assert texts == [choice.message.content for choice in whole.choices]


def test_langchain(live: Live):
    llm = pytest.importorskip("langchain_openai").OpenAI(
        base_url=f"{live.address}/v1", api_key="none", model="poem", max_tokens=20, seed=1, temperature=0, max_retries=0
    )
    whole = [
        live.complete(prompt=prompt, max_tokens=20, temperature=0).json["choices"][0]["text"]
        for prompt in ("The ", "and ")
    ]
    assert llm.invoke("The ") == whole[0]
    assert [generation[0].text for generation in llm.generate(["The ", "and "]).generations] == whole
    assert "".join(llm.stream("The ")) == whole[0]
