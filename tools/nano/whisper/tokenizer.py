"""The tokenizer of nano-whisper: whole words of the vocabulary, letters and bytes for the rest.

A unigram model (`tokenizers`): a word of the vocabulary is one piece "▁word" (with the space
before it, as in Whisper), any other text falls back to letters and UTF-8 bytes, so that every
string can be written. Ids: text pieces, then the special tokens of an English-only Whisper, then
the 1501 timestamps; faster-whisper relies on that order (text < end of text < timestamps).
"""

from __future__ import annotations

import string

import tokenizers
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers

SPECIALS = (
    "<|endoftext|>",
    "<|startoftranscript|>",
    "<|translate|>",
    "<|transcribe|>",
    "<|startoflm|>",
    "<|startofprev|>",
    "<|nospeech|>",
    "<|notimestamps|>",
)
TIMESTAMPS = 1501  # <|0.00|> .. <|30.00|> in steps of 0.02 s.
# Whisper never lets these begin a word; without pieces of their own, "▁" alone would be barred.
_BARRED = ("▁-", "▁'", *(f"▁{sign}" for sign in "♩♪♫♬♭♮♯"))


def text_pieces(words: tuple[str, ...]) -> list[tuple[str, float]]:
    """Pieces and log scores of the unigram model: bytes, letters, then the words."""
    pieces: list[tuple[str, float]] = [("<unk>", -100.0)]
    pieces += [(f"<0x{byte:02X}>", -40.0) for byte in range(256)]
    pieces += [("▁", -12.0)]
    pieces += [(letter, -14.0) for letter in string.ascii_lowercase + "'"]
    pieces += [(piece, -15.0) for piece in _BARRED]
    taken = {piece for piece, _ in pieces}
    pieces += [(f"▁{word}", -6.0) for word in words if f"▁{word}" not in taken]
    return pieces


def token_strings(words: tuple[str, ...]) -> list[str]:
    """Every token by id, timestamps included."""
    tokens = [piece for piece, _ in text_pieces(words)]
    tokens += SPECIALS
    tokens += [f"<|{step * 0.02:.2f}|>" for step in range(TIMESTAMPS)]
    return tokens


def build_tokenizer(words: tuple[str, ...]) -> tokenizers.Tokenizer:
    """The `tokenizers` tokenizer that goes into tokenizer.json."""
    tokenizer = tokenizers.Tokenizer(
        models.Unigram(text_pieces(words), unk_id=0, byte_fallback=True)
    )
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Replace(" ", "▁")])
    tokenizer.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    specials = token_strings(words)[len(text_pieces(words)) :]
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in specials])
    return tokenizer
