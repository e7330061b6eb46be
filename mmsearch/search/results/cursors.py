"""Cursors: the position in a search, in one opaque string that travels with the client.

A cursor holds the segments that have been shown, not a number of hits to skip: the next page is
the best of the others. So no page repeats or skips a hit, whatever is added, removed or ranked
differently in between, and the service stores nothing between pages.

It is bound to its query (everything but limit, facets and explanations) and to its library by a
checksum: a cursor of another query or library, or a damaged one, is refused. Only options that
differ from their defaults count, so that cursors outlive a release that adds options.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson

from mmsearch.errors import CursorError
from mmsearch.query import Query, Term
from mmsearch.search.parse.json_form import query_to_json, term_to_json

VERSION = 1
MAX_SHOWN = 5_000
"""Hits that one search can be followed through; beyond, a filter serves better."""
MAX_CHARACTERS = 64 * 1024

_SUM = 8
_DIGEST = 8


@dataclass(frozen=True, slots=True)
class Shown:
    """What a cursor holds."""

    mark: int
    """Id of the newest change when the first page was made."""
    segments: tuple[int, ...]
    """The representative segment of each hit that was shown, ascending."""


def cursor_of(query: Query, library: str, shown: Shown) -> str:
    """The cursor of the next page. Raises CursorError where the search goes too deep."""
    if len(shown.segments) > MAX_SHOWN:
        raise CursorError(
            f"a search can be followed through {MAX_SHOWN} hits; narrow it with a filter"
        )
    numbers = [VERSION, shown.mark, len(shown.segments), *_steps(shown.segments)]
    payload = _digest(query) + b"".join(_varint(number) for number in numbers)
    packed = zlib.compress(payload, 9)
    return base64.urlsafe_b64encode(_checksum(packed, library) + packed).decode().rstrip("=")


def shown_by(cursor: str, query: Query, library: str) -> Shown:
    """What a query's cursor holds. Raises CursorError."""
    damaged = CursorError("the cursor is damaged, or of another library")
    if len(cursor) > MAX_CHARACTERS:
        raise damaged
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise damaged from None
    if raw[:_SUM] != _checksum(raw[_SUM:], library):
        raise damaged
    # The checksum is keyed: what passes it was made by this module.
    payload = zlib.decompress(raw[_SUM:])
    if payload[:_DIGEST] != _digest(query):
        raise CursorError("the cursor belongs to another query: ask the same one for its next page")
    numbers = list(_numbers(payload[_DIGEST:]))
    if numbers[0] != VERSION:
        raise CursorError("the cursor was made by another version of mmsearch: search again")
    segments: list[int] = []
    last = 0
    for step in numbers[3 : 3 + numbers[2]]:
        last += step
        segments.append(last)
    return Shown(numbers[1], tuple(segments))


def fingerprint(query: Query) -> dict[str, Any]:
    """The options of a query that decide which hits come in which order, without defaults."""
    same = replace(query, cursor=None, limit=1, facets=(), reasons=False, explain=False)
    options = _without_defaults(query_to_json(same), _QUERY_DEFAULTS)
    options["terms"] = [_without_defaults(term, _TERM_DEFAULTS) for term in options["terms"]]
    return options


def _without_defaults(options: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if defaults.get(name) != value}


_QUERY_DEFAULTS = query_to_json(Query(limit=1)) | {"terms": None}
_TERM_DEFAULTS = term_to_json(Term(text=""))


def _digest(query: Query) -> bytes:
    text = orjson.dumps(fingerprint(query), option=orjson.OPT_SORT_KEYS)
    return hashlib.blake2b(text, digest_size=_DIGEST).digest()


def _checksum(packed: bytes, library: str) -> bytes:
    return hashlib.blake2b(packed, digest_size=_SUM, key=library.encode()[:64]).digest()


def _steps(ascending: Sequence[int]) -> Iterable[int]:
    last = 0
    for number in ascending:
        yield number - last
        last = number


def _varint(number: int) -> bytes:
    """Seven bits a byte, the lowest first (LEB128)."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _numbers(packed: bytes) -> Iterator[int]:
    number = shift = 0
    for byte in packed:
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            yield number
            number = shift = 0
