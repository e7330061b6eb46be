"""BEIR folders: corpus.jsonl, queries.jsonl, qrels/<split>.tsv (Thakur et al., 2021)."""

from __future__ import annotations

import csv
from pathlib import Path

from mmsearch.errors import QueryError
from mmsearch.evaluation.dataset import Dataset, EvalQuery, Item
from mmsearch.evaluation.readers.json_lines import objects, text


def read(path: Path, _media: Path | None, split: str | None) -> Dataset:
    """Texts with their titles; the queries are those that `qrels/<split>.tsv` judges."""
    corpus, queries_file = path / "corpus.jsonl", path / "queries.jsonl"
    qrels = path / "qrels" / f"{split or 'test'}.tsv"
    for needed in (corpus, queries_file, qrels):
        if not needed.is_file():
            splits = ", ".join(sorted(p.stem for p in (path / "qrels").glob("*.tsv"))) or "none"
            raise QueryError(
                f"{path} is no BEIR folder: {needed.relative_to(path)} is missing "
                f"(splits: {splits})",
                param="dataset",
            )
    judgements = _qrels(qrels)
    queries = tuple(
        EvalQuery(text(row, "_id", where), text=text(row, "text", where))
        for where, row in objects(queries_file)
        if text(row, "_id", where) in judgements
    )
    items = tuple(
        Item(
            text(row, "_id", where),
            text="\n\n".join(
                part
                for part in (text(row, "title", where, ""), text(row, "text", where, ""))
                if part
            ),
            kind="text",
        )
        for where, row in objects(corpus)
    )
    return Dataset(path.resolve().name, items, queries, judgements)


def _qrels(path: Path) -> dict[str, dict[str, int]]:
    judgements: dict[str, dict[str, int]] = {}
    with path.open(encoding="utf-8", newline="") as stream:
        for number, row in enumerate(csv.reader(stream, delimiter="\t"), 1):
            if number == 1 and row[:1] == ["query-id"]:
                continue
            try:
                query, item, grade = row
                judgements.setdefault(query, {})[item] = int(grade)
            except ValueError:
                raise QueryError(
                    f"{path.name}:{number} must be query-id, corpus-id and an integer score, "
                    "with tabs between",
                    param="dataset",
                ) from None
    return judgements
