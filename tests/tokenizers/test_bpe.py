import copy
import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer as Library
from tokenizers import decoders, models, pre_tokenizers, trainers

from clearhead.errors import TokenizerError
from clearhead.tokenizers import bpe
from clearhead.tokenizers.base import open_tokenizer
from clearhead.tokenizers.bpe import BPETokenizer
from clearhead.tokenizers.bytelevel import ALPHABET
from clearhead.tokenizers.word import WordTokenizer

VERSE = "The wind went over the hill, and the hill was still;\nI don't love  naïve 日本 12345 😀\r\n\n  the end. "
TRICKY = st.text(alphabet=st.sampled_from("ab '’s_1²\t\r\n\u00a0.é\u0301日😀\x0b\x1c\x85\u2028"))


def gpt2_like(**changes) -> dict:
    """A tokenizer.json as GPT-2's is made: its own pieces, one special token at the end."""
    library = Library(models.BPE())
    library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    library.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=330, show_progress=False, initial_alphabet=list(ALPHABET))
    library.train_from_iterator([VERSE] * 4, trainer)
    library.add_special_tokens(["<|endoftext|>"])
    return {**json.loads(library.to_str()), **changes}


GPT2 = gpt2_like()


def whole(tokenizer: BPETokenizer, text: str) -> list[int]:
    """The library's ids of a text that was not cut."""
    return tokenizer._told.library.encode(text, add_special_tokens=False).ids


def test_the_alphabet_is_the_librarys():
    assert set(ALPHABET) == set(pre_tokenizers.ByteLevel.alphabet())
    (((spelled, _),)) = pre_tokenizers.ByteLevel(add_prefix_space=False).pre_tokenize_str("aé\x00".replace(" ", ""))[:1]
    assert bytes(ALPHABET[c] for c in spelled) == "aé\x00".encode()[: len(spelled)]


def test_the_most_frequent_pairs_become_tokens_within_their_pieces():
    tokenizer = BPETokenizer.train(["I love dogs, I love cats. 12345\n\n  I"] * 3, vocab_size=300)
    shown = [tokenizer.token_text(i) for i in tokenizer.encode("I love dogs\n\n  I 12345")]
    assert shown == ["I", "·love", "·dogs", "↵↵", "·", "·I", "·", "123", "45"]
    assert tokenizer.vocab_size < 300, "what occurs once is learned by nobody"


def test_vocab_size_counts_every_id():
    assert BPETokenizer.train([VERSE * 3], vocab_size=270).vocab_size == 270
    tokenizer = BPETokenizer.train([VERSE * 3], vocab_size=270, eot=True, unk=True)
    assert (tokenizer.vocab_size, tokenizer.eot_id, tokenizer.unk_id) == (270, 269, None)
    assert BPETokenizer.train([], vocab_size=256).vocab_size == 256
    with pytest.raises(TokenizerError, match="vocab_size=256 is less than the 257 ids"):
        BPETokenizer.train([VERSE], vocab_size=256, eot=True)


