"""`mmsearch status`, `reindex` and `db`: the state of a library and its repair."""

from __future__ import annotations

from typing import Annotated

import typer

from mmsearch.cli.options import Json, LibraryOption, Set, settings_from
from mmsearch.errors import ConfigurationError
from mmsearch.settings_loading import load_settings

database = typer.Typer(help="Maintain the metadata database.", no_args_is_help=True)


def status(
    *,
    library: LibraryOption = None,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify",
            help="Compare every index with the database, id by id. Exit 1 if they differ.",
        ),
    ] = False,
    repair: Annotated[
        bool,
        typer.Option(
            "--repair",
            help="With --verify: mend what it names, and mark sources that must be indexed again.",
        ),
    ] = False,
    set_: Set = None,
    as_json: Json = False,
) -> None:
    """Show what a library holds and the state of its indexes."""
    from mmsearch.cli import output
    from mmsearch.library import Library

    if repair and not verify:
        raise ConfigurationError("--repair is used with --verify", param="repair")
    with Library.open(library or load_settings().library, **settings_from(set_)) as opened:
        report = opened.status(verify=verify, repair=repair)
    if as_json:
        output.print_json(report)
    else:
        output.print_status(report)
    if verify and not report["verify"]["ok"]:
        raise typer.Exit(1)


def reindex(*, library: LibraryOption = None, set_: Set = None, as_json: Json = False) -> None:
    """Rebuild the vector indexes and full text from the database."""
    from mmsearch.cli import output
    from mmsearch.library import Library

    with Library.open(library or load_settings().library, **settings_from(set_)) as opened:
        opened.reindex()
        report = opened.status()
    if as_json:
        output.print_json(report)
    else:
        output.print_status(report)


@database.command("upgrade")
def db_upgrade(*, library: LibraryOption = None, set_: Set = None) -> None:
    """Migrate a library to this version's schema. A backup is written first."""
    from mmsearch.build import open_store
    from mmsearch.cli import output
    from mmsearch.stores import migrate

    store = open_store(load_settings(library or load_settings().library, **settings_from(set_)))
    revision = migrate.current_revision(store.database.engine)
    store.close()
    output.err.print(f"The library is at schema {revision}, the latest.")
