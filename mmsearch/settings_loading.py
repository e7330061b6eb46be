"""Settings of one library: arguments, then environment, then its settings.toml, then defaults."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from mmsearch.errors import SettingsError
from mmsearch.settings import Settings

SETTINGS_FILE = "settings.toml"


def load_settings(library: Path | str | None = None, **overrides: Any) -> Settings:
    """Settings for one library: `overrides`, then environment, settings.toml, defaults.

    An override of None counts as absent. Raises SettingsError, which names the setting and where
    its value came from, and lists the known settings if the name is unknown.
    """
    arguments = {name: value for name, value in overrides.items() if value is not None}
    if library is not None:
        arguments["library"] = Path(library).expanduser()
    try:
        settings = Settings(**arguments)
    except ValidationError as error:
        raise _settings_error(error, arguments) from None
    path = settings.library / SETTINGS_FILE
    in_file = _read_file(path)
    if not in_file:
        return settings
    from_environment = settings.model_fields_set
    in_force = {name: v for name, v in in_file.items() if name not in from_environment}
    try:
        return Settings(**(in_force | arguments))
    except ValidationError as error:
        raise _settings_error(error, arguments, path) from None


def _settings_error(
    error: ValidationError, arguments: Mapping[str, Any], path: Path | None = None
) -> SettingsError:
    """The first error of a validation. What is no argument comes from `path`, if there is one."""
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"])
    setting = str(first["loc"][0]) if first["loc"] else ""
    place = ""
    if setting not in arguments:
        place = f"{path}: " if path else f"environment variable MMSEARCH_{setting.upper()}: "
    if first["type"] == "extra_forbidden":
        return SettingsError(place + unknown_setting(name), param=name)
    return SettingsError(f"{place}setting '{name}': {first['msg']}.", param=name)


def unknown_setting(name: str) -> str:
    """The message about a setting that does not exist, with the nearest name or all names."""
    near = difflib.get_close_matches(name, Settings.model_fields, n=1)
    known = ", ".join(Settings.model_fields)
    hint = f"Did you mean '{near[0]}'?" if near else f"Known settings: {known}."
    return f"unknown setting '{name}'. {hint}"


def _read_file(path: Path) -> Mapping[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"{path}: {error}") from None
