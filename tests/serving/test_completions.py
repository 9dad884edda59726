"""What /v1/completions answers: forms of prompts, choices, stops, seeds, scores, counts, refusals."""

import pytest

from clearhead.api import Run
from clearhead.runs.directory import RunDirectory
from serving.live import Live


@pytest.fixture(scope="module")
def poem(served_runs) -> Run:
    return Run(RunDirectory(served_runs / "poem"))


def texts(answer) -> list[str]:
    assert answer.status == 200, answer.body
    assert [choice["index"] for choice in answer.json["choices"]] == list(range(len(answer.json["choices"])))
    return [choice["text"] for choice in answer.json["choices"]]


def test_a_completion_is_what_generate_writes(live: Live, poem: Run):
    answer = live.complete(max_tokens=60, n=3)
    assert texts(answer) == poem.samples("The ", max_new_tokens=60, seed=1, num_samples=3)
    assert answer.json["object"] == "text_completion"
    assert answer.json["model"] == "poem"
    assert answer.json["usage"] == {"prompt_tokens": 4, "completion_tokens": 180, "total_tokens": 184}
    assert {choice["finish_reason"] for choice in answer.json["choices"]} == {"length"}
    assert len(texts(live.complete())[0]) == 16, "the API's default of max_tokens"


def test_all_forms_of_a_prompt(live: Live, poem: Run):
    ids = [poem.tokenizer.encode(text).tolist() for text in ("The ", "and ")]
    one = texts(live.complete(prompt="The ", n=2, max_tokens=8))
    two = texts(live.complete(prompt=["The ", "and "], n=2, max_tokens=8))
    assert two[:2] == one, "prompt-major: choice j of prompt i is number i * n + j"
    assert texts(live.complete(prompt=ids[0], n=2, max_tokens=8)) == one
    assert texts(live.complete(prompt=ids, n=2, max_tokens=8)) == two
    assert texts(live.complete(prompt=["The "], max_tokens=8)) == one[:1]
    assert len(texts(live.complete(prompt="", max_tokens=8))[0]) == 8


def test_a_seed_fixes_the_text_and_none_does_not(live: Live):
    assert texts(live.complete(max_tokens=30)) == texts(live.complete(max_tokens=30))
    assert texts(live.complete(seed=-1, max_tokens=30)) != texts(live.complete(max_tokens=30))
    assert len({texts(live.complete(seed=None, max_tokens=30))[0] for _ in range(3)}) == 3
    greedy = [texts(live.complete(seed=seed, temperature=0, max_tokens=30)) for seed in (1, 2)]
    assert greedy[0] == greedy[1]


def test_stops_are_left_out_and_end_the_text(live: Live):
    whole = texts(live.complete(model="verse", prompt="Der Wind", temperature=0, max_tokens=60))[0]
    assert "Höhe" in whole
    answer = live.complete(
        model="verse", prompt="Der Wind", temperature=0, max_tokens=60, stop=["zzz", "Höh"], logprobs=0
    )
    choice = answer.json["choices"][0]
    assert choice["text"] == whole[: whole.index("Höh")]
    assert choice["finish_reason"] == "stop"
    assert "".join(choice["logprobs"]["tokens"]) == choice["text"].replace("ü", r"bytes:\xc3bytes:\xbc")
    assert answer.json["usage"]["completion_tokens"] == len(whole[: whole.index("Höh") + 3].encode())


def test_end_of_text_ends_the_text(live: Live):
    answer = live.complete(model="names", prompt="a", max_tokens=200, n=4)
    assert {choice["finish_reason"] for choice in answer.json["choices"]} == {"stop"}
    assert answer.json["usage"]["prompt_tokens"] == 1, "the end-of-text before a document is not the client's"


def test_logprobs_are_the_models_own(live: Live, poem: Run):
    import torch

    choice = live.complete(max_tokens=3, logprobs=3, temperature=0.5, top_p=0.9).json["choices"][0]
    scores = choice["logprobs"]
    assert "".join(scores["tokens"]) == choice["text"]
    assert scores["text_offset"] == [0, 1, 2]
    ids = poem.tokenizer.encode("The " + choice["text"]).tolist()
    with torch.no_grad():
        logprobs = poem.model(torch.tensor([ids])).logits[0].double().log_softmax(-1)
    for i in range(3):
        own, top = float(logprobs[3 + i, ids[4 + i]]), logprobs[3 + i].topk(3)
        assert scores["token_logprobs"][i] == pytest.approx(own, abs=1e-5)
        likeliest = dict(zip(map(poem.tokenizer.token_text, top.indices.tolist()), top.values.tolist(), strict=True))
        assert scores["top_logprobs"][i] == pytest.approx({scores["tokens"][i]: own} | likeliest, abs=1e-5)


def test_echo_with_no_tokens_scores_the_prompt(live: Live):
    choice = live.complete(prompt="The wind", echo=True, max_tokens=0, logprobs=1).json["choices"][0]
    assert (choice["text"], choice["finish_reason"]) == ("The wind", "length")
    scores = choice["logprobs"]
    assert scores["tokens"] == list("The wind")
    assert scores["text_offset"] == list(range(8))
    assert scores["token_logprobs"][0] is None
    assert scores["top_logprobs"][0] is None
    assert all(value < 0 for value in scores["token_logprobs"][1:])


