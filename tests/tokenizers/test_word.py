import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearhead.errors import TokenizerError
from clearhead.tokenizers import pieces as pieces_module
from clearhead.tokenizers.base import Tokenizer, load_tokenizer, save_tokenizer
from clearhead.tokenizers.pieces import pieces
from clearhead.tokenizers.word import WordTokenizer

PETS = "I love dogs\nI love cats\nDogs and cats are pets"
TRICKY = st.text(alphabet=st.sampled_from("ab '’_1²\t\r\n\u00a0.é\u0301\u0915\u093f日😀\x0b\u2028"))


def cut(text: str) -> list[str]:
    return [piece for batch in pieces(text) for piece in batch]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I love dogs", ["I", " love", " dogs"]),
        ("don't, rock’n’roll'", ["don't", ",", " rock’n’roll", "'"]),
        ("a  b\t c", ["a", " ", " b", "\t", " c"]),
        ("one\r\n\r\n two\n", ["one", "\r\n", "\r\n", " two", "\n"]),
        ("in 1984_x", ["in", " 1984", "_", "x"]),
        ("हिन्दी भाषा", ["हिन्दी", " भाषा"]),
        ("cafe\u0301 ok", ["cafe\u0301", " ok"]),
        ("end   ", ["end", "   "]),
    ],
)
def test_pieces(text, expected):
    assert cut(text) == expected


@given(st.one_of(st.text(), TRICKY))
def test_pieces_joined_are_the_text(text):
    assert "".join(cut(text)) == text


@given(TRICKY, st.integers(1, 8))
def test_windows_cut_as_the_whole_does(text, window):
    whole = cut(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pieces_module, "_WINDOW", window)
        assert cut(text) == whole


@given(st.lists(st.sampled_from([" love", "I", " dogs", "\n", ",", "  ", "don't"])))
def test_every_text_over_the_vocabulary_comes_back(words):
    text = "".join(words)
    tokenizer: Tokenizer = WordTokenizer.train([text, "I love dogs"], eot=True)
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert tokenizer.decode_bytes(ids) == text.encode()


def test_the_most_frequent_first_then_by_text():
    tokenizer = WordTokenizer.train([PETS])
    assert tokenizer.words[:5] == ("\n", " cats", " love", "I", " and")
    assert tokenizer.encode("I love dogs").tolist() == [3, 2, tokenizer.words.index(" dogs")]
    assert tokenizer.unk_id is None


def test_vocab_size_counts_special_tokens_and_hides_the_rest():
    tokenizer = WordTokenizer.train([PETS], vocab_size=6, eot=True)
    assert tokenizer.words == ("\n", " cats", " love", "I")
    assert (tokenizer.vocab_size, tokenizer.eot_id, tokenizer.unk_id) == (6, 4, 5)
    assert tokenizer.encode("I love dogs").tolist() == [3, 2, 5]
    assert tokenizer.decode([3, 2, 5, 4]) == "I love\ufffd"
    assert tokenizer.unknown("I love dogs dogs pets") == [" dogs", " pets"]
    assert tokenizer.hidden_characters("I love dogs") == len(" dogs")


@pytest.mark.parametrize(("size", "unk"), [(9, False), (8, True), (1_000, False)])
def test_vocab_size_as_large_as_the_text_hides_nothing(size, unk):
    distinct = len(set(cut(PETS)))
    assert distinct == 9
    tokenizer = WordTokenizer.train([PETS], vocab_size=size)
    assert (tokenizer.unk_id is not None) is unk
    assert tokenizer.vocab_size == min(size, distinct)


def test_vocab_size_without_room_is_refused():
    with pytest.raises(TokenizerError, match="vocab_size=1 leaves no room"):
        WordTokenizer.train([PETS], vocab_size=1)


def test_lowercase_reads_and_gives_lower_case():
    tokenizer = WordTokenizer.train([PETS], lowercase=True)
    assert tokenizer.decode(tokenizer.encode("I LOVE Cats")) == "i love cats"
    assert tokenizer.unknown("I LOVE Cats") == []


def test_a_word_outside_the_vocabulary_is_named_with_its_offset():
    with pytest.raises(TokenizerError) as caught:
        WordTokenizer.train(["concat a cat"]).encode("concat at")
    assert "' at' at offset 6" in str(caught.value)
    assert "--unk" in str(caught.value)


def test_tokens_as_a_person_reads_them():
    tokenizer = WordTokenizer.train([PETS], eot=True, unk=True)
    assert [tokenizer.token_text(i) for i in (0, 1, 9, 10)] == ["↵", "·cats", "<|endoftext|>", "<|unknown|>"]


@pytest.mark.parametrize(
    "change",
    [
        {"words": "ab"},
        {"words": []},
        {"words": ["a", 1]},
        {"words": ["a", ""]},
        {"words": ["a", "a"]},
        {"words": ["a", ["b"]]},
        {"words": ["\ud800"]},
        {"lowercase": 0},
        {"eot": None},
        {"extra": True},
    ],
)
def test_garbled_dicts_are_refused(change):
    with pytest.raises(TokenizerError):
        WordTokenizer.from_dict(WordTokenizer.train([PETS]).to_dict() | change)


def test_saved_and_loaded_it_is_the_same(tmp_path):
    tokenizer = WordTokenizer.train([PETS], unk=True, lowercase=True)
    save_tokenizer(tokenizer, tmp_path / "tokenizer.json")
    loaded = load_tokenizer(tmp_path / "tokenizer.json")
    assert loaded.fingerprint == tokenizer.fingerprint
    assert loaded.encode(PETS).tolist() == tokenizer.encode(PETS).tolist()
