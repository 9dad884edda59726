import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

import clearhead
from clearhead.api import Run
from clearhead.config import RunConfig
from clearhead.errors import ConfigError, TokenizerError
from clearhead.inspection.embeddings import Embeddings, embeddings
from clearhead.models.bigram import BigramLanguageModel
from clearhead.models.gpt import GPTLanguageModel
from clearhead.models.mixture import CLUES, MixtureLanguageModel
from clearhead.models.ngram import NgramLanguageModel
from clearhead.tokenizers.char import CharTokenizer
from conftest import POEM

SETTINGS: dict[str, Any] = {
    "max_iters": 12,
    "eval_interval": 6,
    "save_interval": 4,
    "keep": 5,
    "eval_iters": 1,
    "n_embd": 16,
    "n_head": 2,
    "n_layer": 1,
    "block_size": 16,
    "batch_size": 4,
    "progress": False,
}


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Iterator[Run]:
    folder = tmp_path_factory.mktemp("embeddings")
    (folder / "poem.txt").write_text(POEM * 29 + "Z", encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLEARHEAD_CACHE", str(folder / "cache"))
        yield clearhead.train(folder / "poem.txt", out=folder / "runs", name="small", **SETTINGS)


def test_the_view_holds_every_token_of_both_tables(run):
    view = run.embeddings().view
    assert isinstance(view, Embeddings)
    V = run.tokenizer.vocab_size
    assert len(view.tokens) == len(view.counts) == V
    assert [found.table.name for found in view.tables] == ["embedding", "head"]
    ids = run.data.ids("counts")
    assert view.counts.tolist() == [int((ids == i).sum()) for i in range(V)]
    for found in view.tables:
        assert found.neighbours.cosine.shape == (V, 5)
        assert found.flat.points.shape == (V, 2)
        assert found.solid.points.shape == (V, 3)
    assert "␣" in str(view)
    assert "what does a dimension mean?" in str(view)
    assert "too few to tell" in str(view)
    json.dumps(view.to_dict(), allow_nan=False)


def test_checkpoints_are_turned_to_todays_picture(run):
    (found, _) = run.embeddings().view.tables
    assert [moment.step for moment in found.through] == run.directory.steps()
    last = found.through[-1]
    assert last.same == 1.0
    np.testing.assert_allclose(last.points, found.flat.points, atol=1e-6)


def test_looking_changes_nothing(run):
    before = {name: tensor.clone() for name, tensor in run.model.state_dict().items()}
    run.embeddings()
    assert all((run.model.state_dict()[name] == tensor).all() for name, tensor in before.items())


def test_tokens_and_dimensions_on_request(run):
    view = run.embeddings(tokens=["e", "␣"], dimensions=[3]).view
    said = str(view).split("head: ")[0]
    assert "dimension 3 (" in said
    assert said.count("% of the variance)") == 1
    assert [line.split()[0] for line in said.split("token  ")[1].splitlines()[1:3]] == ["e", "␣"]
    with pytest.raises(ConfigError, match=r"no dimension 16; dimensions are 0 .. 15"):
        run.embeddings(dimensions=[16])
    with pytest.raises(TokenizerError, match="'Q' is no token"):
        run.embeddings(tokens=["Q"])


def test_analogies_of_several_runs(run):
    other = ("other", fresh(), run.tokenizer)
    view = embeddings(run.model, run.tokenizer, run.data, run="small", also=[other], analogies=[("a", "e", "i")])
    (analogy,) = view.analogies
    assert [(a.run, a.table) for a in analogy.answers] == [
        ("small", "embedding"),
        ("small", "head"),
        ("other", "embedding"),
        ("other", "head"),
    ]
    assert "of 2 runs answer" in str(view)
    stranger = ("stranger", run.model, CharTokenizer.train(["abc"]))
    with pytest.raises(ConfigError, match="run stranger has another vocabulary"):
        embeddings(run.model, run.tokenizer, run.data, also=[stranger])


@pytest.mark.parametrize(
    "settings",
    [
        {"preset": "lecture"},
        {"preset": "gpt2"},
        {"norm": "none", "positions": "none", "scale_embedding": True},
        {"n_embd": 2, "n_head": 1},
    ],
)
def test_every_kind_of_gpt(settings, run):
    view = embeddings(fresh(run.tokenizer.vocab_size, **settings), run.tokenizer, run.data)
    assert view.direct is not None
    assert len(view.tables) == (1 if settings.get("preset") == "gpt2" else 2)
    json.dumps(view.to_dict(), allow_nan=False)


def test_a_mixture_shows_its_gpt(run):
    V = run.tokenizer.vocab_size
    ngram = NgramLanguageModel.fit(run.data.ids("counts"), vocab_size=V, order=2)
    mixture = MixtureLanguageModel(ngram, fresh(V), torch.zeros(1 + CLUES))
    view = embeddings(mixture, run.tokenizer, run.data)
    assert str(view).startswith("the GPT of the mixture")
    assert len(view.tables) == 2
    with pytest.raises(ConfigError, match="counts and has no embeddings"):
        embeddings(ngram, run.tokenizer, run.data)


def test_a_bigram_has_rows(run):
    view = embeddings(BigramLanguageModel(run.tokenizer.vocab_size), run.tokenizer, run.data)
    assert [found.table.name for found in view.tables] == ["rows"]
    assert view.direct is None
    assert "a look-up table" in str(view)


def test_a_vocabulary_of_two_has_no_neighbours(run):
    with pytest.raises(ConfigError, match="a vocabulary of 2 tokens"):
        embeddings(BigramLanguageModel(2), CharTokenizer.train(["ab"]), Two())  # pyright: ignore[reportArgumentType]


class Two:
    """A text of two letters."""

    def ids(self, split: str) -> np.ndarray:
        return np.array([0, 1] * 20)


def fresh(vocab_size: int = 27, **settings) -> GPTLanguageModel:
    preset = settings.pop("preset", "modern")
    small = {"n_embd": 16, "n_head": 2, "n_layer": 1, "block_size": 16}
    config = RunConfig.from_preset(preset).with_settings({**small, **settings})
    return GPTLanguageModel(config.gpt(vocab_size)).eval()
