"""Texts that a model cannot read."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from mmsearch.models.clip.openclip import OpenClipEmbedder
from mmsearch.models.runtime import Runtime
from mmsearch.models.text import readable
from mmsearch.models.text.sentence import SentenceEmbedder
from mmsearch.protocols import TextEmbedder

UNKNOWN = {
    "Hebrew": "\u05e9\u05dc\u05d5\u05dd \u05e2\u05d5\u05dc\u05dd",
    "Hebrew with punctuation": "\u05e9\u05dc\u05d5\u05dd, (\u05e2\u05d5\u05dc\u05dd)!",
    "Japanese": "\u3053\u3093\u306b\u3061\u306f\u4e16\u754c",
    "Thai": "\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35\u0e0a\u0e32\u0e27\u0e42\u0e25\u0e01",
    "Chinese": "\u7ea2\u8272\u7684\u8239",
    "Korean": "\ube68\uac04 \ubc30",
    "Russian": "\u043a\u0440\u0430\u0441\u043d\u0430\u044f \u043b\u043e\u0434\u043a\u0430",
    "Arabic": "\u0642\u0627\u0631\u0628 \u0623\u062d\u0645\u0631",
    "Hindi": "\u0928\u092e\u0938\u094d\u0924\u0947",
    "Arabic digits": "\u0661\u0662\u0663",
    "emoji": "\U0001f600\U0001f389",
    "mathematics": "\u2211\u222b\u221a",
    "one known word of many": "red \u05e9\u05dc\u05d5\u05dd \u05e2\u05d5\u05dc\u05dd",
    "nothing": "",
    "white space": " \t\n\u00a0\u200b",
    "control characters": "\x00\x01\x7f\u202e",
    "punctuation": "... \u2014 ?!",
}
KNOWN = {
    "English": "a red boat",
    "nonsense": "xqzv blorptangle",
    "digits": "4711",
    "a date": "2026-01-31",
    "accents": "na\u00efve caf\u00e9",
    "decomposed accents": "cafe\u0301",
    "half known": "a red boat \u05e9\u05dc\u05d5\u05dd",
    "curly quotes": "\u201cHello\u201d \u2013 it\u2019s",
    "with emoji": "I \u2764 this boat",
    "an address": "https://example.com/a",
    "a control character": "red\x00 boat\u202e",
    "a lone surrogate": "red \ud800 boat",
    "very long": "the red boat " * 500,
}


@pytest.fixture(scope="module", params=["nano-text", "nano-clip"])
def nano(request: pytest.FixtureRequest) -> Iterator[TextEmbedder]:
    adapter = SentenceEmbedder if request.param == "nano-text" else OpenClipEmbedder
    embedder = adapter(request.param, runtime=Runtime(threads=1))
    yield embedder
    embedder.release()


@pytest.mark.parametrize("text", UNKNOWN.values(), ids=UNKNOWN)
def test_texts_without_known_words_are_not_read(nano: TextEmbedder, text: str) -> None:
    assert nano.can_read([text]).tolist() == [False]


@pytest.mark.parametrize("text", KNOWN.values(), ids=KNOWN)
def test_texts_with_enough_known_words_are_read(nano: TextEmbedder, text: str) -> None:
    assert nano.can_read([text]).tolist() == [True]
    assert np.isfinite(nano.encode_texts([text], "query")).all()
    assert nano.count_tokens([text])[0] > 0


def test_each_text_is_decided_on_its_own(nano: TextEmbedder) -> None:
    texts = ["", UNKNOWN["Hebrew"], "a dog", UNKNOWN["emoji"], "4711"]
    assert nano.can_read(texts).tolist() == [False, False, True, False, True]
    assert nano.can_read([]).shape == (0,)


def test_a_tokenizer_without_unknown_words_reads_every_script() -> None:
    """Byte-level and multilingual tokenizers: only texts without any content are left out."""
    model = Tokenizer(
        models.BPE(
            vocab={c: n for n, c in enumerate(pre_tokenizers.ByteLevel.alphabet())}, merges=[]
        )
    )
    model.pre_tokenizer = pre_tokenizers.ByteLevel()
    fast = PreTrainedTokenizerFast(tokenizer_object=model)
    for tokenizer in (model, fast):
        for name in ("Hebrew", "Japanese", "Thai", "emoji"):
            assert readable.by_tokenizer(tokenizer, [UNKNOWN[name]]).all()
        assert not readable.by_tokenizer(tokenizer, ["", " ", "\x00", "?!"]).any()


def test_the_unknown_token_of_a_transformers_tokenizer() -> None:
    """Its own state of padding and truncation has no effect."""
    words = {word: n for n, word in enumerate(["[UNK]", "[PAD]", "red", "boat"])}
    model = Tokenizer(models.WordLevel(vocab=words, unk_token="[UNK]"))
    model.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = PreTrainedTokenizerFast(tokenizer_object=model, unk_token="[UNK]", pad_token="[PAD]")
    fast(["red boat", "red"], padding=True, truncation=True, max_length=1)
    texts = ["red boat", "blue ship", "red " * 5 + "ship", "ship " * 5 + "red", ""]
    assert readable.by_tokenizer(fast, texts).tolist() == [True, False, True, False, False]
