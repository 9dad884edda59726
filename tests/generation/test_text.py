import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from clearhead.config import GPTConfig, SamplingConfig
from clearhead.errors import TokenizerError
from clearhead.generation.text import Writer, draw_samples, encode_prompt, generate_samples, stream_text
from clearhead.models.decoding import ordinary
from clearhead.models.gpt import GPTLanguageModel
from clearhead.tokenizers.base import Tokenizer
from clearhead.tokenizers.byte import ByteTokenizer
from clearhead.tokenizers.char import CharTokenizer
from clearhead.tokenizers.word import WordTokenizer

CHAR = CharTokenizer.train(["hello world\n"])
CHAR_EOT_UNK = CharTokenizer.train(["hello world\n"], eot=True, unk=True)
BYTE = ByteTokenizer.train([""])


def gpt(tokenizer: Tokenizer, favourite: int | None = None, block_size: int = 8) -> GPTLanguageModel:
    """Random weights; the favourite, when there is one, is what greedy always draws."""
    torch.manual_seed(4)
    config = GPTConfig(
        vocab_size=tokenizer.vocab_size, block_size=block_size, n_embd=16, n_head=2, n_layer=1, head_bias=True
    )
    model = GPTLanguageModel(config).eval()
    model.lm_head.bias.data.zero_()
    if favourite is not None:
        model.lm_head.bias.data[favourite] = 100.0
    return model


def written(ids: list[int], tokenizer: Tokenizer, stop: tuple[str, ...] = ()) -> list[str]:
    writer = Writer(tokenizer, stop)
    return [*(writer.push(i) for i in ids), writer.finish()]


def test_prompts_of_a_single_text():
    assert encode_prompt(CHAR, "hello") == (CHAR.encode("hello").tolist(), [])
    assert encode_prompt(CHAR, "").ids == CHAR.encode("\n").tolist()
    assert encode_prompt(CharTokenizer.train(["abc"]), "").ids == [0]


def test_prompts_of_documents_begin_with_end_of_text():
    eot = CHAR_EOT_UNK.eot_id
    assert encode_prompt(CHAR_EOT_UNK, "").ids == [eot]
    assert encode_prompt(CHAR_EOT_UNK, "he").ids == [eot, *CHAR.encode("he").tolist()]


def test_unseen_pieces_are_dropped_named_or_refused():
    assert encode_prompt(CHAR, "hé€llé") == (CHAR.encode("hll").tolist(), ["é", "€"])
    assert encode_prompt(CHAR, "é€").ids == encode_prompt(CHAR, "").ids
    prompt = encode_prompt(CHAR_EOT_UNK, "hé")
    assert prompt.ids[1:] == [CHAR_EOT_UNK.encode("h")[0], CHAR_EOT_UNK.unk_id]
    assert prompt.dropped == ["é"]
    for tokenizer in (CHAR, CHAR_EOT_UNK):
        with pytest.raises(TokenizerError, match="never seen 'é', '€'"):
            encode_prompt(tokenizer, "hé€", strict=True)
    assert encode_prompt(CHAR, "hello", strict=True).dropped == []


def test_an_unseen_word_goes_and_the_words_that_contain_it_stay():
    tokenizer = WordTokenizer.train(["I love cats and catsup"])
    assert encode_prompt(tokenizer, "I love cat and catsup") == (
        tokenizer.encode("I love and catsup").tolist(),
        [" cat"],
    )


def test_prompts_longer_than_the_context_work_and_are_flagged():
    model = gpt(CHAR)
    assert encode_prompt(CHAR, "hello wo" * 3).exceeds(model)
    assert not encode_prompt(CHAR, "hello wo").exceeds(model)
    assert len("".join(stream_text(model, CHAR, "hello wo" * 3, SamplingConfig(max_new_tokens=5)))) == 5


@given(st.text())
def test_a_character_is_never_split(text):
    pieces = written(list(text.encode()), BYTE)
    assert "".join(pieces) == text
    assert "\ufffd" not in "".join(pieces) or "\ufffd" in text


