"""An evaluation as a page: figures by stage, modality and group, and what is significant."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from mmsearch.evaluation import runs as saved_runs
from mmsearch.evaluation.experiment import Evaluation, Versus, main_measure
from mmsearch.evaluation.page import (
    Bar,
    Block,
    Chart,
    Heading,
    Page,
    Paragraph,
    Table,
    figure,
    to_html,
    to_markdown,
)
from mmsearch.evaluation.significance import Comparison, Estimate


def write(evaluation: Evaluation, folder: Path) -> Path:
    """Write index.html, summary.md and every run into a folder; returns the page."""
    folder.mkdir(parents=True, exist_ok=True)
    page = page_of(evaluation)
    html = folder / "index.html"
    html.write_text(to_html(page), "utf-8")
    (folder / "summary.md").write_text(to_markdown(page), "utf-8")
    for run in evaluation.runs:
        saved_runs.save(run, folder / "runs")
    return html


def page_of(evaluation: Evaluation) -> Page:
    """The whole report of one data set."""
    return Page(f"Evaluation: {evaluation.dataset.name}", blocks(evaluation))


def blocks(evaluation: Evaluation, level: int = 2) -> list[Block]:
    """The report's parts, to be put under a heading of the level above."""
    main = main_measure(evaluation.measures)
    base = evaluation.stages[0]
    parts: list[Block] = [Paragraph(_about(evaluation))]
    problems = [
        *evaluation.dataset.problems,
        *(w for run in evaluation.stages for w in run.warnings),
    ]
    if problems:
        notes = list(dict.fromkeys(problems))
        more = f" (and {len(notes) - 5} more)" if len(notes) > 5 else ""
        parts.append(Paragraph("Note: " + "; ".join(notes[:5]) + more + "."))
    parts.append(
        Chart(
            f"{main}, mean over {len(evaluation.dataset.queries)} queries with 95 % interval",
            [Bar(run.name, run.figures()[main], run is base) for run in evaluation.runs],
        )
    )
    parts += [
        Heading("By stage", level),
        figures_table("run", {run.name: run.figures() for run in evaluation.runs}, {base.name}),
    ]
    if len(evaluation.by_kind(base)) > 1:
        parts += [
            Heading("By modality", level),
            Paragraph("Rankings and judgements reduced to the items of one modality."),
            *_groups(evaluation, {run.name: evaluation.by_kind(run) for run in evaluation.stages}),
        ]
    if evaluation.dataset.tags():
        parts += [
            Heading("By group of queries", level),
            *_groups(evaluation, {run.name: evaluation.by_tag(run) for run in evaluation.stages}),
        ]
    if evaluation.versus:
        parts += [Heading("Comparisons", level), Paragraph(HOW_COMPARED)]
        parts += [versus_table(pair) for pair in evaluation.versus]
    if evaluation.approximation:
        rows = [(name, f"{share:.4f}") for name, share in evaluation.approximation.items()]
        parts += [
            Heading("The index against exact search", level),
            Table(("channel", "recall@10"), rows, "Share of the exact best 10 that are returned."),
        ]
    return parts


HOW_COMPARED = (
    "Paired randomisation tests over queries, two-sided, corrected by Holm's method over the "
    "measures of a table; intervals are 95 % bootstrap intervals of the mean difference. A row "
    "in bold is significant at the 5 % level."
)


def figures_table(
    of: str,
    rows: Mapping[str, Mapping[str, Estimate]],
    strong: Collection[str] = (),
) -> Table:
    """One row for each name, one column for each measure."""
    measures = list(next(iter(rows.values())))
    return Table(
        (of, *measures, "queries"),
        [
            (
                name,
                *(figure(figures[m]) if m in figures else "" for m in measures),
                str(next(iter(figures.values())).queries),
            )
            for name, figures in rows.items()
        ],
        strong=frozenset(n for n, name in enumerate(rows) if name in strong),
    )


def versus_table(pair: Versus) -> Table:
    """Two runs, one row for each measure."""
    return comparison_table(
        f"{pair.second} against {pair.first}",
        "measure",
        [(c.measure, c) for c in pair.comparisons],
        (pair.first, pair.second),
    )


def comparison_table(
    caption: str,
    of: str,
    rows: Sequence[tuple[str, Comparison]],
    names: tuple[str, str] = ("first", "second"),
) -> Table:
    """Differences with what chance could have done."""
    return Table(
        (of, *names, "difference", "relative", "p", "p (Holm)"),
        [
            (
                name,
                f"{c.first:.3f}",
                f"{c.second:.3f}",
                f"{c.difference.mean:+.3f} [{c.difference.low:+.3f}, {c.difference.high:+.3f}]",
                f"{100 * c.relative:+.1f} %" if c.first else "",
                _p(c.p_value),
                _p(c.p_adjusted),
            )
            for name, c in rows
        ],
        caption,
        strong=frozenset(n for n, (_, c) in enumerate(rows) if c.significant),
    )


def _groups(
    evaluation: Evaluation, by_run: Mapping[str, Mapping[str, Mapping[str, Estimate]]]
) -> list[Block]:
    """A table for each run, if there are few; else the main measure only, in one table."""
    if len(by_run) <= 2:
        return [
            Table(table.columns, table.rows, name)
            for name, groups in by_run.items()
            for table in [figures_table("", groups)]
        ]
    main = main_measure(evaluation.measures)
    names = list(next(iter(by_run.values())))
    rows = [
        (run, *(figure(groups[name][main]) for name in names)) for run, groups in by_run.items()
    ]
    return [Table(("run", *names), rows, main)]


def _about(evaluation: Evaluation) -> str:
    dataset, about = evaluation.dataset, evaluation.about
    counts: dict[str, int] = {}
    for kind in dataset.kinds().values():
        counts[kind] = counts.get(kind, 0) + 1
    items = ", ".join(f"{n} {kind}" for kind, n in counts.items())
    spaces = ", ".join(f"{name}: {model}" for name, model in about.get("spaces", {}).items())
    return (
        f"{len(dataset.items)} items ({items}), {len(dataset.queries)} queries, profile "
        f"{about.get('profile')} ({spaces}), {about.get('depth')} hits a query."
    )


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
