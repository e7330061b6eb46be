"""Passages of text and stretches of speech: the smallest parts that a search can return."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from mmsearch.types import Metadata, Modality, Place, SegmentDraft, Transcript, Utterance

CountTokens: TypeAlias = Callable[[Sequence[str]], list[int]]
"""Tokens of each text, special tokens included (`TextEmbedder.count_tokens`)."""

Span: TypeAlias = tuple[int, int]
"""(first character, last + 1)."""

# A tokenizer call has a price of its own, so texts are counted this many at a time.
_BATCH = 512
# Longer pieces are split before anything is counted: a line may be a megabyte long.
_MAX_CHARACTERS = 2000
# A line shorter than this was ended by its author (verse, lists, code), not by an editor.
_WRAPPED_LINE = 45

_PARAGRAPH_END = re.compile(r"\n[ \t]*(?:\n[ \t]*)+")
_HEADING = re.compile(r"#{1,6}[ \t]\S|={2,6}[ \t]\S")
_UNDERLINED = re.compile(r"\S[^\n]*\n[ \t]*(?:={3,}|-{3,}|~{3,}|\^{3,})[ \t]*")
# A sentence's mark with what closes it, before a space; in scripts that write none, anywhere.
_SENTENCE_END = re.compile(r"""[.!?…؟۔।॥]+['"”’»)\]]*(?=\s)|[。！？｡]+[」』）”’]*|\n""")
_LIST_ITEM = re.compile(r"[ \t]*(?:[-*+•]|\d{1,3}[.)])[ \t]")
_CLAUSE_END = re.compile(r"[,;:،؛)\]]+(?=\s)|[、，；：]|\s[-–—](?=\s)|\n")
_SPACE = re.compile(r"\s")
_ABBREVIATION = re.compile(
    r"(?:^|[\s(\[\"'“‘])(?:[A-Z]|Mr|Mrs|Ms|Dr|Prof|St|Jr|Sr|vs|etc|e\.g|i\.e|cf|al|No|Nr|Fig|Vol|"
    r"bzw|z\.B|d\.h|usw|ca|approx|Inc|Ltd|Co|pp?|M|Mme|Sra?)\.$"
)
# Combining marks, joiners and the like belong to the character before them.
_ATTACHED = re.compile(
    "[\u0300-\u036f\u0483-\u0489\u0591-\u05bd\u064b-\u065f\u0900-\u0903\u093a-\u094f\u0e31"
    "\u0e34-\u0e3a\u0e47-\u0e4e\u200c\u200d\u20d0-\u20f0\ufe00-\ufe0f\U0001f3fb-\U0001f3ff]"
)

# Whisper ends a segment where its window or a breath does. Pieces of one sentence are joined.
_JOIN_GAP, _JOIN_SECONDS, _JOIN_CHARACTERS, _SHORT_SECONDS = 1.0, 12.0, 300, 1.5
_SENTENCE_MARK = re.compile(r"[.!?…。！？؟।][\"'”’»)」』]*$")


def image_segment(metadata: Metadata | None = None) -> SegmentDraft:
    """The one segment of a picture: all of it."""
    return SegmentDraft(Modality.IMAGE, metadata=dict(metadata or {}))


# ------------------------------------------------------------------ text


@dataclass(frozen=True, slots=True)
class _Piece:
    """A sentence, or a part of an overlong one."""

    span: Span
    paragraph: int
    heading: bool
    tokens: int = 0


def passages(text: str, count_tokens: CountTokens, max_tokens: int) -> list[SegmentDraft]:
    """`text` in passages of whole sentences, each of at most `max_tokens` tokens.

    A heading begins a passage. Paragraphs are kept apart unless they are short. An overlong
    sentence is split at a clause, else a word, else a character. For every passage,
    text[char_start:char_end] == passage.text. Blank text has none.
    """
    pieces = _pieces(text, count_tokens, max_tokens)
    if not pieces:
        return []
    (empty,) = count_tokens([""])
    groups = _packed(pieces, max_tokens, empty)
    # Counts of sentences do not quite add up to the count of the whole.
    while True:
        counts = _count(text, [_extent(group) for group in groups], count_tokens)
        if all(n <= max_tokens or len(g) == 1 for n, g in zip(counts, groups, strict=True)):
            break
        groups = [
            part
            for count, group in zip(counts, groups, strict=True)
            for part in ([group] if count <= max_tokens or len(group) == 1 else _halved(group))
        ]
    return [
        SegmentDraft(Modality.TEXT, Place(char_start=start, char_end=end), text[start:end])
        for start, end in map(_extent, groups)
    ]


def _extent(group: Sequence[_Piece]) -> Span:
    return group[0].span[0], group[-1].span[1]


def _halved(group: list[_Piece]) -> list[list[_Piece]]:
    return [group[: len(group) // 2], group[len(group) // 2 :]]


def _count(text: str, spans: Sequence[Span], count_tokens: CountTokens) -> list[int]:
    counts: list[int] = []
    for first in range(0, len(spans), _BATCH):
        counts += count_tokens([text[a:b] for a, b in spans[first : first + _BATCH]])
    return counts


def _pieces(text: str, count_tokens: CountTokens, max_tokens: int) -> list[_Piece]:
    """All of `text` but space, in pieces of at most `max_tokens`, in order."""
    pieces = [
        _Piece(part, number, heading)
        for number, (paragraph, heading) in enumerate(_paragraphs(text))
        for sentence in _sentences(text, paragraph)
        for part in _bounded(text, sentence)
    ]
    uncounted = range(len(pieces))
    while uncounted:
        counts = _count(text, [pieces[i].span for i in uncounted], count_tokens)
        counted: list[_Piece] = []
        again: list[int] = []
        counted_tokens = dict(zip(uncounted, counts, strict=True))
        for index, piece in enumerate(pieces):
            tokens = counted_tokens.get(index, piece.tokens)
            start, end = piece.span
            if tokens <= max_tokens or end - start <= 1:
                counted.append(_Piece(piece.span, piece.paragraph, piece.heading, tokens))
                continue
            for half in _halves(text, piece.span):
                again.append(len(counted))
                counted.append(_Piece(half, piece.paragraph, piece.heading))
        pieces, uncounted = counted, again  # type: ignore[assignment]  # both are sequences
    return pieces


def _packed(pieces: Sequence[_Piece], max_tokens: int, empty: int) -> list[list[_Piece]]:
    """Consecutive pieces together, up to `max_tokens`; an empty text has `empty` tokens."""
    sizes: dict[int, int] = {}
    for piece in pieces:
        sizes[piece.paragraph] = sizes.get(piece.paragraph, 0) + piece.tokens - empty
    groups: list[list[_Piece]] = []
    tokens = 0
    for piece in pieces:
        tokens_here = piece.tokens - empty
        group = groups[-1] if groups else None
        if group is None or tokens + tokens_here + empty > max_tokens:
            close = True
        elif piece.paragraph == group[-1].paragraph or all(p.heading for p in group):
            close = False
        else:
            room = max_tokens - empty - tokens
            close = (
                piece.heading or tokens > max_tokens // 3 or sizes[piece.paragraph] > room
            )  # fmt: skip
        if close or group is None:
            groups.append([piece])
            tokens = tokens_here
        else:
            group.append(piece)
            tokens += tokens_here
    return groups


# ------------------------------------------------------------------ boundaries


def _stripped(text: str, start: int, end: int) -> Span | None:
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return (start, end) if start < end else None


def _paragraphs(text: str) -> Iterator[tuple[Span, bool]]:
    """(paragraph, whether it is a heading); a Markdown heading is one by itself."""
    start = 0
    for match in (*_PARAGRAPH_END.finditer(text), None):
        end = match.start() if match else len(text)
        paragraph = _stripped(text, start, end)
        start = match.end() if match else end
        if paragraph is None:
            continue
        first, last = paragraph
        # A heading and its text may stand on neighbouring lines.
        while _HEADING.match(text, first, last):
            newline = text.find("\n", first, last)
            if newline < 0:
                break
            heading = _stripped(text, first, newline)
            if heading:
                yield heading, True
            first = newline + 1
        rest = _stripped(text, first, last)
        if rest:
            underlined = _UNDERLINED.match(text, *rest)
            if underlined and underlined.end() < rest[1]:
                yield (rest[0], underlined.end()), True
                rest = _stripped(text, underlined.end(), rest[1])
                underlined = None
            if rest:
                yield rest, bool(underlined or _HEADING.match(text, *rest))


def _sentences(text: str, paragraph: Span) -> Iterator[Span]:
    start, stop = paragraph
    line = start
    for match in _SENTENCE_END.finditer(text, start, stop):
        end = match.end()
        if match[0] == "\n":
            short = match.start() - line < _WRAPPED_LINE
            line = end
            if not (short or _LIST_ITEM.match(text, end, stop)):
                continue
        elif match[0].startswith(".") and _goes_on(text, start, end, stop):
            continue
        sentence = _stripped(text, start, end)
        if sentence:
            yield sentence
        start = end
    rest = _stripped(text, start, stop)
    if rest:
        yield rest


def _goes_on(text: str, start: int, end: int, stop: int) -> bool:
    """Whether the full stop before `end` only marks an abbreviation or a number."""
    following = text[end : min(end + 2, stop)].strip()
    return following.islower() or bool(_ABBREVIATION.search(text[max(start, end - 12) : end]))


def _bounded(text: str, span: Span) -> Iterator[Span]:
    """`span` in parts of at most _MAX_CHARACTERS."""
    start, stop = span
    while stop - start > _MAX_CHARACTERS:
        middle = start + _MAX_CHARACTERS // 2
        end = _last_break(text, middle, start + _MAX_CHARACTERS)
        part = _stripped(text, start, end)
        if part:
            yield part
        start = end
    rest = _stripped(text, start, stop)
    if rest:
        yield rest


def _last_break(text: str, start: int, end: int) -> int:
    for pattern in (_CLAUSE_END, _SPACE):
        ends = [match.end() for match in pattern.finditer(text, start, end)]
        if ends:
            return ends[-1]
    return _whole_character(text, end, start)


def _halves(text: str, span: Span) -> list[Span]:
    """`span` in two, near its middle: at a clause, else a word, else a character."""
    start, end = span
    middle, reach = (start + end) // 2, (end - start) // 4
    split = None
    for pattern in (_CLAUSE_END, _SPACE):
        ends = [m.end() for m in pattern.finditer(text, middle - reach, middle + reach)]
        if ends:
            split = min(ends, key=lambda at: abs(at - middle))
            break
    if split is None or not start < split < end:
        split = _whole_character(text, middle, start)
    halves = (_stripped(text, start, split), _stripped(text, split, end))
    return [half for half in halves if half]


def _whole_character(text: str, split: int, start: int) -> int:
    """`split`, or a little before it, so that no accent or emoji is split."""
    earliest = max(start + 1, split - 16)
    at = split
    while at > earliest and (_ATTACHED.match(text, at) or text[at - 1] == "\u200d"):
        at -= 1
    return at if at > earliest else split


# ------------------------------------------------------------------ speech


def speech_segments(transcript: Transcript, offset_seconds: float) -> list[SegmentDraft]:
    """One segment per recognised stretch, in seconds of the whole recording.

    Stretches that end inside a sentence or last only a moment are joined with what the same
    speaker says at once. Metadata: "language", and where known "words" as [text, start, end],
    "speaker" (1 for who speaks first), "translated" (true: `text` is English, "language" is not).
    """
    groups: list[list[Utterance]] = []
    for utterance in transcript.utterances:
        if not utterance.text.strip():
            continue
        if groups and _belongs(groups[-1], utterance):
            groups[-1].append(utterance)
        else:
            groups.append([utterance])
    return [_speech(group, transcript, offset_seconds) for group in groups]


def _belongs(group: Sequence[Utterance], following: Utterance) -> bool:
    last = group[-1]
    complete = bool(_SENTENCE_MARK.search(last.text.rstrip()))
    short = last.end - group[0].start < _SHORT_SECONDS
    characters = sum(len(u.text) for u in group) + len(following.text)
    return (
        (short or not complete)
        and (last.speaker, last.language) == (following.speaker, following.language)
        and following.start - last.end <= _JOIN_GAP
        and following.end - group[0].start <= _JOIN_SECONDS
        and characters <= _JOIN_CHARACTERS
    )


def _speech(
    group: Sequence[Utterance], transcript: Transcript, offset_seconds: float
) -> SegmentDraft:
    start = round(offset_seconds + group[0].start, 3)
    end = round(max(start, offset_seconds + group[-1].end), 3)
    metadata: dict[str, Any] = {}
    language = group[0].language or transcript.language
    if language:
        metadata["language"] = language
    if group[0].translated:
        metadata["translated"] = True
    if group[0].speaker is not None:
        metadata["speaker"] = group[0].speaker
    words = [
        [word.text.strip(), round(offset_seconds + word.start, 2),
         round(offset_seconds + word.end, 2)]
        for utterance in group
        for word in utterance.words
    ]  # fmt: skip
    if words:
        metadata["words"] = words
    text = " ".join(utterance.text.strip() for utterance in group)
    return SegmentDraft(Modality.SPEECH, Place(start=start, end=end), text, metadata)
