"""`mmsearch models`: what a collection is searched with, and changing it."""

from __future__ import annotations

from typing import Annotated

import typer

from mmsearch.cli.options import Collection, Json, LibraryOption, Set, settings_from
from mmsearch.errors import QueryError
from mmsearch.settings import load_settings

models = typer.Typer(help="The models of a collection.", no_args_is_help=True)


@models.command("switch")
def switch(
    *,
    library: LibraryOption = None,
    collection: Collection = None,
    profile: Annotated[
        str | None,
        typer.Option(
            "--profile",
            help="The models to change to: nano, small, base, best. Default: the collection's own, "
            "with those that --set names in place (clip_model, text_model, ...), or those of a "
            "switch that was interrupted.",
            show_default=False,
        ),
    ] = None,
    allow_missing: Annotated[
        bool,
        typer.Option(
            "--allow-missing", help="Switch even if files that must be decoded again cannot be."
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would happen, and do nothing.")
    ] = False,
    abort: Annotated[
        bool, typer.Option("--abort", help="Drop what an interrupted switch has made.")
    ] = False,
    set_: Set = None,
    as_json: Json = False,
) -> None:
    """Embed everything with other models, then use those. Search goes on all the while."""
    from indexer.switching.switch import abort_switch, switch_models
    from mmsearch.cli import output
    from mmsearch.cli.switch_output import SwitchProgress, print_summary

    given = settings_from(set_)
    folder = library or load_settings().library
    if abort:
        if profile or allow_missing or dry_run:
            raise QueryError("--abort goes with --library and --collection only", param="abort")
        dropped = abort_switch(folder, collection=collection, **given)
        output.err.print(
            "Dropped; search goes on with the models as they were."
            if dropped
            else "There was no switch under way."
        )
        if as_json:
            output.print_json({"aborted": dropped})
        return
    with SwitchProgress() as progress:
        summary = switch_models(
            folder,
            profile,
            collection=collection,
            allow_missing=allow_missing,
            dry_run=dry_run,
            on_plan=progress.tell_plan,
            on_progress=progress,
            **given,
        )
    if not dry_run:
        print_summary(summary)
    if as_json:
        output.print_json(summary.to_json())
    if not (summary.switched or dry_run):
        raise typer.Exit(1)
