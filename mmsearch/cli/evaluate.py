"""`mmsearch eval` and `mmsearch compare`: measure the quality of search."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from mmsearch.cli.options import Json, ProfileName, Set, settings_from
from mmsearch.cli.printable import escape
from mmsearch.settings_loading import load_settings

if TYPE_CHECKING:
    from mmsearch.evaluation.experiment import Evaluation, Way
    from mmsearch.evaluation.significance import Comparison

CALIBRATION = "calibration"
"""What `--without` takes beside channels."""


def evaluate(
    dataset: Annotated[
        Path,
        typer.Argument(
            metavar="DATASET",
            help="A .jsonl of items and queries, a Karpathy .json, a BEIR folder, or a .csv of "
            "Clotho or AudioCaps.",
        ),
    ],
    *,
    library: Annotated[
        Path | None,
        typer.Option(
            "--library",
            help="Library to search. The data set is indexed if it is not in it.",
            show_default=False,
        ),
    ] = None,
    collection: Annotated[
        str | None,
        typer.Option(
            help="Collection of the data set. Default: evaluation-NAME.", show_default=False
        ),
    ] = None,
    profile: ProfileName = None,
    format_: Annotated[
        str | None,
        typer.Option(
            "--format",
            help="Format: jsonl, karpathy, beir or captions-csv. Default: detected.",
            show_default=False,
        ),
    ] = None,
    media: Annotated[
        Path | None,
        typer.Option(help="Folder of the data set's images or recordings.", show_default=False),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(help="Split to evaluate. Default: test.", show_default=False),
    ] = None,
    queries: Annotated[
        int | None, typer.Option(help="Use only the first N queries.", min=1, show_default=False)
    ] = None,
    depth: Annotated[int, typer.Option(help="Hits per query.", min=1, max=1000)] = 100,
    measure: Annotated[
        list[str] | None,
        typer.Option(
            help="Measure to report, for example nDCG@10, R@1, P@5, RR, AP. May be repeated."
        ),
    ] = None,
    without: Annotated[
        list[str] | None,
        typer.Option(
            help="Also run without this channel (lexical, clip, text, clip:image ...) or without "
            "calibration, and compare.",
            show_default=False,
        ),
    ] = None,
    rerank: Annotated[
        str | None,
        typer.Option(
            help="Also run with this reranker (vlm, cross-encoder ...) and compare. none: do not.",
            show_default=False,
        ),
    ] = None,
    cut_off: Annotated[
        bool,
        typer.Option("--cut-off", help="Also run with the library's min_score, and compare."),
    ] = False,
    exact: Annotated[
        bool, typer.Option("--exact", help="Report the recall of the indexes against exact search.")
    ] = False,
    against: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="RUN.json",
            help="Compare with this saved run. May be repeated.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder to write an HTML page, a summary and every run to.", show_default=False
        ),
    ] = None,
    set_: Set = None,
    as_json: Json = False,
) -> None:
    """Measure retrieval quality on a data set with queries and judgements."""
    from indexer.evaluation.library import index_dataset
    from mmsearch.cli import output
    from mmsearch.evaluation import experiment, report, runs
    from mmsearch.evaluation.asking import check_channels
    from mmsearch.evaluation.metrics import DEFAULT_MEASURES
    from mmsearch.evaluation.metrics import measure as known_measure
    from mmsearch.evaluation.readers import read_dataset
    from mmsearch.search.engine import SearchEngine

    measures = tuple(known_measure(name).name for name in measure or DEFAULT_MEASURES)
    check_channels(name for name in without or () if name != CALIBRATION)
    saved = [runs.load(path) for path in against or ()]
    data = read_dataset(dataset, format_, media=media, split=split)
    if queries is not None:
        data = data.first(queries)
    place = library or load_settings().library
    settings = settings_from(set_, profile=profile)
    with ExitStack() as stack:
        engine = stack.enter_context(SearchEngine.open(place, create=True, **settings))
        with output.RunProgress([place]) as progress:
            indexed, summary = index_dataset(
                engine, data, collection=collection, on_progress=progress
            )
        output.print_summary(summary)
        ways = [experiment.Way("fused", indexed, options={"rerank": "none"})]
        if (rerank or engine.settings.rerank) != "none":
            chosen = rerank or engine.settings.rerank
            ways.append(experiment.Way(f"reranked: {chosen}", indexed, options={"rerank": chosen}))
        if cut_off:
            options = {"rerank": "none", "min_score": None}
            ways.append(experiment.Way("with the cut-off", indexed, options=options, ablation=True))
        ways += [_ablation(name, ways[0]) for name in without or ()]
        evaluation = experiment.evaluate(
            data,
            ways,
            measures=measures,
            depth=depth,
            approximate=exact,
            against=saved,
            on_progress=lambda name: output.err.print(f"[dim]asking: {escape(name)}[/]"),
        )
    print_evaluation(evaluation)
    if out is not None:
        output.err.print(f"Written: {escape(str(report.write(evaluation, out)))}")
    if as_json:
        output.print_json(experiment.to_json(evaluation))


def compare(
    first: Annotated[Path, typer.Argument(metavar="FIRST.json", help="First saved run.")],
    second: Annotated[Path, typer.Argument(metavar="SECOND.json", help="Second saved run.")],
    *,
    as_json: Json = False,
) -> None:
    """Compare two runs that `mmsearch eval --out` saved, query by query."""
    from mmsearch.cli import output
    from mmsearch.evaluation import runs
    from mmsearch.evaluation.experiment import comparison_to_json

    base, other = runs.load(first), runs.load(second)
    comparisons = runs.compare_runs(base, other)
    print_comparison(f"{other.dataset}: {other.name} against {base.name}", comparisons)
    if as_json:
        output.print_json(
            {
                "dataset": base.dataset,
                "first": base.name,
                "second": other.name,
                "measures": {c.measure: comparison_to_json(c) for c in comparisons},
            }
        )


def _ablation(name: str, base: Way) -> Way:
    """The way `base` without a channel or without calibration."""
    from dataclasses import replace

    if name == CALIBRATION:
        return replace(base, name=f"without {name}", reciprocal_ranks=True, ablation=True)
    return replace(base, name=f"without {name}", without=(name,), ablation=True)


def print_evaluation(evaluation: Evaluation) -> None:
    """Print the measures of every run, then the comparisons."""
    from mmsearch.cli import output

    for problem in evaluation.dataset.problems:
        output.err.print(f"[yellow]note:[/] {escape(problem)}")
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column(f"{evaluation.dataset.name}, {len(evaluation.dataset.queries)} queries")
    for name in evaluation.measures:
        table.add_column(name, justify="right", no_wrap=True)
    for run in evaluation.runs:
        figures = run.figures()
        table.add_row(escape(run.name), *(f"{figures[m].mean:.3f}" for m in evaluation.measures))
    output.out.print(table)
    for versus in evaluation.versus:
        print_comparison(f"{versus.second} against {versus.first}", versus.comparisons)
    for name, share in evaluation.approximation.items():
        output.out.print(f"recall@10 of the index against exact search, {name}: {share:.4f}")


def print_comparison(title: str, comparisons: Any) -> None:
    """Print differences, confidence intervals and Holm-corrected p-values."""
    from mmsearch.cli import output

    output.out.print(f"\n[bold]{escape(title)}[/]")
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("measure", "first", "second", "difference", "95 % interval", "p (Holm)"):
        table.add_column(name, justify="left" if name == "measure" else "right", no_wrap=True)
    row: Comparison
    for row in comparisons:
        table.add_row(
            row.measure,
            f"{row.first:.3f}",
            f"{row.second:.3f}",
            f"{row.difference.mean:+.3f}",
            f"{row.difference.low:+.3f} to {row.difference.high:+.3f}",
            ("[bold]" if row.significant else "") + f"{row.p_adjusted:.4f}",
        )
    output.out.print(table)
