"""Output for people: results as a table, progress as a bar or as plain lines."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import orjson
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from indexer.inputs.walk import walk
from indexer.outcomes import RunCounts
from indexer.runs import RunSummary
from mmsearch.cli.printable import PrintableConsole, escape, printable_json
from mmsearch.query import Context, Explanation, Hit, HitPart, SearchResult
from mmsearch.stores.places import is_url

out = PrintableConsole(highlight=False, soft_wrap=False)
# No wrapping: programs that read standard error must find an address in one piece.
err = PrintableConsole(stderr=True, highlight=False, soft_wrap=True)

NAMES = {
    "image": "picture",
    "text": "text",
    "speech": "speech",
    "sound": "sound",
    "video": "video",
    "page": "page",
}
PLAIN_EVERY = 5.0
"""Seconds between progress lines where there is no terminal."""
FAILURES_SHOWN = 20


def print_json(value: Any) -> None:
    """Print JSON as the last line of standard output."""
    written = orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS).decode()
    sys.stdout.write(printable_json(written) + "\n")
    sys.stdout.flush()


def print_result(result: SearchResult) -> None:
    """Print hits as a table."""
    for warning in result.warnings:
        err.print(f"[yellow]warning:[/] {escape(warning)}")
    if not result.hits:
        out.print("No hits.")
        return
    table = Table(box=None, pad_edge=False, header_style="dim", expand=True)
    table.add_column("#", justify="right", no_wrap=True)
    table.add_column("score", justify="right", no_wrap=True)
    table.add_column("kind", no_wrap=True)
    table.add_column("place and content", overflow="fold", ratio=1)
    for hit in result.hits:
        table.add_row(
            str(hit.rank),
            f"{hit.score:.2f}",
            NAMES[hit.segment.modality.value],
            _described(hit),
        )
    out.print(table)
    more = (
        ". More: raise --limit, or pass --cursor from the --json output." if result.cursor else ""
    )
    out.print(f"[dim]{len(result.hits)} hits in {result.took_ms:.0f} ms{more}[/]")
    _print_facets(result)
    if result.query.explain:
        stages = ", ".join(f"{name} {value:.0f}" for name, value in result.stages.items())
        out.print(f"[dim]milliseconds: {stages}[/]")


def _print_facets(result: SearchResult) -> None:
    for name, values in result.facets.items():
        counted = "  ".join(f"{escape(str(v.value))} [dim]{v.sources}[/]" for v in values)
        out.print(f"[bold]{escape(name)}[/]  {counted or '[dim]no values[/]'}")


def _described(hit: Hit) -> str:
    """One line each: file, place and folder; context and text; other segments; reason."""
    path = Path(hit.source.path)
    lines = [f"[bold]{escape(path.name)}[/]{escape(place(hit))}  [dim]{escape(folder(path))}[/]"]
    around = hit.context or Context(None, None)
    if around.before:
        lines.append(f"[dim]{escape(ended(around.before, 80))}[/]")
    if hit.segment.text:
        lines.append(escape(shortened(hit.segment.text)))
    if hit.segment.metadata.get("caption"):
        lines.append("[dim](caption by a model)[/]")
    if around.after:
        lines.append(f"[dim]{escape(shortened(around.after, 80))}[/]")
    # The first of a file's segments is the hit itself, which is printed above.
    for part in (*hit.evidence, *hit.segments[1:]):
        text = escape(shortened(part.segment.text, 100)) if part.segment.text else ""
        kind = NAMES[part.segment.modality.value]
        lines.append(f"[dim]{part.score:.2f} {kind}{escape(place(part))}[/]  {text}".rstrip())
    if hit.duplicates:
        names = ", ".join(Path(part.source.path).name for part in hit.duplicates[:3])
        more = f" and {len(hit.duplicates) - 3} more" if len(hit.duplicates) > 3 else ""
        lines.append(f"[dim]duplicates: {escape(names)}{more}[/]")
    if hit.reason:
        lines.append(f"[italic]{escape(hit.reason)}[/]")
    if hit.explanation is not None:
        lines.append(f"[dim]{escape(because(hit.explanation, hit.segment.text or ''))}[/]")
    return "\n".join(lines)


def because(why: Explanation, text: str) -> str:
    """An explanation on one line: channels with rank and similarity, reranking, matched words."""
    parts = []
    for channel in why.channels:
        rank = f" #{channel.rank}" if channel.rank is not None else ""
        raw = f" {channel.raw:.3f}" if channel.raw is not None else ""
        likely = f" ({channel.calibrated:.2f})" if channel.calibrated is not None else ""
        parts.append(f"{channel.name}{rank}{raw}{likely}")
    if why.rerank is not None:
        parts.append(f"{why.reranker} {why.rerank:.2f}, before {why.first_stage:.2f}")
    words = dict.fromkeys(text[m.start : m.end] for m in why.matches if m.kind == "word")
    if words:
        parts.append("words: " + ", ".join(words))
    return " · ".join(parts)


def folder(path: Path) -> str:
    """The folder of a file, relative to the current one if it is inside it."""
    here = Path.cwd()
    parent = path.parent
    return str(parent.relative_to(here)) if parent.is_relative_to(here) else str(parent)


def place(hit: Hit | HitPart) -> str:
    """Time, page or characters within the source; empty for an image."""
    where = hit.segment.place
    if where.start is not None:
        return (
            f"  {clock(where.start)}–{clock(where.end if where.end is not None else where.start)}"
        )
    if where.page is not None:
        return f"  page {where.page}"
    if where.char_start is not None:
        return f"  characters {where.char_start}–{where.char_end}"
    return ""


def clock(seconds: float) -> str:
    """1:02:03 or 2:03."""
    whole = int(seconds)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def shortened(text: str, most: int = 160) -> str:
    """One line of at most `most` characters."""
    flat = " ".join(text.split())
    return flat if len(flat) <= most else flat[: most - 1] + "…"


def ended(text: str, most: int) -> str:
    """The last words of a text, on one line of at most `most` characters."""
    flat = " ".join(text.split())
    return flat if len(flat) <= most else "… " + flat[-most:].split(" ", 1)[-1]


def print_summary(summary: RunSummary) -> None:
    """Print the counts of a run and the files that failed, with their reasons."""
    counts = summary.counts
    parts = [
        f"{counts.indexed} indexed",
        f"{counts.unchanged} unchanged",
        *([f"{counts.moved} moved"] if counts.moved else []),
        *([f"{counts.removed} removed"] if counts.removed else []),
        f"{counts.failed} failed",
    ]
    err.print(
        f"{', '.join(parts)} of {counts.seen} files in {summary.seconds:.1f} s: "
        f"{counts.segments} segments, {counts.vectors} vectors "
        f"(collection '{escape(summary.collection)}', profile {summary.profile})"
    )
    _print_name_only(err, sum(summary.name_only.values()), summary.name_only)
    for warning in summary.warnings:
        err.print(f"  [yellow]warning[/] {escape(warning)}")
    for failure in summary.failures[:FAILURES_SHOWN]:
        err.print(f"  [red]failed[/] {escape(failure.path)}: {escape(failure.reason)}")
    rest = len(summary.failures) - FAILURES_SHOWN
    if rest > 0:
        err.print(f"  … and {rest} more; `--json` lists all")


def _print_name_only(console: PrintableConsole, sources: int, reasons: Mapping[str, int]) -> None:
    """How many sources are found by their name only, and why."""
    if sources:
        why = ", ".join(f"{count} {code}" for code, count in sorted(reasons.items()))
        console.print(f"  {sources} are found by name and metadata only ({why})")


class RunProgress:
    """Progress of a run on standard error: a bar on a terminal, else a line every 5 seconds."""

    def __init__(
        self,
        paths: Sequence[str | Path],
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
        *,
        open_end: bool = False,
    ) -> None:
        self._started = time.monotonic()
        self._printed = self._started
        self._counts = RunCounts()
        self._bar: Progress | None = None
        if err.is_terminal:
            self._bar = Progress(
                TextColumn("indexing"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rate]}"),
                TimeRemainingColumn(),
                TextColumn("{task.fields[failed]}"),
                console=err,
                transient=True,
            )
            self._task = self._bar.add_task("", total=None, rate="", failed="")
            # The number of files in a list, a URL or a shard is not known before.
            if not open_end and not any(is_url(str(path)) for path in paths):
                threading.Thread(
                    target=self._count, args=(paths, include, exclude), daemon=True
                ).start()

    def _count(
        self, paths: Sequence[str | Path], include: Sequence[str], exclude: Sequence[str]
    ) -> None:
        """Count the files in a second walk, so that the run need not list them first."""
        total = sum(1 for _ in walk(paths, include=include, exclude=exclude))
        if self._bar is not None:
            self._bar.update(self._task, total=total)

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, counts: RunCounts) -> None:
        seconds = max(time.monotonic() - self._started, 1e-9)
        rate = f"{counts.done / seconds:.1f} files/s"
        if self._bar is not None:
            failed = f"{counts.failed} failed" if counts.failed else ""
            self._bar.update(self._task, completed=counts.done, rate=rate, failed=failed)
        elif time.monotonic() - self._printed >= PLAIN_EVERY:
            self._printed = time.monotonic()
            err.print(f"{counts.done} files done, {counts.failed} failed, {rate}")


def print_status(status: dict[str, Any]) -> None:
    """Print the status of a library."""
    for warning in status.get("warnings", ()):
        err.print(f"[yellow]warning:[/] {escape(warning)}")
    collections = ", ".join(f"{n} ({p})" for n, p in status["collections"].items()) or "none yet"
    out.print(f"collections  {escape(collections)}")
    without = [name for name, sounds in status.get("sounds", {}).items() if not sounds]
    if without:
        out.print(
            f"sounds       none in {escape(', '.join(without))}: no sound model (nano has none)"
        )
    out.print(f"sources      {status['sources']} indexed, {status['failed']} failed")
    if name_only := status.get("name_only"):
        _print_name_only(out, name_only["sources"], name_only["reasons"])
    out.print(f"segments     {status['segments']}")
    for space, count in status["vectors"].items():
        held = status["index"].get(space)
        state = (
            f"index {held['type']}, {held['size']} vectors, generation {held['generation']}"
            if held
            else "no index yet"
        )
        out.print(f"space {space:<6} {count} vectors; {state}")
    for collection, switch in status.get("switching", {}).items():
        built = ", ".join(
            f"{space} {state['vectors']} of {state['of']} vectors"
            for space, state in switch["spaces"].items()
        )
        out.print(
            f"switching    {escape(collection)} to profile {escape(switch['profile'])}: "
            f"{built or 'begun'} (`mmsearch models switch` continues, --abort deletes it)"
        )
    if (verify := status.get("verify")) is not None:
        out.print("verify       nothing missing, nothing extra" if verify["ok"] else "verify")
        for problem in verify["problems"]:
            out.print(f"  [red]problem[/] {escape(problem)}")
        for mended in verify.get("repaired", ()):
            out.print(f"  [green]repaired[/] {escape(mended)}")
        for note in verify.get("notes", ()):
            out.print(f"  [yellow]note[/] {escape(note)}")
