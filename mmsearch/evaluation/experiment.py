"""One data set, several ways of searching it, and what may be said about their differences."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from mmsearch.evaluation.asking import (
    DEPTH,
    IndexedDataset,
    approximation,
    ask,
    ask_channels,
    ask_raw_cosine,
    ask_reciprocal_ranks,
    describe,
)
from mmsearch.evaluation.dataset import Dataset
from mmsearch.evaluation.metrics import DEFAULT_MEASURES
from mmsearch.evaluation.runs import Run, compare_runs, estimate_to_json, measured, values
from mmsearch.evaluation.significance import Comparison, Estimate, estimate

MAIN = "nDCG@10"
"""What runs are ordered and charted by, if it is among the measures."""


@dataclass(frozen=True, slots=True)
class Way:
    """A way of searching: a library opened with some settings, and what queries ask for."""

    name: str
    library: IndexedDataset
    without: tuple[str, ...] = ()
    """Channels that are left out."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Fields of `Query`, for example {"rerank": "vlm"}."""
    reciprocal_ranks: bool = False
    """Channels are joined by reciprocal ranks: without calibration, and without `options`."""
    ablation: bool = False
    """Something is left out: never what a saved run is compared with."""


@dataclass(frozen=True, slots=True)
class Versus:
    """Two runs compared in every measure."""

    first: str
    second: str
    comparisons: tuple[Comparison, ...]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The results of an experiment."""

    dataset: Dataset
    about: Mapping[str, Any]
    measures: tuple[str, ...]
    stages: tuple[Run, ...]
    """The engine's own: fused, reranked, ablations."""
    channels: tuple[Run, ...] = ()
    baselines: tuple[Run, ...] = ()
    versus: tuple[Versus, ...] = ()
    approximation: Mapping[str, float] = field(default_factory=dict)

    @property
    def runs(self) -> tuple[Run, ...]:
        """All runs: the engine's own, each channel alone, the naive baselines."""
        return (*self.stages, *self.channels, *self.baselines)

    def by_kind(self, run: Run) -> dict[str, dict[str, Estimate]]:
        """Figures among the items of each modality: kind to measure to estimate."""
        kinds = dict.fromkeys(self.dataset.kinds().values())
        by_kind = {kind: self._figures(run, kind=kind) for kind in kinds}
        return {kind: figures for kind, figures in by_kind.items() if figures}

    def by_tag(self, run: Run) -> dict[str, dict[str, Estimate]]:
        """Figures of each group of queries: tag to measure to estimate."""
        return {tag: self._figures(run, tag=tag) for tag in self.dataset.tags()}

    def _figures(self, run: Run, **only: str) -> dict[str, Estimate]:
        by_measure = values(run, self.dataset, self.measures, **only)
        return {name: estimate(column) for name, column in by_measure.items() if len(column)}


def evaluate(
    dataset: Dataset,
    ways: Sequence[Way],
    *,
    measures: Sequence[str] = DEFAULT_MEASURES,
    depth: int = DEPTH,
    channels: bool = True,
    baselines: bool = True,
    approximate: bool = False,
    against: Sequence[Run] = (),
    on_progress: Callable[[str], None] = lambda _name: None,
) -> Evaluation:
    """Ask every query in every way; the first way is what the others are compared with.

    `against` are saved runs of the same data set: each is compared with the last of `ways`
    that is not an ablation. Raises QueryError for unknown channels and measures.
    """
    first = ways[0]
    about = describe(first.library) | {"depth": depth}
    stages: list[Run] = []
    for way in ways:
        on_progress(way.name)
        if way.reciprocal_ranks:
            run = ask_reciprocal_ranks(way.library, dataset, way.name, depth=depth)
        else:
            run = ask(
                way.library,
                dataset,
                way.name,
                depth=depth,
                without=way.without,
                options=way.options,
            )
        stages.append(measured(run, dataset, measures))
    alone: list[Run] = []
    naive: list[Run] = []
    if channels:
        on_progress("each channel alone")
        by_channel = ask_channels(first.library, dataset, depth=depth)
        alone = [measured(run, dataset, measures) for run in by_channel.values()]
    if baselines:
        on_progress("raw cosines")
        by_cosine = ask_raw_cosine(first.library, dataset, depth=depth)
        naive = [measured(run, dataset, measures) for run in by_cosine.values()]
    shares: Mapping[str, float] = {}
    if approximate:
        on_progress("exact search")
        shares = approximation(first.library, dataset)
    versus = versus_first(stages, alone, naive, measures)
    last = [run for way, run in zip(ways, stages, strict=True) if not way.ablation][-1]
    versus += [_versus(run, last) for run in (_named(run) for run in against)]
    return Evaluation(
        dataset,
        about,
        tuple(measures),
        tuple(replace(run, about=about | dict(run.about)) for run in stages),
        tuple(alone),
        tuple(naive),
        tuple(versus),
        shares,
    )


