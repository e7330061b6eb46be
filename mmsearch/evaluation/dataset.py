"""A data set: items, queries, and which items answer which queries."""

from __future__ import annotations

import mimetypes
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from mmsearch.errors import QueryError
from mmsearch.query import Query, Term


@dataclass(frozen=True, slots=True)
class Item:
    """Something that can be found: a file, or a text that will be written into one."""

    id: str
    path: Path | None = None
    text: str | None = None
    kind: str = "other"
    """image, audio, video, text or other: figures are also given per modality."""


@dataclass(frozen=True, slots=True)
class EvalQuery:
    """A query in words, by picture or by recording (paths), or a mix of them."""

    id: str
    text: str | None = None
    image: Path | None = None
    audio: Path | None = None
    tags: tuple[str, ...] = ()
    """Groups of queries that figures are also given for."""

    def to_query(self, limit: int, collection: str | None) -> Query:
        """As the engine takes it; pictures and recordings are read."""
        terms: list[Term] = []
        if self.text is not None:
            terms.append(Term(text=self.text))
        if self.image is not None:
            terms.append(Term(image=self.image.read_bytes()))
        if self.audio is not None:
            terms.append(Term(audio=self.audio.read_bytes()))
        return Query(terms=tuple(terms), limit=limit, collection=collection)


@dataclass(frozen=True, slots=True)
class Dataset:
    """Items, queries and judgements under one name."""

    name: str
    items: tuple[Item, ...]
    queries: tuple[EvalQuery, ...]
    judgements: Mapping[str, Mapping[str, int]]
    """Query id to item id to grade; a grade above 0 is relevant."""
    problems: tuple[str, ...] = field(default=())
    """What the reader had to leave out, in words."""

    def kinds(self) -> dict[str, str]:
        """Item id to kind."""
        return {item.id: item.kind for item in self.items}

    def tags(self) -> list[str]:
        """Every group of queries, in the order of appearance."""
        return list(dict.fromkeys(tag for query in self.queries for tag in query.tags))

    def first(self, queries: int) -> Dataset:
        """The same with the first so many queries only; all items stay."""
        return replace(self, queries=self.queries[:queries])


def checked(dataset: Dataset) -> Dataset:
    """The dataset without queries that have no relevant item, listed in `problems`.

    Raises QueryError if ids are not unique or nothing is left to ask.
    """
    items = {item.id for item in dataset.items}
    if len(items) != len(dataset.items):
        raise QueryError(f"{dataset.name}: two items have the same id", param="dataset")
    if len({query.id for query in dataset.queries}) != len(dataset.queries):
        raise QueryError(f"{dataset.name}: two queries have the same id", param="dataset")
    answerable: list[EvalQuery] = []
    judgements: dict[str, dict[str, int]] = {}
    for query in dataset.queries:
        grades = {
            item: grade
            for item, grade in dataset.judgements.get(query.id, {}).items()
            if item in items
        }
        if any(grade > 0 for grade in grades.values()):
            answerable.append(query)
            judgements[query.id] = grades
    left_out = len(dataset.queries) - len(answerable)
    problems = list(dataset.problems)
    if left_out:
        problems.append(f"{left_out} queries without a relevant item among the items left out")
    if not answerable:
        raise QueryError(
            f"{dataset.name}: no query has a relevant item that is there"
            + "".join(f"; {problem}" for problem in problems),
            param="dataset",
        )
    return replace(
        dataset, queries=tuple(answerable), judgements=judgements, problems=tuple(problems)
    )


def kind_of(path: Path) -> str:
    """image, audio, video, text or other, by the file's name."""
    mime = mimetypes.guess_type(path.name)[0] or {
        ".md": "text/markdown",
        ".webp": "image/webp",
        ".opus": "audio/ogg",
        ".flac": "audio/flac",
        ".m4a": "audio/mp4",
    }.get(path.suffix.lower(), "")
    main = mime.partition("/")[0]
    if mime == "application/pdf":
        return "text"
    return main if main in {"image", "audio", "video", "text"} else "other"
