"""What every tokenizer of the registry owes. A new one needs a line in `TRAINED`; the first test says so."""

import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearhead import registry
from clearhead.config import SamplingConfig
from clearhead.errors import TokenizerError
from clearhead.generation.text import Writer, encode_prompt
from clearhead.serving.writing import Text, Vocabulary
from clearhead.tokenizers.base import Tokenizer, load_tokenizer, save_tokenizer, token_bytes, token_dtype

TEXT = (
    "The wind went over the hill, and the hill was still.\nI don't love  naïve 日本 12345 😀 e\u0301!\r\n\n\tthe end"
    * 3
)
TRAINED = {"char": {}, "word": {}, "byte": {}, "bpe": {"vocab_size": 320}}
SAYS_EVERYTHING = ("byte", "bpe")


def build(name: str, *, eot: bool = False) -> Tokenizer:
    return registry.resolve("tokenizers", name).train([TEXT], eot=eot, **TRAINED[name])


BUILT = {name: build(name, eot=True) for name in TRAINED}


def test_every_registered_tokenizer_is_here():
    assert set(TRAINED) == set(registry.BUILT_IN["tokenizers"])


@pytest.mark.parametrize("name", TRAINED)
def test_the_training_text_comes_back(name):
    tokenizer = build(name)
    ids = tokenizer.encode(TEXT)
    assert isinstance(tokenizer, Tokenizer)
    assert ids.dtype == token_dtype(tokenizer.vocab_size)
    assert ids.max() < tokenizer.vocab_size
    assert tokenizer.decode(ids) == TEXT
    assert tokenizer.decode_bytes(ids) == TEXT.encode() == b"".join(tokenizer.decode_bytes([i]) for i in ids)
    assert (tokenizer.unknown(TEXT), tokenizer.hidden_characters(TEXT), tokenizer.eot_id) == ([], 0, None)


@pytest.mark.parametrize("name", SAYS_EVERYTHING)
@given(st.one_of(st.text(), st.text(alphabet="ab \n\t\r.'1é日😀\u0301\x00\x1c\x85\u2028<|>endoftext")))
def test_every_text_at_all_comes_back(name, text):
    ids = BUILT[name].encode(text)
    assert BUILT[name].decode(ids) == text
    assert BUILT[name].eot_id not in ids.tolist(), "what spells the name of a special token is text"


@pytest.mark.parametrize("name", SAYS_EVERYTHING)
def test_lone_surrogates_are_refused_by_name(name):
    with pytest.raises(TokenizerError, match=r"U\+DC80.*offset 1 "):
        BUILT[name].encode("a\udc80b")
    assert BUILT[name].unknown("a\udc80b\udc80") == ["\udc80"]
    assert BUILT[name].hidden_characters("a\udc80b\udc80") == 2


@pytest.mark.parametrize("name", TRAINED)
def test_a_prompt_is_read_without_what_nobody_can_say(name):
    tokenizer = build(name)
    prompt = encode_prompt(tokenizer, "the\udc80 hill\udcff")
    assert tokenizer.decode(prompt.ids) in ("the hill", "the")
    assert [piece.strip() for piece in prompt.dropped][:1] == ["\udc80"]


@pytest.mark.parametrize("name", TRAINED)
def test_end_of_text_is_the_last_id_and_no_text(name):
    tokenizer = BUILT[name]
    last = tokenizer.vocab_size - 1
    assert tokenizer.eot_id == last
    assert (tokenizer.decode([last]), tokenizer.token_text(last)) == ("", "<|endoftext|>")
    assert all(tokenizer.token_text(i) and tokenizer.token_text(i).isprintable() for i in range(tokenizer.vocab_size))


@pytest.mark.parametrize("name", TRAINED)
def test_saved_and_loaded_it_is_the_same(name, tmp_path):
    tokenizer = BUILT[name]
    save_tokenizer(tokenizer, tmp_path / "tokenizer.json")
    loaded = load_tokenizer(tmp_path / "tokenizer.json")
    assert (loaded.to_dict(), loaded.fingerprint) == (tokenizer.to_dict(), tokenizer.fingerprint)
    assert loaded.fingerprint != build(name).fingerprint
    np.testing.assert_array_equal(loaded.encode(TEXT), tokenizer.encode(TEXT))


@pytest.mark.parametrize("name", TRAINED)
def test_another_process_learns_the_same(name):
    code = (
        "import json, sys; from clearhead import registry; text, name, options = json.load(sys.stdin);"
        "print(registry.resolve('tokenizers', name).train([text], **options).fingerprint)"
    )
    asked = json.dumps([TEXT, name, TRAINED[name]])
    told = subprocess.run([sys.executable, "-c", code], input=asked, capture_output=True, text=True, check=True).stdout
    assert told.strip() == build(name).fingerprint


@pytest.mark.parametrize("name", TRAINED)
@pytest.mark.parametrize("ids", [[100_000], [-1], [0.5], [[0, 1]], ["a"]], ids=str)
def test_what_is_no_id_is_refused(name, ids):
    with pytest.raises(TokenizerError):
        BUILT[name].decode(ids)


@pytest.mark.parametrize("name", TRAINED)
def test_text_is_written_in_whole_characters(name):
    """As `generate` streams it, and as the server tells it with every token."""
    tokenizer, ids = BUILT[name], BUILT[name].encode(TEXT).tolist()
    writer = Writer(tokenizer, pieces=token_bytes(tokenizer))
    parts = [writer.push(token) for token in ids]
    assert "".join(parts) + writer.finish() == TEXT
    assert "\ufffd" not in "".join(parts)
    text = Text(
        Vocabulary(tokenizer), [tokenizer.eot_id or 0], SamplingConfig(max_new_tokens=len(ids), logprobs=0), hidden=1
    )
    for token in ids:
        text.take(token, -1.0, [])
    told = text.read()
    assert (told.text, told.finish, [each.id for each in told.scored]) == (TEXT, "length", ids)