def versus_first(
    stages: Sequence[Run],
    channels: Sequence[Run],
    baselines: Sequence[Run],
    measures: Sequence[str],
) -> list[Versus]:
    """The first of the engine's own runs against the others, the best channel and the baselines."""
    pairs = [_versus(stages[0], run) for run in stages[1:]]
    pairs += [_versus(run, stages[0]) for run in (*_best(channels, measures), *baselines)]
    return pairs


def main_measure(measures: Sequence[str]) -> str:
    """The measure that charts show."""
    return MAIN if MAIN in measures else measures[0]


def _best(runs: Sequence[Run], measures: Sequence[str]) -> list[Run]:
    """The best channel, chosen after the fact: an advantage that it keeps in comparisons."""
    name = main_measure(measures)
    return [max(runs, key=lambda run: run.figures()[name].mean)] if runs else []


def _named(saved: Run) -> Run:
    return replace(saved, name=f"saved: {saved.name}")


def _versus(first: Run, second: Run) -> Versus:
    return Versus(first.name, second.name, tuple(compare_runs(first, second)))


# ---------------------------------------------------------------- as JSON


def to_json(evaluation: Evaluation) -> dict[str, Any]:
    """What `mmsearch eval --json` prints; keys are only ever added."""
    dataset = evaluation.dataset
    return {
        "dataset": dataset.name,
        "items": len(dataset.items),
        "queries": len(dataset.queries),
        "problems": list(dataset.problems),
        "about": dict(evaluation.about),
        "runs": {run.name: _run_json(evaluation, run) for run in evaluation.runs},
        "comparisons": [
            {
                "first": pair.first,
                "second": pair.second,
                "measures": {c.measure: comparison_to_json(c) for c in pair.comparisons},
            }
            for pair in evaluation.versus
        ],
        "approximation": {name: round(x, 4) for name, x in evaluation.approximation.items()},
    }


def comparison_to_json(comparison: Comparison) -> dict[str, Any]:
    """A difference with its interval and p-values."""
    relative = comparison.relative
    return {
        "first": round(comparison.first, 4),
        "second": round(comparison.second, 4),
        "difference": estimate_to_json(comparison.difference),
        "relative": round(relative, 4) if relative != float("inf") else None,
        "p": round(comparison.p_value, 5),
        "p_holm": round(comparison.p_adjusted, 5),
        "significant": comparison.significant,
    }


def _run_json(evaluation: Evaluation, run: Run) -> dict[str, Any]:
    def plain(groups: Mapping[str, Mapping[str, Estimate]]) -> dict[str, Any]:
        return {
            group: {name: estimate_to_json(figure) for name, figure in figures.items()}
            for group, figures in groups.items()
        }

    return {
        "figures": {name: estimate_to_json(figure) for name, figure in run.figures().items()},
        "by_modality": plain(evaluation.by_kind(run)),
        "by_tag": plain(evaluation.by_tag(run)),
        "about": dict(run.about),
        "warnings": list(run.warnings),
    }