def test_bytes_that_make_no_character_show_as_one():
    assert "".join(written([0x61, 0xE2, 0x82], BYTE)) == "a\ufffd"
    assert written([0xE2, 0x82, 0xAC], BYTE) == ["", "", "€", ""]


def test_stop_texts_are_held_back_and_left_out():
    ids = CHAR.encode("hello hello world").tolist()
    assert "".join(written(ids, CHAR, ("wor",))) == "hello hello "
    assert "".join(written(ids, CHAR, ("lo w", "hex"))) == "hello hel"
    assert written(CHAR.encode("hew").tolist(), CHAR, ("her",)) == ["", "", "hew", ""]
    assert written(CHAR.encode("he").tolist(), CHAR, ("her",)) == ["", "", "he"]


@given(st.text("ab", max_size=30), st.lists(st.text("ab", min_size=1, max_size=4), max_size=3))
def test_stopping_is_cutting_at_the_first_stop(text, stop):
    """Streamed character by character against the whole text: the stop that is complete first ends it."""
    ends = [(at + len(s), at) for s in stop if (at := text.find(s)) >= 0]
    first = min((end for end, _ in ends), default=None)
    expected = text if first is None else text[: min(at for end, at in ends if end == first)]
    assert "".join(written(list(text.encode()), BYTE, tuple(stop))) == expected


def test_nothing_is_written_after_the_end():
    eot = CHAR_EOT_UNK.eot_id
    assert eot is not None
    assert written([1, eot, 2, 3], CHAR_EOT_UNK, ("zz",)) == [CHAR_EOT_UNK.decode([1]), "", "", "", ""]


def test_end_of_text_ends_the_sample():
    assert generate_samples(gpt(CHAR_EOT_UNK, CHAR_EOT_UNK.eot_id), CHAR_EOT_UNK, "he", SamplingConfig()) == [""]


def test_unknown_is_never_written():
    model = gpt(CHAR_EOT_UNK, CHAR_EOT_UNK.unk_id)
    text = "".join(stream_text(model, CHAR_EOT_UNK, "", SamplingConfig(max_new_tokens=30)))
    assert text
    assert "\ufffd" not in text


def test_a_sample_is_the_same_alone_and_among_others():
    model = gpt(CHAR)
    sampling = SamplingConfig(max_new_tokens=20, num_samples=4, seed=3, stop=("lo", "d"))
    texts = generate_samples(model, CHAR, "he", sampling)
    assert texts == ["".join(stream_text(model, CHAR, "he", sampling, row=row)) for row in range(4)]
    assert len(set(texts)) == 4
    assert not any("d" in text for text in texts)
    fewer = SamplingConfig(max_new_tokens=20, num_samples=2, seed=3, stop=("lo", "d"))
    assert texts[:2] == generate_samples(model, CHAR, "he", fewer)


def test_more_samples_than_slots_take_turns(monkeypatch):
    model, sampling = gpt(CHAR), SamplingConfig(max_new_tokens=9, num_samples=7, stop=("lo", "d"))
    texts = generate_samples(model, CHAR, "he", sampling)
    monkeypatch.setattr("clearhead.generation.text.SLOTS", 2)
    assert generate_samples(model, CHAR, "he", sampling) == texts
    assert generate_samples(model, CHAR, "he", SamplingConfig(max_new_tokens=0, num_samples=2)) == ["", ""]


def test_samples_tell_their_tokens():
    sampling = SamplingConfig(max_new_tokens=9, logprobs=0)
    [sample] = draw_samples(gpt(CHAR), CHAR, "he", sampling)
    assert CHAR.decode([drawn.token for drawn in sample.drawn]) == sample.text
    assert all(drawn.logprob is not None and drawn.top == () for drawn in sample.drawn)


def test_a_stop_ends_the_work_too(monkeypatch):
    monkeypatch.setattr("clearhead.generation.batch.decoder_of", ordinary)
    model, calls = gpt(CHAR, favourite=int(CHAR.encode("l")[0])), []
    model.register_forward_pre_hook(lambda module, args: calls.append(1))
    text = list(stream_text(model, CHAR, "he", SamplingConfig(max_new_tokens=50, stop=("lll",))))
    assert (text, len(calls)) == ([], 1 + 3)  # the prompt, then "l" three times
