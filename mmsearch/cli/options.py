"""Options that several commands share, and what they mean for the settings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from mmsearch.errors import SettingsError
from mmsearch.settings import Settings

LibraryOption = Annotated[
    Path | None,
    typer.Option(
        "--library",
        help="The library's folder. Default: $MMSEARCH_LIBRARY, else ./mmsearch-library.",
        show_default=False,
    ),
]
ProfileName = Annotated[
    str | None,
    typer.Option(
        "--profile",
        help="Model profile: nano, small, base, best. Default: the collection's own.",
        show_default=False,
    ),
]
Json = Annotated[
    bool, typer.Option("--json", help="Print one line of JSON on standard output, at the end.")
]
Collection = Annotated[
    str | None,
    typer.Option("--collection", help="The collection, if not the only one.", show_default=False),
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="NAME=VALUE", help="Any setting of README's table.", show_default=False
    ),
]


def settings_from(assignments: list[str] | None, **given: Any) -> dict[str, Any]:
    """Settings as given on the command line: named options before `--set name=value`."""
    found: dict[str, Any] = {}
    for assignment in assignments or ():
        name, equals, value = assignment.partition("=")
        if not equals:
            raise SettingsError(f"--set takes NAME=VALUE, not '{assignment}'", param="set")
        if name not in Settings.model_fields:
            known = ", ".join(Settings.model_fields)
            raise SettingsError(f"unknown setting '{name}'. Settings: {known}.", param=name)
        found[name] = tuple(value.split(",")) if name == "api_keys" else value
    return found | {name: value for name, value in given.items() if value is not None}
