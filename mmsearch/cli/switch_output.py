"""What people see of a switch to other models: its plan, its progress, what came of it."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from indexer.switching.switch import SwitchCounts, SwitchPlan, SwitchSummary
from mmsearch.cli import output
from mmsearch.stores.switches import described

FAILURES_SHOWN = 20


def print_summary(summary: SwitchSummary) -> None:
    """What came of it, and every file that could not be decoded again."""
    for failure in summary.failures[:FAILURES_SHOWN]:
        output.err.print(f"  [red]not there[/] {escape(failure.path)}: {escape(failure.reason)}")
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
                f"{summary.forgone} segments of those files have no vector now: `mmsearch index` "
                "takes them in again once the files can be read."
            )
        return
    output.err.print(
        f"{made}. Not switched: {len(summary.failures)} files cannot be decoded again "
        f"({summary.forgone} segments). Put them back and run this again; or let them go with "
        "`mmsearch index --prune`; or go on without them: --allow-missing."
    )


class SwitchProgress:
    """Progress on standard error: a bar on a terminal, else a line now and then."""

    def __init__(self) -> None:
        self._began = self._told = time.monotonic()
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

    def tell_plan(self, plan: SwitchPlan) -> None:
        """What will happen, before it does."""
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
            output.err.print("All is made; waiting for an indexing run to end.")
        rate = f"{counts.made / max(time.monotonic() - self._began, 1e-9):.1f} vectors/s"
        if self._bar is not None:
            self._bar.update(self._task, completed=counts.done, total=counts.needed, rate=rate)
        elif time.monotonic() - self._told >= output.PLAIN_EVERY:
            self._told = time.monotonic()
            output.err.print(f"{counts.done} of {counts.needed} vectors, {rate}")
