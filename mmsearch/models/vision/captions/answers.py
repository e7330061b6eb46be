"""The prompt for captions, and the extraction of a caption from a model's answer.

A caption is plain text in an index. Reasoning, markup, refusals, long answers and repetitions are
removed or shortened: what remains is one or two plain sentences, or None.
"""

from __future__ import annotations

import re
import unicodedata

from mmsearch.models.speech.hallucinations import loops

INSTRUCTION = (
    "Describe this picture in one or two plain sentences for somebody who cannot see it: what and "
    "who is in it, what happens, where. Say only what can be seen. Answer with the description "
    "alone, without a preamble."
)
MAX_TOKENS = 120
MAX_CHARACTERS = 400

_THOUGHTS = re.compile(r"<(think|thinking|reasoning)>.*?(?:</\1>|\Z)", re.DOTALL | re.IGNORECASE)
_FENCE = re.compile(r"```\w*")
_PREAMBLE = re.compile(
    r"^(?:sure|certainly|of course|okay|ok)?[,!.:\s]*(?:here(?:'s| is)[^:\n]{0,60}:|"
    r"(?:the |alt |image |picture )*(?:caption|description|alt[- ]text)\s*(?:is)?\s*:)\s*",
    re.IGNORECASE,
)
_MARKUP = re.compile(r"[*_`#>]+|<[^>]{1,80}>")
_REFUSAL = re.compile(
    r"\b(?:i(?:'m| am) (?:sorry|unable|not able|afraid)|i (?:cannot|can't|can not|won't|could not|"
    r"couldn't)|as an ai|unable to (?:view|see|process|describe|assist)|no (?:image|picture) "
    r"(?:was |is |has been )?(?:provided|attached|given|shown)|(?:please )?(?:upload|provide) "
    r"(?:the|an|a) (?:image|picture))",
    re.IGNORECASE,
)
_SENTENCE_END = re.compile(r"[.!?。！？](?=\s|$)")
_QUOTES = "\"'“”‘’«»"


def caption_of(answer: str) -> str | None:
    """The caption in an answer; None if there is no usable one."""
    text = _THOUGHTS.sub(" ", answer[:20_000])
    text = "".join(
        character if character in "\n\t" or unicodedata.category(character)[0] != "C" else " "
        for character in text
    )
    text = _MARKUP.sub(" ", _FENCE.sub(" ", text)).strip()
    text = " ".join(_PREAMBLE.sub("", text).split()).strip(_QUOTES + " ")
    if sum(map(str.isalpha, text)) < 3 or _REFUSAL.search(text[:200]):
        return None
    if loops(text) or _is_repetitive(text.casefold().split()):
        return None
    return _shortened(text)


def _is_repetitive(words: list[str]) -> bool:
    """Whether there are many words and few distinct ones."""
    return len(words) >= 12 and len(set(words)) < 0.15 * len(words)


def _shortened(text: str) -> str:
    """At most MAX_CHARACTERS, ending with a whole sentence if that leaves a quarter of them."""
    if len(text) <= MAX_CHARACTERS:
        return text
    ends = [match.end() for match in _SENTENCE_END.finditer(text, 0, MAX_CHARACTERS)]
    if ends and ends[-1] >= MAX_CHARACTERS // 4:
        return text[: ends[-1]]
    space = text.rfind(" ", 0, MAX_CHARACTERS - 1)
    return text[: space if space > 0 else MAX_CHARACTERS - 1].rstrip(",;: ") + "…"