@pytest.mark.parametrize("model", ["poem", "verse", "names"])
def test_echo_scores_what_was_written_as_it_was_when_it_was_written(live: Live, model: str):
    prompt = "Höhe — 風 " if model == "verse" else "an"
    asked = {"model": model, "prompt": prompt, "max_tokens": 14, "temperature": 0, "logprobs": 2}
    written = live.complete(**asked, echo=True).json["choices"][0]
    plain = live.complete(**asked).json["choices"][0]
    assert written["text"] == prompt + plain["text"]
    count = len(plain["logprobs"]["tokens"])
    for name in ("tokens", "token_logprobs", "top_logprobs"):
        assert written["logprobs"][name][-count:] == plain["logprobs"][name]
    shifted = [at + len(prompt) for at in plain["logprobs"]["text_offset"]]
    assert written["logprobs"]["text_offset"][-count:] == shifted
    assert written["logprobs"]["text_offset"][0] == 0
    again = live.complete(model=model, prompt=written["text"], max_tokens=0, logprobs=2, echo=True).json["choices"][0]
    assert again["logprobs"]["token_logprobs"][1:] == pytest.approx(written["logprobs"]["token_logprobs"][1:], abs=1e-5)


def test_a_long_prompt_slides_and_one_beyond_the_limit_is_refused(live: Live, poem: Run):
    long = ("the hill was still and " * 40)[: 16 * 32]
    answer = live.complete(prompt=long, max_tokens=8, temperature=0)
    assert texts(answer) == [poem.generate(long, max_new_tokens=8, temperature=0)]
    assert answer.json["usage"]["prompt_tokens"] == 512
    for stream in (False, True):
        refused = live.complete(prompt=long + ".", stream=stream)
        assert (refused.status, refused.code) == (400, "context_length_exceeded")
        assert refused.json["error"]["param"] == "prompt"


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({"max_tokens": -1}, "max_tokens"),
        ({"max_tokens": 5_000}, "max_tokens"),
        ({"max_tokens": "5"}, "max_tokens"),
        ({"n": 0}, "n"),
        ({"n": True}, "n"),
        ({"temperature": 2.1}, "temperature"),
        ({"top_p": 0}, "top_p"),
        ({"logprobs": 6}, "logprobs"),
        ({"best_of": 2}, "best_of"),
        ({"suffix": "x"}, "suffix"),
        ({"presence_penalty": 1}, "presence_penalty"),
        ({"stop": ["a", "b", "c", "d", "e"]}, "stop"),
        ({"stop": ""}, "stop"),
        ({"logit_bias": {"999999": 1}}, "logit_bias"),
        ({"prompt": []}, "prompt"),
        ({"prompt": [[]]}, "prompt"),
        ({"prompt": [1, "a"]}, "prompt"),
        ({"prompt": [10_000]}, "prompt"),
        ({"prompt": [-1]}, "prompt"),
        ({"prompt": "日"}, "prompt"),
        ({"stream_options": {"include_usage": True}}, None),
        ({"unheard_of": 1}, "unheard_of"),
    ],
    ids=repr,
)
def test_what_cannot_be_is_400_and_says_which_field(live: Live, asked: dict, param: str | None):
    answer = live.complete(**asked)
    assert answer.status == 400, answer.body
    assert answer.code != "overloaded"
    assert answer.json["error"]["param"] == param
    assert answer.json["error"]["type"] == "invalid_request_error"


def test_what_means_nothing_is_accepted(live: Live):
    nothing = {"best_of": 1, "suffix": None, "presence_penalty": 0, "frequency_penalty": 0.0, "user": "someone"}
    nulls = dict.fromkeys(("max_tokens", "n", "stop", "temperature", "top_p", "logprobs", "echo", "stream", "best_of"))
    assert texts(live.complete(**nothing)) == texts(live.complete()) == texts(live.complete(**nulls))


def test_a_bias_and_the_other_ways_of_drawing(live: Live, poem: Run):
    wanted = int(poem.tokenizer.encode("w")[0])
    assert texts(live.complete(logit_bias={str(wanted): 100}, max_tokens=5)) == ["wwwww"]
    for settings in ({"top_k": 2}, {"min_p": 0.3}, {"repetition_penalty": 1.5}, {"top_p": 0.5}):
        assert texts(live.complete(max_tokens=20, **settings)) == [
            poem.generate("The ", max_new_tokens=20, seed=1, **settings)
        ]


def test_models_are_those_that_were_named(live: Live):
    listed = live.ask("GET", "/v1/models").json
    assert [model["id"] for model in listed["data"]] == ["names", "poem", "verse"]
    assert live.ask("GET", "/v1/models/poem").json in listed["data"]
    assert live.ask("GET", "/v1/models/nobody").code == "model_not_found"
    refused = live.complete(model="nobody")
    assert (refused.status, refused.code) == (404, "model_not_found")


def test_a_base_model_does_not_chat(live: Live):
    asked = {"model": "poem", "messages": [{"role": "user", "content": "Hello"}], "max_completion_tokens": 5}
    answer = live.ask("POST", "/v1/chat/completions", asked)
    assert (answer.status, answer.code) == (400, "no_chat_template")
    assert "base model" in answer.json["error"]["message"]
