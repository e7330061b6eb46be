"""This project's own format: JSON lines of items and queries. docs/evaluation.md describes it.

::

    {"folder": "pictures"}                                every file below is an item
    {"item": "notes/1.txt"}                               a file
    {"item": "invoice-7", "text": "Invoice 4711 ..."}     a text without a file
    {"query": "q1", "text": "a red boat", "relevant": ["pictures/1.jpg", "notes/1.txt"]}
    {"query": "q2", "image": "queries/2.jpg", "relevant": {"pictures/1.jpg": 2}, "tags": ["look"]}

An item's id is its path as written, relative to the file (or to the media folder).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmsearch.errors import QueryError
from mmsearch.evaluation.dataset import Dataset, EvalQuery, Item, kind_of
from mmsearch.evaluation.readers.json_lines import objects, text

_QUERY_KEYS = frozenset(("query", "text", "image", "audio", "relevant", "tags", "split"))
_ITEM_KEYS = frozenset(("item", "text", "kind"))
_FOLDER_KEYS = frozenset(("folder",))


def read(path: Path, media: Path | None, split: str | None) -> Dataset:
    """Queries with another `split` than the requested one are left out."""
    base = media or path.parent
    items: dict[str, Item] = {}
    queries: list[EvalQuery] = []
    judgements: dict[str, dict[str, int]] = {}
    absent: set[str] = set()
    for where, row in objects(path):
        if "query" in row:
            _known(row, _QUERY_KEYS, where)
            if split is not None and row.get("split", split) != split:
                continue
            query = _query(row, base, where)
            queries.append(query)
            judgements[query.id] = _relevant(row.get("relevant"), where)
        elif "folder" in row:
            _known(row, _FOLDER_KEYS, where)
            folder = base / text(row, "folder", where)
            if not folder.is_dir():
                raise QueryError(f"{where}: there is no folder {folder}", param="dataset")
            for file in sorted(folder.rglob("*")):
                if file.is_file():
                    name = file.relative_to(base).as_posix()
                    items[name] = Item(name, file, kind=kind_of(file))
        elif "item" in row:
            _known(row, _ITEM_KEYS, where)
            item = _item(row, base, where)
            items[item.id] = item
        else:
            raise QueryError(f"{where} has none of query, item, folder", param="dataset")
    for name in dict.fromkeys(name for grades in judgements.values() for name in grades):
        if name in items:
            continue
        if (base / name).is_file():
            items[name] = Item(name, base / name, kind=kind_of(Path(name)))
        else:
            absent.add(name)
    problems = (f"{len(absent)} relevant items are not there",) if absent else ()
    return Dataset(path.stem, tuple(items.values()), tuple(queries), judgements, problems)


def _query(row: dict[str, Any], base: Path, where: str) -> EvalQuery:
    files: dict[str, Path] = {}
    for key in ("image", "audio"):
        if key in row:
            files[key] = base / text(row, key, where)
            if not files[key].is_file():
                raise QueryError(f"{where}: there is no file {files[key]}", param="dataset")
    if "text" not in row and not files:
        raise QueryError(f"{where}: a query has text, image or audio", param="dataset")
    tags = row.get("tags", [])
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        raise QueryError(f"{where}: 'tags' must be a list of strings", param="dataset")
    return EvalQuery(
        id=text(row, "query", where),
        text=text(row, "text", where) if "text" in row else None,
        image=files.get("image"),
        audio=files.get("audio"),
        tags=tuple(tags),
    )


def _item(row: dict[str, Any], base: Path, where: str) -> Item:
    name = text(row, "item", where)
    if "text" in row:
        return Item(name, text=text(row, "text", where), kind=text(row, "kind", where, "text"))
    file = base / name
    if not file.is_file():
        raise QueryError(f"{where}: there is no file {file}", param="dataset")
    return Item(name, file, kind=text(row, "kind", where, kind_of(file)))


def _relevant(relevant: Any, where: str) -> dict[str, int]:
    if isinstance(relevant, list) and all(isinstance(name, str) for name in relevant):
        return dict.fromkeys(relevant, 1)
    if isinstance(relevant, dict) and all(
        isinstance(grade, int) and not isinstance(grade, bool) for grade in relevant.values()
    ):
        return dict(relevant)
    raise QueryError(
        f"{where}: 'relevant' must be a list of items, or an object of item to grade",
        param="dataset",
    )


def _known(row: dict[str, Any], known: frozenset[str], where: str) -> None:
    for key in row:
        if key not in known:
            raise QueryError(
                f"{where}: unknown field '{key}'. Fields: {', '.join(sorted(known))}.",
                param="dataset",
            )
