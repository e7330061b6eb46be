"""The compact form of a query's terms: one line, as it is typed.

::

    a beach at sunset -people -"palm trees" "red boat"^2 like:123^0.5

======================  ==========================================================
``words``               together one term, in the order in which they are written
``"red boat"``          stays among the words; full text takes it for a phrase
``"red boat"^2``        a term of its own with a weight; ``""`` in it is a quote
``-people``             away from it (weight -1); ``-"palm trees"^0.5`` weaker
``like:123``            more like segment 123; ``like:123^0.5``, ``-like:123``
======================  ==========================================================

User's words stay words. A minus counts only at the start of a word and before a letter, a
weight only after a quotation mark or a number, and nothing names a file: a sentence, an
address or a path is searched for as it stands. What contains none of the above comes back
unchanged, white space included.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from mmsearch.errors import QueryError
from mmsearch.query import Term

_NUMBER = r"\d+(?:\.\d+)?(?:[eE][+-]?\d{1,3})?"
_QUOTED = r'"(?P<quoted>(?:[^"]|"")+)"'
_SPECIAL = re.compile(
    rf"""(?<!\S)(?:
        (?P<minus>-)? {_QUOTED} (?:\^(?P<weight>{_NUMBER}))?
      | -(?P<word>[^\W\d_][\w'’\-]*)
      | (?P<away>-)? like:(?P<segment>[0-9]{{1,19}}) (?:\^(?P<strength>{_NUMBER}))?
    )(?!\S)""",
    re.VERBOSE,
)


def terms_of(text: str) -> list[Term]:
    """The terms of one line: the words first, then the others as they come."""
    terms: list[Term] = []
    words: list[str] = []
    end = 0
    for match in _SPECIAL.finditer(text):
        term = _term(match)
        if term is None:
            continue
        words.append(text[end : match.start()])
        end = match.end()
        terms.append(term)
    if not terms:
        return [Term(text=text)] if text.strip() else []
    rest = " ".join(" ".join([*words, text[end:]]).split())
    return [Term(text=rest), *terms] if rest else terms


def _term(match: re.Match[str]) -> Term | None:
    """What a special token stands for; None for a phrase, which stays among the words."""
    if match["word"] is not None:
        return Term(text=match["word"], weight=-1.0)
    if match["segment"] is not None:
        weight = float(match["strength"] or 1)
        return Term(segment=int(match["segment"]), weight=-weight if match["away"] else weight)
    content = match["quoted"].replace('""', '"')
    if not content.strip() or not (match["minus"] or match["weight"]):
        return None
    weight = float(match["weight"] or 1)
    return Term(text=content, weight=-weight if match["minus"] else weight)


def compact_of(terms: Sequence[Term]) -> str:
    """The line that `terms_of` reads as these terms.

    Raises QueryError for what has no compact form: files, vectors, a term's own channels.
    """
    parts: list[str] = []
    for place, term in enumerate(terms):
        if term.modalities or term.channels:
            raise QueryError("a term's own channels have no compact form; use JSON", param="terms")
        if term.segment is not None:
            sign = "-" if term.weight < 0 else ""
            parts.append(f"{sign}like:{term.segment}{_weight(term.weight)}")
        elif term.text is None:
            raise QueryError(f"a term of {term.kind} has no compact form", param="terms")
        elif place == 0 and term.weight == 1 and _is_plain(term.text, alone=len(terms) == 1):
            parts.append(term.text)
        else:
            quoted = '"' + term.text.replace('"', '""') + '"'
            weight = _weight(term.weight)
            parts.append(f"-{quoted}{weight}" if term.weight < 0 else f"{quoted}{weight or '^1'}")
    return " ".join(parts)


def _is_plain(text: str, *, alone: bool) -> bool:
    """Whether a text, before other tokens or alone, is read as nothing but itself.

    A lone quotation mark could pair with that of a later token.
    """
    if alone:
        return terms_of(text) == [Term(text=text)]
    tidy = text == " ".join(text.split())
    return tidy and '"' not in text and terms_of(text) == [Term(text=text)]


def _weight(weight: float) -> str:
    return "" if abs(weight) == 1 else f"^{abs(weight)!r}"
