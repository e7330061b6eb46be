"""`mmsearch models`: change the models of a collection."""

from __future__ import annotations

from typing import Annotated

import typer

from mmsearch.cli.options import Collection, Json, LibraryOption, Set, settings_from
from mmsearch.errors import QueryError
from mmsearch.settings_loading import load_settings

models = typer.Typer(help="Change the models of a collection.", no_args_is_help=True)


@models.command("switch")
def switch(
    *,
    library: LibraryOption = None,
    collection: Collection = None,
    profile: Annotated[
        str | None,
        typer.Option(
            "--profile",
            help="Profile to switch to: nano, small, base, best. Default: the collection's own "
            "profile with the models that --set names (clip_model, text_model, ...), or the "
            "target of an interrupted switch.",
            show_default=False,
        ),
    ] = None,
    allow_missing: Annotated[
        bool,
        typer.Option("--allow-missing", help="Switch even if some files can no longer be decoded."),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the plan and do nothing.")
    ] = False,
    abort: Annotated[
        bool, typer.Option("--abort", help="Delete the vectors of an interrupted switch.")
    ] = False,
    set_: Set = None,
    as_json: Json = False,
) -> None:
    """Embed everything with other models, then search with them. Search stays available."""
    from indexer.switching.switch import abort_switch, switch_models
    from mmsearch.cli import output
    from mmsearch.cli.switch_output import SwitchProgress, print_summary

    settings = settings_from(set_)
    folder = library or load_settings().library
    if abort:
        if profile or allow_missing or dry_run:
            raise QueryError("--abort goes with --library and --collection only", param="abort")
        dropped = abort_switch(folder, collection=collection, **settings)
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
            on_plan=progress.print_plan,
            on_progress=progress,
            **settings,
        )
    if not dry_run:
        print_summary(summary)
    if as_json:
        output.print_json(summary.to_json())
    if not (summary.switched or dry_run):
        raise typer.Exit(1)
