"""`mmsearch collections`: list, rename and remove collections."""

from __future__ import annotations

from typing import Annotated

import typer

from mmsearch.cli.options import Json, LibraryOption, Set, settings_from
from mmsearch.settings_loading import load_settings

collections = typer.Typer(help="List, rename and remove collections.", no_args_is_help=True)


@collections.command("list")
def list_collections(
    *, library: LibraryOption = None, set_: Set = None, as_json: Json = False
) -> None:
    """List collections with their profiles and numbers of sources."""
    from contextlib import closing

    from mmsearch.build import open_store
    from mmsearch.cli import output
    from mmsearch.cli.printable import escape

    settings = load_settings(library or load_settings().library, **settings_from(set_))
    with closing(open_store(settings)) as store:
        listed = [
            {
                "name": c.name,
                "profile": c.profile,
                "sources": store.collections.count_sources(c.name),
            }
            for c in store.collections.list()
        ]
    if as_json:
        output.print_json({"collections": listed})
        return
    for entry in listed:
        output.out.print(
            f"{escape(str(entry['name']))}  {entry['profile']}  {entry['sources']} sources"
        )
    if not listed:
        output.out.print("No collections yet.")


@collections.command()
def rename(
    name: Annotated[str, typer.Argument(help="The present name.")],
    new_name: Annotated[str, typer.Argument(help="The new name: 1 to 100 characters.")],
    *,
    library: LibraryOption = None,
    set_: Set = None,
) -> None:
    """Give a collection another name."""
    from contextlib import closing

    from mmsearch.build import open_store
    from mmsearch.cli import output
    from mmsearch.cli.printable import escape

    settings = load_settings(library or load_settings().library, **settings_from(set_))
    with closing(open_store(settings)) as store:
        store.collections.rename(name, new_name)
    output.err.print(f"Renamed '{escape(name)}' to '{escape(new_name)}'.")


@collections.command()
def remove(
    name: Annotated[str, typer.Argument(help="The collection to remove.")],
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
    library: LibraryOption = None,
    set_: Set = None,
) -> None:
    """Remove a collection from the library. The files themselves stay."""
    from mmsearch.cli import output
    from mmsearch.cli.printable import escape, printable
    from mmsearch.library import Library

    with Library.open(library or load_settings().library, **settings_from(set_)) as opened:
        sources = opened.store.collections.count_sources(name)
        question = f"Remove the collection '{printable(name)}' with {sources} sources?"
        if not yes and not _confirmed(question):
            output.err.print("Nothing was removed.")
            raise typer.Exit(1)
        opened.remove_collection(name)
    output.err.print(f"Removed '{escape(name)}' with {sources} sources.")


def _confirmed(question: str) -> bool:
    """Whether the answer is yes. Without a terminal it is no."""
    try:
        return typer.confirm(question, err=True)
    except typer.Abort:
        return False
