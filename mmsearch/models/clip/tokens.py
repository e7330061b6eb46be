"""Tokenising for open_clip models: texts to token ids, and their number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mmsearch.models import loading
from mmsearch.models.clip.checkpoint import quiet_root_logger
from mmsearch.models.clip.source import Source
from mmsearch.models.text import readable

if TYPE_CHECKING:
    from torch import Tensor

_LONGEST_WORD = 1000
_MAX_CACHED_WORDS = 100_000


def load_tokenizer(source: Source) -> Any:
    """open_clip's tokenizer of this model. Raises DamagedModelError."""
    import open_clip
    from open_clip.tokenizer import HFTokenizer

    if source.tokenizer is None:
        with quiet_root_logger():
            return open_clip.get_tokenizer(source.architecture)
    text = source.config["text_cfg"]
    try:
        return HFTokenizer(
            str(source.tokenizer),
            context_length=text.get("context_length", 77),
            tokenizer_mode=text.get("tokenizer_mode"),
            local_files_only=True,
            **text.get("tokenizer_kwargs", {}),
        )
    except (OSError, ValueError, ImportError) as error:
        raise loading.unreadable(f"tokenizer of {source.model}", source.tokenizer, error) from error


def tokenize(tokenizer: Any, texts: Sequence[str], context: int) -> Tensor:
    """(n, context) int64, padded as open_clip pads."""
    plain = map(_split_long_words, readable.without_surrogates(texts))
    return tokenizer(list(plain), context_length=context)


def count_tokens(tokenizer: Any, texts: Sequence[str]) -> list[int]:
    """Tokens of each text, special tokens included, without truncation."""
    texts = [_split_long_words(text) for text in texts]
    if hasattr(tokenizer, "bpe_ranks"):  # open_clip's SimpleTokenizer
        if len(tokenizer.cache) > _MAX_CACHED_WORDS:
            # Its cache of words is unbounded and would grow during an indexing run.
            tokenizer.cache = {t: t for t in ("<start_of_text>", "<end_of_text>")}
        return [len(tokenizer.encode(text)) + 2 for text in texts]
    cleaned = [tokenizer.clean_fn(text) for text in readable.without_surrogates(texts)]
    special = tokenizer.tokenizer_mode != "clips"
    ids = tokenizer.tokenizer(cleaned, add_special_tokens=special, verbose=False).input_ids
    return [len(row) + (0 if special else 3) for row in ids]


def can_read(tokenizer: Any, texts: Sequence[str]) -> npt.NDArray[np.bool_]:
    """Texts of which the tokenizer knows enough; shape (len(texts),)."""
    if hasattr(tokenizer, "bpe_ranks"):  # byte-level: it has no unknown token
        return readable.has_content(texts)
    return readable.by_tokenizer(
        tokenizer.tokenizer, [_split_long_words(tokenizer.clean_fn(text)) for text in texts]
    )


def _split_long_words(text: str) -> str:
    """Split words of thousands of letters: byte-pair merging is quadratic in their length."""
    if len(text) <= _LONGEST_WORD:
        return text
    step = _LONGEST_WORD
    return " ".join(
        " ".join(word[i : i + step] for i in range(0, len(word), step)) for word in text.split()
    )
