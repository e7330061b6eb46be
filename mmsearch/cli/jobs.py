"""`mmsearch jobs`, `worker`, `watch`, `failures` and `import`: indexing in the background."""

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
from rich.table import Table

from mmsearch.cli.options import Collection, Json, LibraryOption, ProfileName, Set, settings_from
from mmsearch.cli.printable import escape
from mmsearch.errors import FAILURES
from mmsearch.media.sandbox.confinement import NICENESS
from mmsearch.settings_loading import load_settings
from mmsearch.stores.runs import Run, run_to_json

jobs = typer.Typer(help="List and control indexing jobs.", no_args_is_help=True)

JobId = Annotated[int, typer.Argument(metavar="ID", help="Number of the job.")]


@jobs.command("list")
def list_jobs(
    *,
    state: Annotated[
        list[str] | None,
        typer.Option(help="Show only jobs in this state. May be repeated.", show_default=False),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Maximum number of jobs.")] = 50,
    library: LibraryOption = None,
    set_: Set = None,
    as_json: Json = False,
) -> None:
    """List jobs and indexing runs, newest first."""
    from mmsearch.cli import output

    with _store(library, set_) as store:
        listed = store.jobs.list(states=state or (), limit=limit)
    if as_json:
        output.print_json({"jobs": [run_to_json(job) for job in listed]})
        return
    if not listed:
        output.out.print("There are no jobs.")
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("id", "kind", "state", "done", "failed", "rate", "tries", "began", "note"):
        table.add_column(name, overflow="fold")
    for job in listed:
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
    """Show one job and the outcome of each of its files."""
    from mmsearch.cli import output

    with _store(library, set_) as store:
        job = store.runs.get(id)
        items = store.runs.items(id, 1_000_000)
    if as_json:
        output.print_json({"job": run_to_json(job) | {"items": [asdict(item) for item in items]}})
        return
    for name, value in run_to_json(job).items():
        output.out.print(f"{name:13}{escape(str(value))}")
    for item in items:
        reason = f" {item.code}: {item.reason}" if item.code else ""
        output.out.print(f"  {item.outcome:10}{escape(item.path + reason)}")


def _control(
    action: str, number: int, library: Path | None, set_: list[str] | None, *, as_json: bool
) -> None:
    from mmsearch.cli import output

    with _store(library, set_) as store:
        job = (
            store.jobs.resume(number) if action == "resume" else store.jobs.request(number, action)
        )
    if as_json:
        output.print_json({"job": run_to_json(job)})
    else:
        pending = f", its worker will {job.wanted} it" if job.wanted else ""
        output.out.print(f"Job {job.id} is {job.state}{pending}.")


@jobs.command("cancel")
def cancel_job(
    id: JobId,  # noqa: A002
    *,
    library: LibraryOption = None,
    set_: Set = None,
    as_json: Json = False,
) -> None:
    """Cancel a job. Files it has already indexed stay in the library."""
    _control("cancel", id, library, set_, as_json=as_json)


@jobs.command("pause")
def pause_job(
    id: JobId,  # noqa: A002
    *,
    library: LibraryOption = None,
    set_: Set = None,
    as_json: Json = False,
) -> None:
    """Pause a job until it is resumed."""
    _control("pause", id, library, set_, as_json=as_json)


@jobs.command("resume")
def resume_job(
    id: JobId,  # noqa: A002
    *,
    library: LibraryOption = None,
    set_: Set = None,
    as_json: Json = False,
) -> None:
    """Queue a paused, failed or cancelled job again."""
    _control("resume", id, library, set_, as_json=as_json)


@jobs.command("add")
def add_job(
    paths: Annotated[list[str], typer.Argument(metavar="PATH...", help="As for `mmsearch index`.")],
    *,
    library: LibraryOption = None,
    collection: Annotated[
        str, typer.Option(help="Collection to index into. It is created if needed.")
    ] = "default",
    profile: ProfileName = None,
    include: Annotated[
        list[str] | None, typer.Option(help="As for `mmsearch index`.", show_default=False)
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option(help="As for `mmsearch index`.", show_default=False)
    ] = None,
    prune: Annotated[bool, typer.Option("--prune", help="As for `mmsearch index`.")] = False,
    prune_empty: Annotated[
        bool, typer.Option("--prune-empty", help="As for `mmsearch index`.")
    ] = False,
    priority: Annotated[
        int, typer.Option(help="Jobs with a higher priority run first. Uploads have 1.")
    ] = 0,
    set_: Set = None,
    as_json: Json = False,
) -> None:
    """Queue an indexing job for a worker or a running service."""
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
    settings = settings_from(set_, profile=profile)
    with Library.open(library or load_settings().library, create=True, **settings) as opened:
        number = enqueue(opened, "index", task, collection=collection, priority=priority)
        job = opened.store.runs.get(number)
    if as_json:
        output.print_json({"job": run_to_json(job)})
    else:
        output.out.print(f"Job {number} is queued.")


def worker(
    *,
    library: LibraryOption = None,
    profile: ProfileName = None,
    once: Annotated[bool, typer.Option("--once", help="Exit when no job is due.")] = False,
    idle: Annotated[
        float | None,
        typer.Option(min=0.0, help="Exit after this many seconds without a job."),
    ] = None,
    until_eof: Annotated[bool, typer.Option("--until-eof", hidden=True)] = False,
    set_: Set = None,
    as_json: Json = False,
) -> None:
    """Run indexing jobs from the queue. Several workers may run at once."""
    from indexer.jobs import Worker
    from mmsearch.cli import output
    from mmsearch.library import Library

    settings = settings_from(set_, profile=profile)
    if until_eof and hasattr(os, "nice"):
        os.nice(NICENESS)  # before there are threads: each has a niceness of its own
    with Library.open(library or load_settings().library, **settings) as opened:
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
    folders: Annotated[list[Path], typer.Argument(metavar="FOLDER...", help="Folders to watch.")],
    *,
    library: LibraryOption = None,
    collection: Annotated[
        str, typer.Option(help="Collection to index into. It is created if needed.")
    ] = "default",
    profile: ProfileName = None,
    include: Annotated[
        list[str] | None,
        typer.Option(
            help="Index only files that match this glob. May be repeated.", show_default=False
        ),
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option(help="Skip files that match this glob. May be repeated.", show_default=False),
    ] = None,
    settle: Annotated[
        float, typer.Option(min=0.0, help="Seconds without a change before a file is indexed.")
    ] = 2.0,
    set_: Set = None,
) -> None:
    """Watch folders. New and changed files are indexed, deleted files are removed."""
    from indexer.watch import FolderWatch
    from mmsearch.cli import output
    from mmsearch.library import Library

    settings = settings_from(set_, profile=profile)
    with Library.open(library or load_settings().library, create=True, **settings) as opened:
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
    folder: Annotated[Path, typer.Argument(help="Output folder of clip-retrieval.")],
    *,
    model: Annotated[str, typer.Option(help="Model that made the embeddings.")],
    library: LibraryOption = None,
    collection: Annotated[
        str, typer.Option(help="Collection to index into. It is created if needed.")
    ] = "default",
    profile: ProfileName = None,
    set_: Set = None,
    as_json: Json = False,
) -> None:
    """Import embeddings that clip-retrieval made with the collection's model."""
    from indexer.embeddings import import_embeddings
    from mmsearch.cli import output
    from mmsearch.library import Library

    settings = settings_from(set_, profile=profile)
    with (
        Library.open(library or load_settings().library, create=True, **settings) as opened,
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
    limit: Annotated[int, typer.Option(min=1, help="Maximum number of failures.")] = 1000,
    set_: Set = None,
    as_json: Json = False,
) -> None:
    """List files that could not be indexed, and why. Retry with `mmsearch index --retry-failed`."""
    from mmsearch.cli import output

    with _store(library, set_) as store:
        chosen = store.collections.get(collection).id if collection else None
        failed = store.sources.failures(chosen, limit)
    if as_json:
        listed = [asdict(failure) | {"help": FAILURES.get(failure.code)} for failure in failed]
        output.print_json({"failures": listed})
        return
    if not failed:
        output.out.print("Nothing has failed.")
        return
    for code in sorted({failure.code for failure in failed}):
        output.out.print(f"[bold]{code}[/]  {escape(FAILURES.get(code, ''))}")
        for failure in failed:
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
    """Open only the store: no models, no indexes."""
    from contextlib import closing

    from mmsearch.build import open_store

    settings = load_settings(library or load_settings().library, **settings_from(set_))
    return closing(open_store(settings))


def _await_eof(end: Callable[[], None]) -> None:
    while sys.stdin.buffer.read(1024):
        pass
    end()


def _on_terminate(end: Any) -> None:
    """On SIGTERM call `end`: the current job goes back into the queue."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, lambda *_: end())
