"""The channels of the first stage, and which of them a term searches."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mmsearch.errors import QueryError
from mmsearch.query import Query, Term
from mmsearch.types import Modality

Channel = tuple[str, Modality]
"""(space name, target modality)."""

LEXICAL = "lexical"
"""The channel of full text, where a term may be restricted to it by name."""

LEXICAL_TARGET: tuple[Channel, ...] = tuple((LEXICAL, modality) for modality in Modality)

WORDS_TARGET: tuple[Channel, ...] = (
    ("clip", Modality.IMAGE),
    ("clip", Modality.VIDEO),
    ("clip", Modality.PAGE),
    ("text", Modality.TEXT),
    ("text", Modality.SPEECH),
    ("text", Modality.IMAGE),
    ("text", Modality.VIDEO),
    ("sound", Modality.SOUND),
)
"""What words search: pictures through CLIP; written and spoken words, also those read in a
picture, through the text space, which knows far more about language than CLIP's text tower."""

PICTURE_TARGET: tuple[Channel, ...] = (
    ("clip", Modality.IMAGE),
    ("clip", Modality.VIDEO),
    ("clip", Modality.PAGE),
    ("clip", Modality.TEXT),
    ("clip", Modality.SPEECH),
)
"""What a picture searches: only CLIP compares it with anything."""

SOUND_TARGET: tuple[Channel, ...] = (("sound", Modality.SOUND),)
"""What the sound of a recording searches."""


def restrict_channels(channels: Iterable[Channel], term: Term, space: str) -> list[Channel]:
    """The default channels of a term's content in a space, or those of it that the term names.

    "clip" names the default ones of a space (or all, if none is default), "clip:page" that one.
    """
    defaults = [channel for channel in channels if channel[0] == space]
    if not term.channels:
        return defaults
    restricted: list[Channel] = []
    for name in term.channels:
        named, _, modality = name.partition(":")
        if named == space:
            whole = defaults or [(space, target) for target in Modality]
            restricted += [(space, Modality(modality))] if modality else whole
    return list(dict.fromkeys(restricted))


def searches(query: Query, term: Term, modality: Modality) -> bool:
    """Whether a term searches a modality, by its own restriction and that of its query."""
    return all(modality in wanted for wanted in (query.modalities, term.modalities) if wanted)


def check_channels(query: Query, spaces: Sequence[str]) -> None:
    """Raise QueryError, which lists the channels, for a term that names another."""
    known = [*spaces, LEXICAL]
    for name in {name for term in query.terms for name in term.channels}:
        space, colon, modality = name.partition(":")
        if space not in known or (colon and modality not in set(Modality)):
            raise QueryError(
                f"there is no channel '{name}' here. Channels: {', '.join(known)}, each "
                f"also with one of {', '.join(Modality)} after a colon.",
                param="channels",
            )
