"""`mmsearch jobs`, `worker`, `watch` and `failures`: work that goes on behind one's back."""

from __future__ import annotations

import math
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from mmsearch.cli.options import Collection, Json, LibraryOption, ProfileName, Set, settings_from
from mmsearch.errors import FAILURES
from mmsearch.media.sandbox.confinement import NICENESS
from mmsearch.settings import load_settings
from mmsearch.stores.runs import Run, run_to_json

jobs = typer.Typer(help="The queue of indexing jobs.", no_args_is_help=True)

JobId = Annotated[int, typer.Argument(metavar="ID", help="The job's number.")]


@jobs.command("list")
def list_jobs(
    *,
    state: Annotated[
        list[str] | None,
        typer.Option(help="Only jobs in this state; may be repeated.", show_default=False),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, the newest first.")] = 50,
    library: LibraryOption = None,
    set_: Set = None,
    as_json: Json = False,
) -> None:
    """List jobs and runs, the newest first."""
    from mmsearch.cli import output

    with _store(library, set_) as store:
        found = store.jobs(states=state or (), limit=limit)
    if as_json:
        output.print_json({"jobs": [run_to_json(job) for job in found]})
        return
    if not found:
        output.out.print("There are no jobs.")
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("id", "kind", "state", "done", "failed", "rate", "tries", "began", "note"):
        table.add_column(name, overflow="fold")
    for job in found:
        table.add_row(*map(escape, _row(job)))
    output.out.print(table)


@jobs.command("show")
def show_job(
    id: JobId,  # noqa: A002  # its name everywhere else
    *,
    library: LibraryOption = None,
    set_: Set = None,
    as_json: Json = False,
) -> None:
    """Show one job, with what became of each of its files."""
    from mmsearch.cli import output

    with _store(library, set_) as store:
        job = store.run(id)
        items = store.run_items(id, 1_000_000)
    if as_json:
        output.print_json({"job": run_to_json(job) | {"items": [asdict(one) for one in items]}})
        return
    for name, value in run_to_json(job).items():
        output.out.print(f"{name:13}{escape(str(value))}")
    for item in items:
        told = f" {item.code}: {item.reason}" if item.code else ""
        output.out.print(f"  {item.outcome:10}{escape(item.path + told)}")


def _asked(
    wanted: str, number: int, library: Path | None, set_: list[str] | None, *, as_json: bool
) -> None:
    from mmsearch.cli import output

    with _store(library, set_) as store:
        job = store.resume(number) if wanted == "resume" else store.request(number, wanted)
    if as_json:
        output.print_json({"job": run_to_json(job)})
    else:
        soon = f", its worker will {job.wanted} it" if job.wanted else ""
        output.out.print(f"Job {job.id} is {job.state}{soon}.")


@jobs.command("cancel")
def cancel_job(
    id: JobId,  # noqa: A002
    *,
    library: LibraryOption = None,
    set_: Set = None,
    as_json: Json = False,
) -> None:
    """End a job; what it has taken in stays."""
    _asked("cancel", id, library, set_, as_json=as_json)


@jobs.command("pause")
def pause_job(
    id: JobId,  # noqa: A002
    *,
    library: LibraryOption = None,
    set_: Set = None,
    as_json: Json = False,
) -> None:
    """Put a job aside until it is resumed."""
    _asked("pause", id, library, set_, as_json=as_json)


@jobs.command("resume")
def resume_job(
    id: JobId,  # noqa: A002
    *,
    library: LibraryOption = None,
    set_: Set = None,
    as_json: Json = False,
) -> None:
    """Queue a paused, failed or cancelled job again."""
    _asked("resume", id, library, set_, as_json=as_json)


@jobs.command("add")
def add_job(
    paths: Annotated[list[str], typer.Argument(metavar="PATH...", help="As for index.")],
    *,
    library: LibraryOption = None,
    collection: Annotated[str, typer.Option(help="The collection to take them into.")] = "default",
    profile: ProfileName = None,
    include: Annotated[
        list[str] | None, typer.Option(help="As for index.", show_default=False)
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option(help="As for index.", show_default=False)
    ] = None,
    prune: Annotated[bool, typer.Option("--prune", help="As for index.")] = False,
    prune_empty: Annotated[bool, typer.Option("--prune-empty", help="As for index.")] = False,
    priority: Annotated[int, typer.Option(help="Higher goes first; uploads have 1.")] = 0,
    set_: Set = None,
    as_json: Json = False,
) -> None:
    """Queue an indexing job for a worker, or for a running service."""
    from indexer.inputs.named import Named, absolute, check_named
    from indexer.jobs import enqueue
    from mmsearch.cli import output
    from mmsearch.library import Library

    check_named(Named(tuple(paths)))
    task = {
        "paths": [absolute(path) for path in paths],
        "include": include or [],
        "exclude": exclude or [],
        "prune": prune,
        "prune_empty": prune_empty,
    }
    given = settings_from(set_, profile=profile)
    with Library.open(library or load_settings().library, create=True, **given) as opened:
        number = enqueue(opened, "index", task, collection=collection, priority=priority)
        job = opened.store.run(number)
    if as_json:
        output.print_json({"job": run_to_json(job)})
    else:
        output.out.print(f"Job {number} is queued.")


def worker(
    *,
    library: LibraryOption = None,
    profile: ProfileName = None,
    once: Annotated[bool, typer.Option("--once", help="End when no job is due.")] = False,
    idle: Annotated[
        float | None,
        typer.Option(min=0.0, help="End when no job was due for so many seconds."),
    ] = None,
    until_eof: Annotated[bool, typer.Option("--until-eof", hidden=True)] = False,
    set_: Set = None,
    as_json: Json = False,
) -> None:
    """Take indexing jobs from the queue. Any number of workers may run."""
    from indexer.jobs import Worker
    from mmsearch.cli import output
    from mmsearch.library import Library

    given = settings_from(set_, profile=profile)
    if until_eof and hasattr(os, "nice"):
        os.nice(NICENESS)  # before there are threads: each has a niceness of its own
    with Library.open(library or load_settings().library, **given) as opened:
        working = Worker(opened)
        _on_terminate(working.end)
        if until_eof:  # beside a service: it ends with it, and leaves Ctrl-C to it
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            threading.Thread(target=_await_eof, args=(working.end,), daemon=True).start()
        else:
            output.err.print(f"worker {working.name} serves {opened.path}  (Ctrl-C ends)")
        taken = working.run(once=once, idle=math.inf if idle is None else idle)
    if as_json:
        output.print_json({"worker": working.name, "jobs": taken})


def watch(
    folders: Annotated[list[Path], typer.Argument(metavar="FOLDER...", help="What to follow.")],
    *,
    library: LibraryOption = None,
    collection: Annotated[str, typer.Option(help="The collection to take them into.")] = "default",
    profile: ProfileName = None,
    include: Annotated[
        list[str] | None,
        typer.Option(help="Only files that match this glob.", show_default=False),
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option(help="No files that match this glob.", show_default=False),
    ] = None,
    settle: Annotated[
        float, typer.Option(min=0.0, help="Seconds for which a file must have stood still.")
    ] = 2.0,
    set_: Set = None,
) -> None:
    """Follow folders: what is new is taken in, what is gone is let go, until Ctrl-C."""
    from indexer.watch import FolderWatch
    from mmsearch.cli import output
    from mmsearch.library import Library

    given = settings_from(set_, profile=profile)
    with Library.open(library or load_settings().library, create=True, **given) as opened:
        following = FolderWatch(
            opened,
            folders,
            collection=collection,
            include=include or (),
            exclude=exclude or (),
            settle_seconds=settle,
            on_run=output.print_summary,
        )
        _on_terminate(following.end)
        following.run()


def import_(
    folder: Annotated[Path, typer.Argument(help="What clip-retrieval has written.")],
    *,
    model: Annotated[str, typer.Option(help="The model that made the embeddings.")],
    library: LibraryOption = None,
    collection: Annotated[str, typer.Option(help="The collection to take them into.")] = "default",
    profile: ProfileName = None,
    set_: Set = None,
    as_json: Json = False,
) -> None:
    """Take in ready-made embeddings of the collection's own model."""
    from indexer.embeddings import import_embeddings
    from mmsearch.cli import output
    from mmsearch.library import Library

    given = settings_from(set_, profile=profile)
    with (
        Library.open(library or load_settings().library, create=True, **given) as opened,
        output.RunProgress([], open_end=True) as progress,
    ):
        summary = import_embeddings(
            opened, folder, model, collection=collection, on_progress=progress
        )
    output.print_summary(summary)
    if as_json:
        output.print_json(summary.to_json())


def failures(
    *,
    library: LibraryOption = None,
    collection: Collection = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 1000,
    set_: Set = None,
    as_json: Json = False,
) -> None:
    """List what could not be taken in, and why. `mmsearch index --retry-failed` tries again."""
    from mmsearch.cli import output

    with _store(library, set_) as store:
        chosen = store.collection(collection).id if collection else None
        found = store.failures(chosen, limit)
    if as_json:
        told = [asdict(one) | {"help": FAILURES.get(one.code)} for one in found]
        output.print_json({"failures": told})
        return
    if not found:
        output.out.print("Nothing has failed.")
        return
    for code in sorted({failure.code for failure in found}):
        output.out.print(f"[bold]{code}[/]  {escape(FAILURES.get(code, ''))}")
        for failure in found:
            if failure.code == code:
                output.out.print(f"  {escape(failure.path)}: {escape(failure.reason)}")


def _row(job: Run) -> Sequence[str]:
    total = "" if job.total is None else f"/{job.total}"
    return (
        str(job.id),
        job.kind,
        f"{job.state} ({job.wanted})" if job.wanted else job.state,
        f"{job.done}{total}",
        str(job.counts.get("failed", 0)),
        "" if job.rate is None else f"{job.rate:g}/s",
        f"{job.attempts}/{job.max_attempts}" if job.max_attempts else "",
        f"{job.started_at:%Y-%m-%d %H:%M}",
        (job.error or "")[:200],
    )


def _store(library: Path | None, set_: list[str] | None) -> Any:
    """The store alone: no models, no indexes."""
    from contextlib import closing

    from mmsearch.build import open_store

    settings = load_settings(library or load_settings().library, **settings_from(set_))
    return closing(open_store(settings))


def _await_eof(end: Callable[[], None]) -> None:
    while sys.stdin.buffer.read(1024):
        pass
    end()


def _on_terminate(end: Any) -> None:
    """SIGTERM ends gently: the job at hand goes back into the queue."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, lambda *_: end())
