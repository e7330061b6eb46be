"""Output of a switch to other models: plan, progress, result."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from indexer.switching.switch import SwitchCounts, SwitchPlan, SwitchSummary
from mmsearch.cli import output
from mmsearch.cli.printable import escape
from mmsearch.stores.switches import described

FAILURES_SHOWN = 20


def print_summary(summary: SwitchSummary) -> None:
    """Print the result and the files that could not be decoded again."""
    for failure in summary.failures[:FAILURES_SHOWN]:
        output.err.print(f"  [red]missing[/] {escape(failure.path)}: {escape(failure.reason)}")
    rest = len(summary.failures) - FAILURES_SHOWN
    if rest > 0:
        output.err.print(f"  … and {rest} more; `--json` lists all")
    made = f"{summary.made} vectors made in {summary.seconds:.1f} s"
    if summary.switched:
        output.err.print(
            f"{made}. Collection '{escape(summary.plan.collection)}' now uses "
            f"{escape(described(summary.plan.new))}; {summary.removed} old vectors removed."
        )
        if summary.forgone:
            output.err.print(
                f"{summary.forgone} segments of those files have no vector now. `mmsearch index` "
                "indexes them once the files can be read."
            )
        return
    output.err.print(
        f"{made}. Not switched: {len(summary.failures)} files cannot be decoded again "
        f"({summary.forgone} segments). Restore them and run this again, remove them with "
        "`mmsearch index --prune`, or continue without them: --allow-missing."
    )


class SwitchProgress:
    """Progress on standard error: a bar on a terminal, else a line every 5 seconds."""

    def __init__(self) -> None:
        self._started = self._printed = time.monotonic()
        self._waiting = False
        self._bar: Progress | None = None
        if output.err.is_terminal:
            self._bar = Progress(
                TextColumn("embedding"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rate]}"),
                TimeRemainingColumn(),
                console=output.err,
                transient=True,
            )
            self._task = self._bar.add_task("", total=None, rate="")

    def print_plan(self, plan: SwitchPlan) -> None:
        """Print the plan."""
        for line in plan.lines():
            output.err.print(escape(line))
        if self._bar is not None:
            self._bar.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, counts: SwitchCounts) -> None:
        if counts.waiting and not self._waiting:
            self._waiting = True
            output.err.print("All vectors are made. Waiting for an indexing run to end.")
        rate = f"{counts.made / max(time.monotonic() - self._started, 1e-9):.1f} vectors/s"
        if self._bar is not None:
            self._bar.update(self._task, completed=counts.done, total=counts.needed, rate=rate)
        elif time.monotonic() - self._printed >= output.PLAIN_EVERY:
            self._printed = time.monotonic()
            output.err.print(f"{counts.done} of {counts.needed} vectors, {rate}")
