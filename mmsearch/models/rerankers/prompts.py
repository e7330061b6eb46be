"""Prompts for reranking, and the parsing of answers into scores.

Each prompt is about one candidate (pointwise): small models cannot order lists. The query is
inserted as one plain line in quotation marks. A query or document may still try to instruct the
model (prompt injection): answers are only parsed as a number or a yes, and only change the order
of hits.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmsearch.errors import SettingsError

MAX_QUERY = 400
"""Longer queries are truncated to this many characters."""
MAX_TEXT = 4000
"""Longer texts of candidates are truncated to this many characters."""
MAX_REASON = 300
MAX_EXAMPLES = 16

REFUSED = "refused to answer"
NO_ANSWER = "gave no answer"

PICTURE_QUESTION = 'Does this picture show "{}"? Answer yes or no.'
TEXT_QUESTION = 'Is this text about "{}"? Answer yes or no.'
PICTURE_GRADE = (
    'How well does this picture match the description "{}"? '
    "Give a score from 0 (not at all) to 10 (perfectly)."
)
TEXT_GRADE = (
    'How well does this text answer the search "{}"? '
    "Give a score from 0 (not at all) to 10 (perfectly)."
)
AS_JSON = ' Answer with JSON only: {"score": number}.'
AS_JSON_WITH_REASON = ' Answer with JSON only: {"score": number, "reason": "one short sentence"}.'

_YES = frozenset({"yes", "y", "true"})
_NO = frozenset({"no", "n", "false"})
_WORD = re.compile(r"[^\W\d_]+")
_NUMBER = re.compile(r"(?<![\w.])-?\d+(?:[.,]\d+)?")
_OF_TEN = re.compile(r"(\d+(?:[.,]\d+)?)\s*(?:/|out of)\s*10\b")
_REFUSALS = ("sorry", "cannot", "can't", "can not", "unable", "i won't", "not able", "as an ai")


@dataclass(frozen=True, slots=True)
class Example:
    """A few-shot example, part of every prompt."""

    query: str
    answer: bool
    text: str | None = None
    image: bytes | None = None
    """An encoded picture (JPEG, PNG or WebP)."""


def one_line(query: str) -> str:
    """The query on one line, without double quotation marks, which would end the prompt's."""
    return " ".join(query.split())[:MAX_QUERY].replace('"', "'") or "anything"


def question(query: str, *, picture: bool) -> str:
    """The yes-or-no question about one candidate."""
    return (PICTURE_QUESTION if picture else TEXT_QUESTION).replace("{}", one_line(query))


def grade(query: str, *, picture: bool, reason: bool) -> str:
    """The question for a grade from 0 to 10; the answer has the form of `grade_schema`."""
    text = (PICTURE_GRADE if picture else TEXT_GRADE).replace("{}", one_line(query))
    return text + (AS_JSON_WITH_REASON if reason else AS_JSON)


def grade_schema(*, reason: bool) -> dict[str, Any]:
    """The JSON schema of a graded answer."""
    properties: dict[str, Any] = {"score": {"type": "number", "minimum": 0, "maximum": 10}}
    if reason:
        properties["reason"] = {"type": "string"}
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


# ------------------------------------------------------------------ parsing answers


def yes_or_no(answer: str) -> float | None:
    """1 if the first word is yes, 0 if it is no, else None."""
    match = _WORD.search(answer)
    word = match[0].casefold() if match else ""
    return 1.0 if word in _YES else 0.0 if word in _NO else None


def yes_share(logprobs: Mapping[str, float] | Sequence[tuple[str, float]]) -> float | None:
    """P(yes) / (P(yes) + P(no)) of the first token's alternatives; None if neither is there.

    The probabilities of spellings ("Yes", " yes") are summed. If only one of the two is listed,
    the other is less likely than every listed token: it gets the probability of the least likely
    one, at most that of the listed answer.
    """
    pairs = list(logprobs.items() if isinstance(logprobs, Mapping) else logprobs)
    pairs = [(token, value) for token, value in pairs if not math.isnan(value) and value <= 1e-3]
    yes = sum(math.exp(v) for t, v in pairs if t.strip(" \t\n▁Ġ\"'.").casefold() == "yes")
    no = sum(math.exp(v) for t, v in pairs if t.strip(" \t\n▁Ġ\"'.").casefold() == "no")
    if yes <= 0 and no <= 0:
        return None
    floor = min(math.exp(value) for _, value in pairs)
    yes, no = (yes or min(floor, no)), (no or min(floor, yes))
    if len(pairs) == 1:  # without other tokens there is no floor
        return 1.0 if pairs[0][0].strip(" \t\n▁Ġ\"'.").casefold() == "yes" else 0.0
    return yes / (yes + no)


