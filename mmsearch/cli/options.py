"""Options that several commands share, and their translation to settings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from mmsearch.errors import SettingsError
from mmsearch.settings import Settings
from mmsearch.settings_loading import unknown_setting

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
Json = Annotated[bool, typer.Option("--json", help="Print the result as one line of JSON.")]
Collection = Annotated[
    str | None,
    typer.Option(
        "--collection",
        help="Name of the collection. Needed if the library has several.",
        show_default=False,
    ),
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="Override a setting. May be repeated. docs/settings.md lists them.",
        show_default=False,
    ),
]


def settings_from(assignments: list[str] | None, **options: Any) -> dict[str, Any]:
    """Settings from the command line. Options of their own win over `--set name=value`."""
    settings: dict[str, Any] = {}
    for assignment in assignments or ():
        name, equals, value = assignment.partition("=")
        if not equals:
            raise SettingsError(f"--set takes NAME=VALUE, not '{assignment}'", param="set")
        if name not in Settings.model_fields:
            raise SettingsError(unknown_setting(name), param=name)
        settings[name] = value
    return settings | {name: value for name, value in options.items() if value is not None}
