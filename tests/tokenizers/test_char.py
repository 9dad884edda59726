import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearhead.errors import ClearheadError, TokenizerError
from clearhead.tokenizers import char
from clearhead.tokenizers.base import Tokenizer, load_tokenizer, save_tokenizer
from clearhead.tokenizers.char import CharTokenizer

ALPHABET = "\n\r !abcxyzéß€日本😀\U0010ffff"


def test_ids_are_the_sorted_unique_characters():
    tokenizer = CharTokenizer.train(["hello", " world"])
    assert tokenizer.characters == " dehlorw"
    assert tokenizer.encode("hello").tolist() == [" dehlorw".index(c) for c in "hello"]
    assert (tokenizer.vocab_size, tokenizer.eot_id, tokenizer.unk_id) == (8, None, None)


def test_lecture_ids_of_hii_there():
    # The 65 symbols of tiny Shakespeare.
    symbols = "\n !$&',-.3:;?" + "ABCDEFGHIJKLMNOPQRSTUVWXYZ" + "abcdefghijklmnopqrstuvwxyz"
    tokenizer = CharTokenizer.train([symbols[::-1]])
    assert tokenizer.vocab_size == 65
    assert tokenizer.encode("hii there").tolist() == [46, 47, 47, 1, 58, 46, 43, 56, 43]


def test_special_ids_follow_the_characters():
    tokenizer: Tokenizer = CharTokenizer.train(["ab"], eot=True, unk=True)
    assert (tokenizer.vocab_size, tokenizer.eot_id, tokenizer.unk_id) == (4, 2, 3)
    assert tokenizer.encode("azb").tolist() == [0, 3, 1]
    assert tokenizer.decode([0, 2, 3, 1]) == "a\ufffdb"
    assert tokenizer.decode_bytes([0, 2, 3, 1]) == "a\ufffdb".encode()
    assert [tokenizer.token_text(i) for i in range(4)] == ["a", "b", "<|endoftext|>", "<|unknown|>"]


@given(st.text(alphabet=ALPHABET), st.booleans(), st.booleans())
def test_every_text_over_the_vocabulary_comes_back(text, eot, unk):
    tokenizer = CharTokenizer.train([ALPHABET], eot=eot, unk=unk)
    ids = tokenizer.encode(text)
    assert ids.shape == (len(text),)
    assert tokenizer.decode(ids) == text
    assert tokenizer.decode_bytes(ids) == text.encode()
    assert tokenizer.hidden_characters(text) == 0


@given(st.text(alphabet=st.characters()), st.text(alphabet=st.characters(codec="utf-8"), min_size=1))
def test_vectorised_encoding_equals_the_lectures_comprehension(text, training):
    tokenizer = CharTokenizer.train([training], unk=True)
    stoi = {c: i for i, c in enumerate(sorted(set(training)))}
    assert tokenizer.encode(text).tolist() == [stoi.get(c, tokenizer.unk_id) for c in text]
    assert tokenizer.hidden_characters(text) == sum(c not in stoi for c in text)
    assert tokenizer.unknown(text) == list(dict.fromkeys(c for c in text if c not in stoi))


def test_chunks_join_seamlessly(monkeypatch):
    monkeypatch.setattr(char, "_CHUNK", 3)
    text = "abc日本x" * 5
    tokenizer = CharTokenizer.train([text])
    assert tokenizer.decode(tokenizer.encode(text)) == text
    with pytest.raises(TokenizerError, match=r"'z'.*offset 31 "):
        tokenizer.encode(text + "az")


@pytest.mark.parametrize(("text", "named"), [("abéa", "'é' (U+00E9) at offset 2"), ("ab~", "'~' (U+007E) at offset 2")])
def test_a_character_outside_the_vocabulary_is_named(text, named):
    with pytest.raises(TokenizerError) as caught:
        CharTokenizer.train(["ab"]).encode(text)
    assert named in str(caught.value)
    assert "--unk" in str(caught.value)


def test_the_smallest_type_that_fits():
    assert CharTokenizer.train(["ab"]).encode("a").dtype == np.uint16
    many = "".join(map(chr, (*range(0xD800), *range(0xE000, 0x12000))))
    for characters, dtype in ((many[:65_536], np.uint16), (many[:65_537], np.uint32)):
        tokenizer = CharTokenizer(characters)
        assert tokenizer.encode(characters).dtype == dtype
        assert (tokenizer.encode(characters) == np.arange(len(characters))).all()
        with pytest.raises(TokenizerError, match="U\\+12000"):
            tokenizer.encode(chr(0x12000))


def test_lone_surrogates_are_refused_in_training_and_unknown_in_encoding():
    with pytest.raises(TokenizerError, match=r"U\+D800.*lone surrogate"):
        CharTokenizer.train(["a\ud800"])
    assert CharTokenizer.train(["a"], unk=True).encode("a\udfff").tolist() == [0, 1]


@pytest.mark.parametrize("ids", [[0, 2], [-1], [2**70], [[0, 1]], [0.5], ["a"], [True], [[0], [0, 1]]])
def test_what_is_no_id_is_refused(ids):
    with pytest.raises(TokenizerError):
        CharTokenizer.train(["ab"]).decode(ids)


def test_nothing_encodes_and_decodes_to_nothing():
    tokenizer = CharTokenizer.train(["ab"])
    assert tokenizer.encode("").size == 0
    assert tokenizer.decode([]) == ""
    with pytest.raises(TokenizerError, match="at least one character"):
        CharTokenizer.train([""])


@pytest.mark.parametrize(
    "change",
    [
        {"name": "byte"},
        {"characters": ["a", "b"]},
        {"characters": ""},
        {"characters": "ba"},
        {"characters": "aa"},
        {"characters": "a\udfff"},
        {"eot": 1},
        {"unk": None},
        {"more": 1},
    ],
)
def test_garbled_dicts_are_refused(change):
    good = CharTokenizer.train(["ab"], eot=True).to_dict()
    with pytest.raises(TokenizerError):
        CharTokenizer.from_dict(good | change)


def test_saved_and_loaded_it_is_the_same(tmp_path):
    tokenizer = CharTokenizer.train(['ab日\u2028\n"'], eot=True, unk=True)
    save_tokenizer(tokenizer, tmp_path / "tokenizer.json")
    loaded = load_tokenizer(tmp_path / "tokenizer.json")
    assert loaded.to_dict() == tokenizer.to_dict()
    assert loaded.fingerprint == tokenizer.fingerprint != CharTokenizer.train(["ab"]).fingerprint


@pytest.mark.parametrize("content", ["", "[]", "{}", "[" * 100_000, '{"name": []}', '{"name": "char"}', "\0"])
def test_files_that_are_no_tokenizer_are_refused(tmp_path, content):
    path = tmp_path / "tokenizer.json"
    path.write_text(content)
    with pytest.raises(ClearheadError):
        load_tokenizer(path)
