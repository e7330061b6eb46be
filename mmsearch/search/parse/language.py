r"""The query language: one text, read the same from the API, the command line, the page and Python.

::

    a red boat             words: looked for by meaning and in full text
    "red boat"             a phrase that must appear
    -people -"palm trees"  excludes segments that hold the word or phrase
    boat OR ship           one of them is enough; also (boat OR ship OR "old barge")
    invoi*                 words that begin so
    type:image tag:beach   filters: FIELD:VALUE; -FIELD:VALUE negates; type:image OR type:video
    without:people         moves away from a meaning
    like:12                more like segment 12

`OR` binds more tightly than the space between words. Parentheses only enclose alternatives; several
words as one alternative are a phrase. A backslash before one of ``" * ( ) : -`` or before ``OR``
takes away its meaning. What makes no sense as syntax is words (a lone quotation mark, ``:)``,
``12:30``, ``-24``, ``C:\x``), so no text is a syntax error.

`parse` reads a text, `unparse` writes it, and ``parse(unparse(parse(text))) == parse(text)``.
Which fields exist depends on the library: `mmsearch.search.parse.reading` decides that.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

OR = "OR"
MAX_GROUPS = 100
"""Opening parentheses of one text that are tried as groups: each is read up to its end."""
MAX_GROUP_ITEMS = 200
_OPENING = {'"': '"', "“": "“”", "„": "“”"}
"""Opening quotation marks, and what closes them."""
_ESCAPABLE = frozenset('"“”„*():-')
_KEY = re.compile(r"[^\W\d]\w*(?:[.\-]\w+)*(?=:)")
_PREFIX = re.compile(r"\w\w$")
_BACKSLASHES = re.compile(r"\\+")


@dataclass(frozen=True, slots=True)
class Word:
    """A word as it stands in the text, punctuation included."""

    text: str
    prefix: bool = False
    """Only the beginning of a word: ``boat*``."""
    excluded: bool = False


@dataclass(frozen=True, slots=True)
class Phrase:
    """Words that must appear side by side."""

    text: str
    excluded: bool = False


@dataclass(frozen=True, slots=True)
class FieldValue:
    """``field:value``: a filter, if there is such a field; otherwise words."""

    field: str
    value: str
    """With its operator (``>1000``, ``2..5``), if it is not quoted."""
    quoted: bool = False
    """The value is literal: without operators and wildcards."""
    excluded: bool = False


@dataclass(frozen=True, slots=True)
class Alternatives:
    """``a OR b``: one of them is enough."""

    items: tuple[Word | Phrase | FieldValue, ...]
    excluded: bool = False


Item: TypeAlias = Word | Phrase | FieldValue | Alternatives


class _Or:
    """The operator between two alternatives, before it is applied."""


def parse(text: str) -> tuple[Item, ...]:
    """The items of a text, in order."""
    return tuple(_joined(_Scanner(text).items(in_group=False)))


def unparse(items: Sequence[Item]) -> str:
    """The text that `parse` reads as these items."""
    return " ".join(_unparsed(item) for item in items)


def source_of(item: FieldValue) -> str:
    """The field and value as they were typed, without the minus."""
    return f"{item.field}:{_quoted(item.value) if item.quoted else item.value}"


class _Scanner:
    def __init__(self, text: str, position: int = 0) -> None:
        self.text = text
        self.position = position
        self.in_group = False
        self.groups = 0

    def items(self, *, in_group: bool) -> list[Item | _Or]:
        """Items up to the end, or to the parenthesis that closes the group."""
        self.in_group = in_group
        items: list[Item | _Or] = []
        while True:
            while self.position < len(self.text) and self.text[self.position].isspace():
                self.position += 1
            if self.position >= len(self.text) or self._closes(self.position):
                return items
            if in_group and (self.text[self.position] == "(" or len(items) > MAX_GROUP_ITEMS):
                return []  # Groups do not nest.
            items.append(self._item())

    def _closes(self, position: int) -> bool:
        return self.in_group and self.text[position] == ")"

    def _ends(self, position: int) -> bool:
        """Whether a word or operator that reaches to `position` is complete there."""
        return position >= len(self.text) or self.text[position].isspace() or self._closes(position)

    def _item(self) -> Item | _Or:
        text, start = self.text, self.position
        if text.startswith(OR, start) and self._ends(start + len(OR)):
            self.position += len(OR)
            return _Or()
        excluded = text[start] == "-"
        self.position += excluded
        item = self._operand(excluded) if self.position < len(text) else None
        if item is None and excluded and self._starts_word(self.position):
            return replace(self._word(), excluded=True)
        if item is None:
            self.position = start
            return self._word()
        return item

    def _starts_word(self, position: int) -> bool:
        """A minus before a digit is part of the number, before another sign of a dash."""
        character = self.text[position : position + 1]
        return character == "_" or character.isalpha()

    def _operand(self, excluded: bool) -> Phrase | FieldValue | Alternatives | None:
        """What is more than a word; None where a word begins."""
        end = self._phrase_end(self.position)
        if end is not None:
            content = self.text[self.position + 1 : end]
            self.position = end + 1
            return Phrase(_unescaped(content), excluded)
        if self.text[self.position] == "(" and not self.in_group and self.groups < MAX_GROUPS:
            return self._group(excluded)
        return self._field_value(excluded)

    def _phrase_end(self, start: int) -> int | None:
        """Where the mark stands that closes the quotation opened at `start`."""
        text = self.text
        closing = _OPENING.get(text[start])
        if closing is None or (start and (text[start - 1] == '"' or _is_word(text[start - 1]))):
            return None
        position = start + 1
        while position < len(text):
            backslashes = _BACKSLASHES.match(text, position)
            if backslashes:
                position = backslashes.end()
                odd = len(backslashes[0]) % 2
                position += odd and position < len(text) and text[position] in '"“”„'
            elif text[position] in closing:
                return position if text[start + 1 : position].strip() else None
            elif closing != '"' and text[position] == "„":
                return None
            else:
                position += 1
        return None

    def _group(self, excluded: bool) -> Alternatives | None:
        """``(a OR b)``; None where the parentheses enclose anything else."""
        self.groups += 1
        inner = _Scanner(self.text, self.position + 1)
        items = _joined(inner.items(in_group=True))
        end = inner.position
        if not self.text.startswith(")", end) or not self._ends(end + 1):
            return None
        if len(items) != 1 or not isinstance(items[0], Alternatives):
            return None
        if excluded and any(isinstance(item, FieldValue) for item in items[0].items):
            return None
        self.position = end + 1
        return replace(items[0], excluded=excluded)

    def _field_value(self, excluded: bool) -> FieldValue | None:
        key = _KEY.match(self.text, self.position)
        if key is None:
            return None
        start = key.end() + 1
        if self._ends(start):
            return None
        if self.text[start] == '"':
            end = self._phrase_end(start)
            if end is not None and self._ends(end + 1):
                self.position = end + 1
                content = self.text[start + 1 : end]
                return FieldValue(key[0], _unescaped(content), True, excluded)
            return None
        end = start
        while not self._ends(end):
            end += 1
        self.position = end
        return FieldValue(key[0], self.text[start:end], excluded=excluded)

    def _word(self) -> Word:
        text, start = self.text, self.position
        out: list[str] = []
        prefix = False
        while not self._ends(self.position):
            character = text[self.position]
            backslashes = _BACKSLASHES.match(text, self.position)
            if backslashes:
                self.position = backslashes.end()
                following = text[self.position : self.position + 1]
                or_follows = (
                    backslashes.start() == start
                    and text.startswith(OR, self.position)
                    and self._ends(self.position + len(OR))
                )
                if or_follows:
                    self.position += len(OR)
                    return Word("\\" * (len(backslashes[0]) // 2) + OR)
                if following and following in _ESCAPABLE:
                    out.append("\\" * (len(backslashes[0]) // 2))
                    if len(backslashes[0]) % 2:
                        out.append(following)
                        self.position += 1
                else:
                    out.append(backslashes[0])
                continue
            if self.position > start and self._phrase_end(self.position) is not None:
                break
            if character == "*" and self._ends(self.position + 1) and _PREFIX.search("".join(out)):
                prefix = True
            else:
                out.append(character)
            self.position += 1
        return Word("".join(out), prefix)


def _joined(items: Sequence[Item | _Or]) -> list[Item]:
    """`OR` applied to its neighbours; one that has no two alternatives beside it is a word."""
    runs: list[list[Item]] = []
    joining = False
    for n, item in enumerate(items):
        if isinstance(item, _Or):
            following = items[n + 1] if n + 1 < len(items) else None
            joining = bool(runs) and _joins(runs[-1][-1]) and _joins(following)
            if not joining:
                runs.append([Word(OR)])
        elif joining:
            runs[-1].append(item)
            joining = False
        else:
            runs.append([item])
    return [run[0] if len(run) == 1 else Alternatives(_members(run)) for run in runs]


def _joins(item: Item | _Or | None) -> bool:
    return item is not None and not isinstance(item, _Or) and not item.excluded


def _members(run: Sequence[Item]) -> tuple[Word | Phrase | FieldValue, ...]:
    members: list[Word | Phrase | FieldValue] = []
    for item in run:
        members += item.items if isinstance(item, Alternatives) else (item,)
    return tuple(members)


def _is_word(character: str) -> bool:
    return character == "_" or character.isalnum()


def _unescaped(text: str) -> str:
    """Quoted text: of the backslashes before a mark or at the end, a pair stands for one."""

    def halved(match: re.Match[str]) -> str:
        return "\\" * (len(match[1]) // 2) + match[2]

    return re.sub(r"(\\+)([\"“”„]|\Z)", halved, text)


def _unparsed(item: Item) -> str:
    if isinstance(item, Alternatives):
        inner = " OR ".join(_unparsed_operand(part, in_group=item.excluded) for part in item.items)
        return f"-({inner})" if item.excluded else inner
    return _unparsed_operand(item)


def _unparsed_operand(item: Word | Phrase | FieldValue, *, in_group: bool = False) -> str:
    sign = "-" if item.excluded else ""
    if isinstance(item, Phrase):
        return sign + _quoted(item.text)
    if isinstance(item, FieldValue):
        return sign + source_of(item)
    return sign + _escaped_word(item, in_group=in_group)


def _quoted(text: str) -> str:
    doubled = re.sub(r"(\\+)(?=[\"“”„]|\Z)", r"\1\1", text)
    return '"' + re.sub(r"([\"“”„])", r"\\\1", doubled) + '"'


def _escaped_word(word: Word, *, in_group: bool) -> str:
    text = word.text
    if text.lstrip("\\") == OR and not word.excluded and not word.prefix:
        return "\\" * (2 * (len(text) - len(OR)) or 1) + OR
    key = _KEY.match(text)
    out: list[str] = []
    position = 0
    while position < len(text):
        backslashes = _BACKSLASHES.match(text, position)
        if backslashes:
            position = backslashes.end()
            following = text[position : position + 1] or ("*" if word.prefix else "")
            special = bool(following) and following in _ESCAPABLE
            out.append(backslashes[0] * (2 if special else 1))
            if position < len(text) and special:
                out.append("\\" + following)
                position += 1
            continue
        character = text[position]
        last = position == len(text) - 1
        escape = (
            character in '"“”„'
            or (character in "-(" and position == 0)
            or (character == ")" and in_group)
            or (character == "*" and last and not word.prefix)
            or (character == ":" and key is not None and position == key.end())
        )
        out.append("\\" * escape + character)
        position += 1
    return "".join(out) + "*" * word.prefix