def read_grade(answer: str) -> tuple[float, str | None] | None:
    """Score 0..1 and reason of a graded answer; None if it has no grade.

    In this order: JSON anywhere in the answer; "n/10"; a single number; yes or no. A number
    outside 0..10 is not a grade.
    """
    for graded in _json_objects(answer):
        value = graded.get("score")
        if isinstance(value, str):
            value = _number(value)
        if isinstance(value, int | float) and not isinstance(value, bool):
            score = _tenth(float(value))
            if score is not None:
                reason = graded.get("reason")
                return score, shortened(reason) if isinstance(reason, str) else None
    of_ten = _OF_TEN.search(answer)
    if of_ten is not None:
        score = _tenth(float(of_ten[1].replace(",", ".")))
        return (score, None) if score is not None else None
    numbers = _NUMBER.findall(answer)
    if len(numbers) == 1:
        score = _tenth(float(numbers[0].replace(",", ".")))
        return (score, None) if score is not None else None
    binary = yes_or_no(answer) if not numbers else None
    return (binary, None) if binary is not None else None


def looks_like_refusal(answer: str) -> bool:
    """Whether the beginning of the answer has words of a refusal."""
    start = answer.strip().casefold().replace("\u2019", "'")[:200]
    return any(sign in start for sign in _REFUSALS)


def problem_of(answer: str) -> str:
    """Why an answer could not be parsed."""
    if not answer.strip():
        return NO_ANSWER
    return REFUSED if looks_like_refusal(answer) else "answered something else than was asked"


def shortened(reason: str) -> str | None:
    """A reason on one line, at most MAX_REASON characters; None if it is empty."""
    flat = " ".join(reason.split())
    return (flat if len(flat) <= MAX_REASON else flat[: MAX_REASON - 1] + "…") or None


def _tenth(value: float) -> float | None:
    return value / 10 if math.isfinite(value) and 0 <= value <= 10 else None


def _number(text: str) -> float | None:
    try:
        return float(text.strip().removesuffix("/10"))
    except ValueError:
        return None


def _json_objects(text: str) -> list[dict[str, Any]]:
    """The JSON objects in a text, up to four, in a code fence or between words."""
    decoder = json.JSONDecoder()
    objects: list[dict[str, Any]] = []
    start = text.find("{")
    while start >= 0 and len(objects) < 4:
        try:
            value, length = decoder.raw_decode(text[start:])
        except (ValueError, RecursionError):
            length = 1
        else:
            if isinstance(value, dict):
                objects.append(value)
        start = text.find("{", start + length)
    return objects


# ------------------------------------------------------------------ examples


def read_examples(path: Path) -> tuple[Example, ...]:
    """The few-shot examples of a JSON file; pictures are files beside it. Raises SettingsError."""
    path = path.expanduser()
    try:
        items = json.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise SettingsError(f"{path}: {error}", param="rerank_examples") from None
    if not isinstance(items, list) or len(items) > MAX_EXAMPLES:
        raise SettingsError(
            f"{path} must be a list of at most {MAX_EXAMPLES} examples", param="rerank_examples"
        )
    return tuple(_example(item, path) for item in items)


def _example(item: Any, path: Path) -> Example:
    if (
        not isinstance(item, dict)
        or not isinstance(item.get("query"), str)
        or not isinstance(item.get("answer"), bool)
        or isinstance(item.get("text"), str) == isinstance(item.get("image"), str)
    ):
        raise SettingsError(
            f'{path}: an example has "query", "answer" (true or false), and "text" or "image": '
            f"{json.dumps(item)[:120]}",
            param="rerank_examples",
        )
    if isinstance(item.get("text"), str):
        return Example(item["query"], item["answer"], text=item["text"])
    picture = (path.parent / item["image"]).resolve()
    if not picture.is_relative_to(path.parent.resolve()):
        raise SettingsError(f"{path}: {item['image']} is not beside it", param="rerank_examples")
    try:
        return Example(item["query"], item["answer"], image=picture.read_bytes())
    except OSError as error:
        raise SettingsError(f"{path}: {error}", param="rerank_examples") from None