@given(st.one_of(st.text(), TRICKY), st.integers(1, 8))
def test_parts_have_the_ids_of_the_whole(text, size):
    """However small the parts, and for GPT-2's pieces too."""
    for tokenizer in (TRAINED, BPETokenizer(GPT2)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(bpe, "_PART", size)
            assert tokenizer.encode(text).tolist() == whole(tokenizer, text)


TRAINED = BPETokenizer.train([VERSE * 5], vocab_size=330)


def test_learning_reads_one_text_at_a_time_and_cuts_long_ones(monkeypatch):
    monkeypatch.setattr(bpe, "_PART", 40)
    assert BPETokenizer.train([VERSE * 5], vocab_size=330).fingerprint == TRAINED.fingerprint
    read = []
    BPETokenizer.train((read.append(i) or VERSE for i in range(9)), vocab_size=300)
    assert read == list(range(9))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read as Linux counts it")
def test_learning_takes_memory_for_pieces_not_for_texts():
    """60 MB pass by; what stays is a few megabytes."""
    code = (
        "import resource; from clearhead.tokenizers.bpe import BPETokenizer\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024\n"
        "text = ' '.join(f'{n % 997} words of {n % 89}' for n in range(60_000)); before = peak()\n"
        "tokenizer = BPETokenizer.train((text for _ in range(60_000_000 // len(text))), vocab_size=1_000)\n"
        "print(peak() - before)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert int(told) < 150


def test_other_readers_of_the_format_read_the_same(tmp_path):
    tokenizer = BPETokenizer.train([VERSE * 5], vocab_size=330, eot=True)
    (tmp_path / "tokenizer.json").write_text(json.dumps(tokenizer.to_dict()["tokenizer"]), encoding="utf-8")
    theirs = Library.from_file(str(tmp_path / "tokenizer.json"))
    assert theirs.encode(VERSE).ids == tokenizer.encode(VERSE).tolist()
    assert theirs.decode(tokenizer.encode(VERSE).tolist()) == VERSE
    assert theirs.token_to_id("<|endoftext|>") == tokenizer.eot_id


def test_a_tokenizer_json_is_read_from_the_disk(tmp_path):
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(GPT2), encoding="utf-8")
    ours, theirs = open_tokenizer(path), Library.from_file(str(path))
    assert ours.vocab_size == theirs.get_vocab_size()
    assert ours.encode(VERSE).tolist() == theirs.encode(VERSE).ids
    assert (ours.eot_id, ours.token_text(ours.vocab_size - 1), ours.decode([ours.vocab_size - 1])) == (
        None,
        "<|endoftext|>",
        "",
    )
    with_eot = open_tokenizer(path, eot=True)
    assert (with_eot.vocab_size, with_eot.eot_id) == (ours.vocab_size, ours.vocab_size - 1)
    assert len(ours.encode("<|endoftext|>")) > 1, "a text that spells it is text"


def test_a_tokenizer_json_without_an_end_of_text_gets_one():
    document = gpt2_like(added_tokens=[])
    document["model"]["vocab"].pop("<|endoftext|>", None)
    tokenizer = BPETokenizer.of_document(document, eot=True)
    assert tokenizer.eot_id == tokenizer.vocab_size - 1 == len(document["model"]["vocab"])
    assert BPETokenizer.from_dict(tokenizer.to_dict()).eot_id == tokenizer.eot_id


def test_tokens_that_were_added_as_text_are_text():
    added = {"id": GPT2["added_tokens"][0]["id"] + 1, "content": "hill was", "special": False}
    tokenizer = BPETokenizer({**GPT2, "added_tokens": [*GPT2["added_tokens"], added]})
    ids = tokenizer.encode(VERSE).tolist()
    assert added["id"] in ids
    assert tokenizer.decode(ids) == VERSE


def test_the_tokenizer_of_another_run_is_a_file_too(tmp_path):
    from clearhead.tokenizers.base import save_tokenizer

    for tokenizer in (TRAINED, WordTokenizer.train([VERSE])):
        save_tokenizer(tokenizer, tmp_path / "tokenizer.json")
        assert open_tokenizer(tmp_path / "tokenizer.json").fingerprint == tokenizer.fingerprint


def without(vocab: dict, *tokens: str) -> dict:
    return {token: number for token, number in vocab.items() if token not in tokens}


def model(**changes) -> dict:
    return {"model": {**copy.deepcopy(GPT2["model"]), **changes}}


VOCAB, MERGES = GPT2["model"]["vocab"], GPT2["model"]["merges"]
REFUSED = {
    "another model": (model(type="Unigram"), "'Unigram', not BPE"),
    "no model": ({"model": []}, "no model"),
    "lower case": ({"normalizer": {"type": "Lowercase"}}, "normalises"),
    "characters": ({"pre_tokenizer": {"type": "Whitespace"}}, "do not spell bytes"),
    "a space put in": (
        {"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}},
        "does not come back",
    ),
    "spaces left out": (
        {
            "pre_tokenizer": {
                "type": "Sequence",
                "pretokenizers": [
                    {"type": "Split", "pattern": {"Regex": "\\s+"}, "behavior": "Removed", "invert": False},
                    GPT2["pre_tokenizer"],
                ],
            }
        },
        "does not come back",
    ),
    "an unknown splitter": (
        {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "Chinese"}, GPT2["pre_tokenizer"]]}},
        "Chinese",
    ),
    "a broken pattern": (
        {
            "pre_tokenizer": {
                "type": "Sequence",
                "pretokenizers": [
                    {"type": "Split", "pattern": {"Regex": "("}, "behavior": "Isolated", "invert": False},
                    GPT2["pre_tokenizer"],
                ],
            }
        },
        "library says",
    ),
    "dropout": (model(dropout=0.1), "dropout=0.1"),
    "a byte missing": (model(vocab=without(VOCAB, "Ġ"), merges=[]), "makes no token|no token for the byte|are not 0"),
    "a hole": (model(vocab={**VOCAB, "zz": 9_999}), "are not 0"),
    "an id twice": (model(vocab={**VOCAB, "zz": 5}), "are not 0"),
    "a merge of nothing": (model(merges=[*MERGES, ["q", "qq"]]), "makes no token"),
    "half a merge": (model(merges=["a"]), "no pair"),
    "ids that are words": (model(vocab={"a": "b"}), "no table"),
    "added without id": ({"added_tokens": [{"content": "x"}]}, "no id"),
    "no spelling": (model(vocab={**without(VOCAB, "!"), "\n": VOCAB["!"]}, merges=[]), "does not spell"),
}


@pytest.mark.parametrize(("changes", "says"), REFUSED.values(), ids=REFUSED)
def test_what_does_not_come_back_or_is_broken_is_refused_in_one_line(changes, says):
    with pytest.raises(TokenizerError, match=says) as caught:
        BPETokenizer.of_document({**GPT2, **changes})
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    "change", [{"name": "byte"}, {"eot_id": True}, {"eot_id": 0}, {"eot_id": 10**6}, {"tokenizer": None}, {"more": 1}]
)
def test_garbled_dicts_are_refused(change):
    with pytest.raises(TokenizerError):
        BPETokenizer.from_dict({**TRAINED.to_dict(), **change})


def test_a_person_can_read_every_token():
    shown = [TRAINED.token_text(i) for i in range(TRAINED.vocab_size)]
    assert {"<0x00>", "·", "A", "<0xE2>", "↵"} <= set(shown)
    assert all(text.isprintable() and " " not in text for text in shown)
