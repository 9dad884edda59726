import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearhead.errors import TokenizerError
from clearhead.tokenizers.base import Tokenizer
from clearhead.tokenizers.byte import ByteTokenizer


@given(st.text(), st.booleans())
def test_every_text_at_all_comes_back(text, eot):
    tokenizer: Tokenizer = ByteTokenizer.train(["anything"], eot=eot)
    ids = tokenizer.encode(text)
    assert ids.tolist() == list(text.encode())
    assert tokenizer.decode(ids) == text
    assert tokenizer.unknown(text) == []


@given(st.binary())
def test_every_byte_string_comes_back(data):
    tokenizer = ByteTokenizer(eot=True)
    assert tokenizer.decode_bytes([256, *data, 256]) == data
    assert tokenizer.decode(list(data)) == data.decode(errors="replace")


def test_sizes_and_types():
    assert (ByteTokenizer().vocab_size, ByteTokenizer().eot_id) == (256, None)
    tokenizer = ByteTokenizer.train([], eot=True, unk=True)
    assert (tokenizer.vocab_size, tokenizer.eot_id, tokenizer.unk_id) == (257, 256, None)
    assert tokenizer.encode("é").dtype == np.uint16


def test_lone_surrogates_are_refused_by_name():
    text = "a\udc80b\udc80"
    with pytest.raises(TokenizerError, match=r"U\+DC80.*offset 1 "):
        ByteTokenizer().encode(text)
    assert ByteTokenizer().unknown(text) == ["\udc80"]
    assert ByteTokenizer().hidden_characters(text) == 2


def test_a_person_can_read_every_token():
    shown = [ByteTokenizer(eot=True).token_text(i) for i in range(257)]
    assert len(set(shown)) == 257
    assert (shown[0], shown[32], shown[65], shown[0xE2], shown[256]) == ("<0x00>", "·", "A", "<0xE2>", "<|endoftext|>")


@pytest.mark.parametrize(
    "data", [[], {}, {"name": "byte"}, {"name": "byte", "eot": "yes"}, {"name": "char", "eot": True}]
)
def test_garbled_dicts_are_refused(data):
    with pytest.raises(TokenizerError):
        ByteTokenizer.from_dict(data)


def test_its_dict_makes_it_again():
    tokenizer = ByteTokenizer(eot=True)
    assert ByteTokenizer.from_dict(tokenizer.to_dict()).fingerprint == tokenizer.fingerprint
    assert tokenizer.fingerprint != ByteTokenizer().fingerprint
    with pytest.raises(TokenizerError, match="256 is outside"):
        ByteTokenizer().decode([256])
