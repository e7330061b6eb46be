"""What a model is asked about a candidate, and how what it says becomes a score.

Every question is about one candidate alone (pointwise): small models cannot put lists in order.
The query enters as one plain line in quotation marks, never as a template or an instruction of
ours; a model may still be swayed by what it reads in a query or a document, which is why its
answer is only ever read as a number or a yes, and only ever moves a hit up or down.
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
"""Characters of a query that are read; a description is a sentence, not a page."""
MAX_TEXT = 4000
"""Characters of a candidate's text that are read."""
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
    """A worked example that rides in the prompt."""

    query: str
    answer: bool
    text: str | None = None
    image: bytes | None = None
    """An encoded picture."""


def one_line(query: str) -> str:
    """The query as one plain phrase: no line breaks, no quotation marks that end ours."""
    return " ".join(query.split())[:MAX_QUERY].replace('"', "'") or "anything"


def question(query: str, *, picture: bool) -> str:
    """The yes-or-no question about one candidate."""
    return (PICTURE_QUESTION if picture else TEXT_QUESTION).replace("{}", one_line(query))


def grade(query: str, *, picture: bool, reason: bool) -> str:
    """The question for a grade from 0 to 10, to be answered as `GRADE_SCHEMA` says."""
    asked = (PICTURE_GRADE if picture else TEXT_GRADE).replace("{}", one_line(query))
    return asked + (AS_JSON_WITH_REASON if reason else AS_JSON)


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


# ------------------------------------------------------------------ reading answers


def yes_or_no(answer: str) -> float | None:
    """1 for yes, 0 for no, by the first word; None for anything else."""
    match = _WORD.search(answer)
    word = match[0].casefold() if match else ""
    return 1.0 if word in _YES else 0.0 if word in _NO else None


def yes_share(logprobs: Mapping[str, float] | Sequence[tuple[str, float]]) -> float | None:
    """P(yes) / (P(yes) + P(no)) of the first token's alternatives; None if neither is there.

    Spellings ("Yes", " yes") are added up. Where only one of the two is listed, the other is
    less likely than everything listed: it is given the least likely one's probability, but never
    more than the listed one's.
    """
    pairs = list(logprobs.items() if isinstance(logprobs, Mapping) else logprobs)
    pairs = [(token, value) for token, value in pairs if not math.isnan(value) and value <= 1e-3]
    yes = sum(math.exp(v) for t, v in pairs if t.strip(" \t\n▁Ġ\"'.").casefold() == "yes")
    no = sum(math.exp(v) for t, v in pairs if t.strip(" \t\n▁Ġ\"'.").casefold() == "no")
    if yes <= 0 and no <= 0:
        return None
    floor = min(math.exp(value) for _, value in pairs)
    yes, no = (yes or min(floor, no)), (no or min(floor, yes))
    if len(pairs) == 1:  # nothing else is listed: there is no floor to go by
        return 1.0 if pairs[0][0].strip(" \t\n▁Ġ\"'.").casefold() == "yes" else 0.0
    return yes / (yes + no)


def read_grade(answer: str) -> tuple[float, str | None] | None:
    """Score 0..1 and reason of a graded answer, however the model wrapped it; None if none.

    JSON first, wherever it stands in the answer; then a lone number from 0 to 10; then yes or
    no. A number outside 0..10 is no grade.
    """
    for found in _json_objects(answer):
        value = found.get("score")
        if isinstance(value, str):
            value = _number(value)
        if isinstance(value, int | float) and not isinstance(value, bool):
            score = _tenth(float(value))
            if score is not None:
                said = found.get("reason")
                return score, shortened(said) if isinstance(said, str) else None
    of_ten = _OF_TEN.search(answer)
    if of_ten is not None:
        score = _tenth(float(of_ten[1].replace(",", ".")))
        return (score, None) if score is not None else None
    numbers = _NUMBER.findall(answer)
    if len(numbers) == 1:
        score = _tenth(float(numbers[0].replace(",", ".")))
        return (score, None) if score is not None else None
    said_so = yes_or_no(answer) if not numbers else None
    return (said_so, None) if said_so is not None else None


def looks_like_refusal(answer: str) -> bool:
    """Whether the model declined, as far as its words tell."""
    start = answer.strip().casefold().replace("\u2019", "'")[:200]
    return any(sign in start for sign in _REFUSALS)


def problem_of(answer: str) -> str:
    """What was wrong with an answer that could not be read."""
    if not answer.strip():
        return NO_ANSWER
    return REFUSED if looks_like_refusal(answer) else "answered something else than was asked"


def shortened(reason: str) -> str | None:
    """A reason as one line of bounded length; None if it is empty."""
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
    """The JSON objects in a text, in a code fence or between words."""
    decoder = json.JSONDecoder()
    found: list[dict[str, Any]] = []
    start = text.find("{")
    while start >= 0 and len(found) < 4:
        try:
            value, length = decoder.raw_decode(text[start:])
        except (ValueError, RecursionError):
            length = 1
        else:
            if isinstance(value, dict):
                found.append(value)
        start = text.find("{", start + length)
    return found


# ------------------------------------------------------------------ examples


def read_examples(path: Path) -> tuple[Example, ...]:
    """The worked examples of a JSON file; pictures are files beside it. Raises SettingsError."""
    path = path.expanduser()
    try:
        items = json.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise SettingsError(f"{path}: {error}", param="rerank_examples") from None
    if not isinstance(items, list) or len(items) > MAX_EXAMPLES:
        raise SettingsError(
            f"{path}: a list of at most {MAX_EXAMPLES} examples is needed", param="rerank_examples"
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
