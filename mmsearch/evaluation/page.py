"""A page of findings: headings, paragraphs, tables and bar charts, as HTML and as Markdown.

The HTML stands alone: its style is in it, its charts are SVG drawn here, nothing is fetched.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import TypeAlias

from mmsearch.evaluation.significance import Estimate


@dataclass(frozen=True, slots=True)
class Heading:
    """A section's title."""

    text: str
    level: int = 2


@dataclass(frozen=True, slots=True)
class Paragraph:
    """Plain sentences."""

    text: str


@dataclass(frozen=True, slots=True)
class Table:
    """Cells are plain text; the first column names the row, the others are set to the right."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""
    strong: frozenset[int] = frozenset()
    """Rows that stand out."""


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar, its whisker the confidence interval."""

    label: str
    value: Estimate
    strong: bool = False


@dataclass(frozen=True, slots=True)
class Chart:
    """Horizontal bars on a scale from 0 to 1."""

    title: str
    bars: Sequence[Bar]


Block: TypeAlias = Heading | Paragraph | Table | Chart


@dataclass(frozen=True, slots=True)
class Page:
    """Findings under one title."""

    title: str
    blocks: Sequence[Block]


def figure(estimate: Estimate) -> str:
    """ "0.812 [0.78, 0.84]": mean and 95 % interval."""
    return f"{estimate.mean:.3f} [{estimate.low:.2f}, {estimate.high:.2f}]"


# ---------------------------------------------------------------- Markdown


def to_markdown(page: Page) -> str:
    """The page as Markdown; a chart becomes a table of its figures."""
    parts = [f"# {page.title}"]
    for block in page.blocks:
        match block:
            case Heading():
                parts.append(f"{'#' * block.level} {block.text}")
            case Paragraph():
                parts.append(block.text)
            case Table():
                parts.append(_markdown_table(block))
            case Chart():
                rows = [(bar.label, figure(bar.value)) for bar in block.bars]
                parts.append(_markdown_table(Table(("", block.title), rows)))
    return "\n\n".join(parts) + "\n"


def _markdown_table(table: Table) -> str:
    def line(cells: Sequence[str], *, strong: bool = False) -> str:
        mark = "**" if strong else ""
        return (
            "| "
            + " | ".join(f"{mark}{c.replace('|', '/')}{mark}" if c else c for c in cells)
            + " |"
        )

    lines = [line(table.columns), "|---|" + "---:|" * (len(table.columns) - 1)]
    lines += [line(row, strong=n in table.strong) for n, row in enumerate(table.rows)]
    return "\n".join(([table.caption, ""] if table.caption else []) + lines)


# ---------------------------------------------------------------- HTML

_STYLE = """
:root { color-scheme: light dark; --ink: #1d2330; --soft: #5c6575; --line: #dde1e8;
  --paper: #fff; --bar: #9db4d6; --strong: #2f6fd0; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ef; --soft: #9aa3b2; --line: #333b48;
  --paper: #14181f; --bar: #4a6288; --strong: #6ea3f5; } }
body { margin: 2rem auto; max-width: 62rem; padding: 0 1rem; background: var(--paper);
  color: var(--ink); font: 16px/1.55 system-ui, sans-serif; }
h1 { font-size: 1.7rem; } h2 { margin-top: 2.4rem; font-size: 1.25rem; } h3 { font-size: 1.05rem; }
p { max-width: 46rem; } .scroll { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; font-size: .88rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--soft); padding-bottom: .3rem; }
th, td { padding: .28rem .7rem; border-bottom: 1px solid var(--line); text-align: right;
  white-space: nowrap; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
thead th { color: var(--soft); font-weight: 600; } tr.strong td { font-weight: 650; }
svg { max-width: 100%; height: auto; }
svg text { fill: var(--ink); font: 13px system-ui, sans-serif; }
svg .soft { fill: var(--soft); } svg .bar { fill: var(--bar); }
svg .strong { fill: var(--strong); }
svg line { stroke: var(--line); } svg .whisker { stroke: var(--ink); stroke-width: 1.5; }
figure { margin: 1rem 0; } figcaption { color: var(--soft); font-size: .9rem; }
"""


def to_html(page: Page) -> str:
    """The page as one HTML file."""
    body = "\n".join(_html(block) for block in page.blocks)
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(page.title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        f"<h1>{escape(page.title)}</h1>\n{body}\n</body>\n</html>\n"
    )


def _html(block: Block) -> str:
    match block:
        case Heading():
            return f"<h{block.level}>{escape(block.text)}</h{block.level}>"
        case Paragraph():
            return f"<p>{escape(block.text)}</p>"
        case Table():
            return _html_table(block)
        case Chart():
            return _svg(block)


def _html_table(table: Table) -> str:
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in table.columns)
    rows = "\n".join(
        ('<tr class="strong">' if n in table.strong else "<tr>")
        + "".join(f"<td>{escape(cell)}</td>" for cell in row)
        + "</tr>"
        for n, row in enumerate(table.rows)
    )
    caption = f"<caption>{escape(table.caption)}</caption>" if table.caption else ""
    return (
        f'<div class="scroll"><table>{caption}<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{rows}\n</tbody></table></div>"
    )


def _svg(chart: Chart) -> str:
    """Bars of 22 pixels, labels to the left, the scale below."""
    left, width, step, top = 240, 480, 26, 6
    height = top + step * len(chart.bars) + 24
    parts = []
    for tenth in range(0, 11, 2):
        x = left + width * tenth / 10
        parts.append(f'<line x1="{x}" y1="{top}" x2="{x}" y2="{height - 20}"/>')
        parts.append(
            f'<text class="soft" x="{x}" y="{height - 5}" text-anchor="middle">{tenth / 10}</text>'
        )
    for n, bar in enumerate(chart.bars):
        y, middle = top + step * n, top + step * n + 11
        value, low, high = (
            left + width * x for x in (bar.value.mean, bar.value.low, bar.value.high)
        )
        parts.append(
            f'<text x="{left - 8}" y="{middle + 5}" text-anchor="end">{escape(bar.label)}</text>'
            f'<rect class="{"strong" if bar.strong else "bar"}" x="{left}" y="{y + 2}" '
            f'width="{value - left:.1f}" height="18" rx="2"/>'
            f'<line class="whisker" x1="{low:.1f}" y1="{middle}" x2="{high:.1f}" y2="{middle}"/>'
            f'<text class="soft" x="{left + width + 12}" y="{middle + 5}">'
            f"{bar.value.mean:.3f}</text>"
        )
    return (
        f"<figure><figcaption>{escape(chart.title)}</figcaption>\n"
        f'<svg viewBox="0 0 {left + width + 60} {height}" width="{left + width + 60}" role="img" '
        f'aria-label="{escape(chart.title)}">{"".join(parts)}</svg></figure>'
    )
