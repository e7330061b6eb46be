"""The earlier typed line, which only the JSON key `compact` takes. Deprecated; use `query`.

::

    a beach at sunset -people -"palm trees"^0.5 "red boat"^2 like:123^0.5

Words are one term. ``-people`` is a term with weight -1, ``"red boat"^2`` a term with a weight
(``""`` in it is a quote), ``like:123`` a segment. A minus counts only at the start of a word and
before a letter, a weight only after a quotation mark or a number.
"""

from __future__ import annotations

import re

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
