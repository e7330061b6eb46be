"""Measures what each part of ranking is worth, and writes the page that tells it.

    python benchmarks/ranking/data.py --out SETS --part test --data SHARED_DATA
    python benchmarks/ranking/measure.py --sets SETS --library LIB --runs RUNS --out docs/evaluation

Every set is asked as the engine ships, then without one part at a time, then reranked; and by
what it must beat: its own best channel, and sorting raw cosines together. `--part dev` is for
choosing weights and defaults; only `test` is reported.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import story
from machine import describe_machine

from indexer.evaluation.library import index_dataset
from mmsearch.errors import MMSearchError
from mmsearch.evaluation import IndexedDataset, read_dataset, runs
from mmsearch.evaluation.experiment import Evaluation, Way, evaluate, to_json, versus_first
from mmsearch.evaluation.page import to_html, to_markdown
from mmsearch.search.engine import SearchEngine

MEASURES = ("R@1", "R@5", "R@10", "RR", "AP", "nDCG@10")


@dataclass(frozen=True)
class SetPlan:
    """A data set, and which parts can make a difference to it."""

    name: str
    without: tuple[str, ...]
    rerank: bool = False
    folder: str | None = None


PLANS = (
    SetPlan("pictures", ("lexical", "calibration"), rerank=True),
    SetPlan("relational", ("lexical", "calibration"), rerank=True),
    SetPlan("photos", ("lexical", "calibration"), rerank=True),
    SetPlan("texts", ("lexical", "text", "calibration"), rerank=True),
    SetPlan("speech", ("lexical", "text", "calibration"), rerank=True),
    SetPlan("mixed", ("lexical", "text", "clip", "calibration"), rerank=True),
    SetPlan("otherwise", (), folder="mixed"),
    SetPlan("everything", ("lexical", "text", "clip", "calibration"), rerank=True),
)


def ways_of(plan: SetPlan, library: IndexedDataset, rerankers: list[str]) -> list[Way]:
    """As shipped (first stage), the ablations, and reranked."""
    ways = [Way("fused", library, options={"rerank": "none"})]
    for part in plan.without:
        if part == "calibration":
            ways.append(Way(f"without {part}", library, reciprocal_ranks=True, ablation=True))
        else:
            ways.append(Way(f"without {part}", library, (part,), {"rerank": "none"}, ablation=True))
    options = {"rerank": "none", "min_score": None}
    ways.append(Way("with the cut-off", library, options=options, ablation=True))
    if plan.rerank:
        ways += [Way(f"reranked: {name}", library, options={"rerank": name}) for name in rerankers]
    return ways


def measure(arguments: argparse.Namespace) -> list[Evaluation]:
    found: list[Evaluation] = []
    with ExitStack() as stack:
        settings: dict[str, Any] = {"profile": arguments.profile}
        settings |= dict(pair.split("=", 1) for pair in arguments.set)
        engine = stack.enter_context(SearchEngine.open(arguments.library, create=True, **settings))
        for plan in PLANS:
            folder = arguments.sets / arguments.part / (plan.folder or plan.name)
            path = folder / f"{plan.name}.jsonl"
            if plan.name not in arguments.only or not path.exists():
                continue
            began = time.monotonic()
            dataset = read_dataset(path)
            if arguments.queries:
                dataset = dataset.first(arguments.queries)
            collection = f"{arguments.part}-{plan.folder or plan.name}"
            library, summary = index_dataset(engine, dataset, collection=collection)
            taken = time.monotonic() - began
            for failure in summary.failures:
                print(f"failed: {failure.path}: {failure.reason}")
            ways = ways_of(plan, library, arguments.rerank)
            if arguments.brief:
                ways = [way for way in ways if not way.name.startswith("without ")]
            evaluation = evaluate(
                dataset,
                ways,
                measures=MEASURES,
                channels=not arguments.brief,
                baselines=not arguments.brief,
            )
            found.append(evaluation)
            for run in evaluation.runs:
                runs.save(run, arguments.runs)
            print(
                f"{plan.name}: taken in in {taken:.0f} s, asked in "
                f"{time.monotonic() - began - taken:.0f} s"
            )
            for run in evaluation.runs:
                figures = "  ".join(f"{m} {e.mean:.3f}" for m, e in run.figures().items())
                warnings = f"  ({len(run.warnings)} warnings)" if run.warnings else ""
                print(f"  {run.name:24} {figures}{warnings}")
                for warning in run.warnings[:2]:
                    print(f"      {warning}")
            sys.stdout.flush()
    return found


def saved(arguments: argparse.Namespace) -> list[Evaluation]:
    """What earlier calls have measured, maybe set by set: from the saved runs."""
    found: list[Evaluation] = []
    for plan in PLANS:
        path = arguments.sets / arguments.part / (plan.folder or plan.name) / f"{plan.name}.jsonl"
        every = [runs.load(file) for file in sorted(arguments.runs.glob(f"{plan.name}-*.json"))]
        stages = [run for run in every if run.name.startswith(("without", "with", "reranked"))]
        base = [run for run in every if run.name == "fused"]
        if not base:
            continue
        stages = [*base, *stages]
        channels = [run for run in every if ":" in run.name and run not in stages]
        baselines = [run for run in every if run.name.startswith("raw cosine")]
        found.append(
            Evaluation(
                read_dataset(path),
                base[0].about,
                MEASURES,
                tuple(stages),
                tuple(channels),
                tuple(baselines),
                tuple(versus_first(stages, channels, baselines, MEASURES)),
            )
        )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", type=Path, required=True, help="where data.py wrote to")
    parser.add_argument("--part", choices=("dev", "test"), default="test")
    parser.add_argument("--library", type=Path, default=Path("ranking-library"))
    parser.add_argument("--profile", default="nano")
    parser.add_argument("--out", type=Path, default=None, help="write the page here")
    parser.add_argument("--runs", type=Path, required=True, help="every run is saved here")
    parser.add_argument("--brief", action="store_true", help="neither ablations nor baselines")
    parser.add_argument("--page", action="store_true", help="only write the page of saved runs")
    parser.add_argument("--rerank", nargs="*", default=["vlm"])
    parser.add_argument("--queries", type=int, default=0, help="only the first so many of each set")
    parser.add_argument("--only", nargs="*", default=[plan.name for plan in PLANS])
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE")
    arguments = parser.parse_args()
    try:
        found = saved(arguments) if arguments.page else measure(arguments)
    except MMSearchError as error:
        raise SystemExit(error.message) from None
    if not found:
        raise SystemExit(f"no data set in {arguments.sets / arguments.part}: see data.py")
    if arguments.out is not None:
        arguments.out.mkdir(parents=True, exist_ok=True)
        page = story.page(found, arguments.part, describe_machine())
        (arguments.out / "README.md").write_text(to_markdown(page), "utf-8")
        (arguments.out / "index.html").write_text(to_html(page), "utf-8")
        results = {evaluation.dataset.name: to_json(evaluation) for evaluation in found}
        text = json.dumps(results, ensure_ascii=False, indent=1)
        (arguments.out / "results.json").write_text(text + "\n", "utf-8")


if __name__ == "__main__":
    main()
