"""Runs: what one way of searching answered to every query, saved in files to compare with later.

A run is saved twice: as JSON (everything, this project's own form) and in the format of TREC
(`query Q0 item rank score tag`), which every evaluation tool reads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import orjson

from mmsearch.errors import QueryError
from mmsearch.evaluation.dataset import Dataset
from mmsearch.evaluation.metrics import measure
from mmsearch.evaluation.significance import Comparison, Estimate, Values, compare, estimate

FORMAT = "mmsearch-run/1"

Ranking = tuple[tuple[str, float], ...]
"""Item ids and scores, best first, each item once."""


@dataclass(frozen=True, slots=True)
class Run:
    """One ranking for every query of a data set."""

    name: str
    """What made it, for example "fused" or "without lexical"."""
    dataset: str
    rankings: Mapping[str, Ranking]
    """By query id, in the data set's order."""
    about: Mapping[str, Any] = field(default_factory=dict)
    """Models, settings and timing: JSON values."""
    warnings: tuple[str, ...] = ()
    values: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Measure to query id to value, as `measured` fills it in."""

    def figures(self) -> dict[str, Estimate]:
        """Mean and interval of each measure that was taken."""
        return {name: estimate(list(values.values())) for name, values in self.values.items()}


def values(
    run: Run,
    dataset: Dataset,
    measures: Sequence[str],
    *,
    kind: str | None = None,
    tag: str | None = None,
) -> dict[str, Values]:
    """Each measure's value for each query, in the data set's order.

    With `kind`, rankings and judgements are of items of this modality only, and queries that
    have no such answer are left out; with `tag`, queries of other groups are.
    """
    chosen = [measure(name) for name in measures]
    kinds = dataset.kinds()
    rows: list[list[float]] = []
    for query in dataset.queries:
        if tag is not None and tag not in query.tags:
            continue
        grades = dataset.judgements[query.id]
        ranking = [item for item, _ in run.rankings.get(query.id, ())]
        if kind is not None:
            grades = {item: grade for item, grade in grades.items() if kinds[item] == kind}
            ranking = [item for item in ranking if kinds.get(item) == kind]
            if not any(grade > 0 for grade in grades.values()):
                continue
        rows.append([measure.of(ranking, grades) for measure in chosen])
    table = np.array(rows, np.float64).reshape(len(rows), len(chosen))
    return {measure.name: table[:, column] for column, measure in enumerate(chosen)}


def measured(run: Run, dataset: Dataset, measures: Sequence[str]) -> Run:
    """The run with the values of each measure by query."""
    names = [query.id for query in dataset.queries]
    by_measure = values(run, dataset, measures)
    return replace(
        run,
        values={
            name: dict(zip(names, column.tolist(), strict=True))
            for name, column in by_measure.items()
        },
    )


def compare_runs(first: Run, second: Run) -> list[Comparison]:
    """Paired comparison in every measure of both. Raises QueryError for different queries."""
    for name in first.values:
        if name in second.values and first.values[name].keys() != second.values[name].keys():
            raise QueryError(
                f"{first.dataset}/{first.name} and {second.dataset}/{second.name} answer "
                "different queries: they cannot be compared"
            )
    comparisons = compare(
        {name: list(by_query.values()) for name, by_query in first.values.items()},
        {
            name: [by_query[query] for query in first.values[name]]
            for name, by_query in second.values.items()
            if name in first.values
        },
    )
    if not comparisons:
        raise QueryError("the two runs have no measure in common")
    return comparisons


def save(run: Run, folder: Path) -> Path:
    """Write `<name>.json` and `<name>.trec` into a folder; returns the JSON file."""
    folder.mkdir(parents=True, exist_ok=True)
    stem = "-".join(_file_name(part) for part in (run.dataset, run.name))
    path = folder / f"{stem}.json"
    path.write_bytes(orjson.dumps(to_json(run), option=orjson.OPT_INDENT_2))
    (folder / f"{stem}.trec").write_text(to_trec(run), "utf-8")
    return path


def load(path: Path) -> Run:
    """A run that `save` wrote. Raises QueryError if it is something else."""
    try:
        saved = orjson.loads(path.read_bytes())
        if saved.get("format") != FORMAT:
            raise KeyError("format")
        return Run(
            name=saved["name"],
            dataset=saved["dataset"],
            rankings={
                query: tuple((item, float(score)) for item, score in ranking)
                for query, ranking in saved["rankings"].items()
            },
            about=saved["about"],
            warnings=tuple(saved["warnings"]),
            values=saved["values"],
        )
    except OSError as error:
        raise QueryError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise QueryError(f"{path} is not a run that mmsearch saved ({FORMAT})") from None


def to_json(run: Run) -> dict[str, Any]:
    """The form of a saved run; keys are only ever added."""
    return {
        "format": FORMAT,
        "name": run.name,
        "dataset": run.dataset,
        "about": dict(run.about),
        "warnings": list(run.warnings),
        "figures": {name: estimate_to_json(figure) for name, figure in run.figures().items()},
        "values": {
            name: {query: round(value, 6) for query, value in by_query.items()}
            for name, by_query in run.values.items()
        },
        "rankings": {
            query: [[item, round(score, 6)] for item, score in ranking]
            for query, ranking in run.rankings.items()
        },
    }


def estimate_to_json(estimate: Estimate) -> dict[str, Any]:
    """A figure with its interval."""
    return {
        "mean": round(estimate.mean, 4),
        "low": round(estimate.low, 4),
        "high": round(estimate.high, 4),
        "queries": estimate.queries,
    }


def to_trec(run: Run) -> str:
    """The run as trec_eval reads it; blanks in ids are percent-encoded.

    Scores are made strictly falling, because trec_eval sorts by score and not by rank.
    """
    tag = _file_name(run.name)
    return "".join(
        f"{quote(query)} Q0 {quote(item)} {rank} {len(ranking) - rank + 1} {tag}\n"
        for query, ranking in run.rankings.items()
        for rank, (item, _) in enumerate(ranking, 1)
    )


def _file_name(text: str) -> str:
    return "".join(c if c.isalnum() or c in "._" else "-" for c in text).strip("-") or "run"
