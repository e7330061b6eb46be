"""Writes `mmsearch/settings_options.py`, the keyword arguments of `open`, from the settings class.

python tools/settings_options.py
"""

from __future__ import annotations

import collections.abc
import types
import typing
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import SecretStr

from mmsearch.settings import Settings

TARGET = Path(__file__).resolve().parent.parent / "mmsearch" / "settings_options.py"

HEAD = '''"""The settings as keyword arguments, for editors and type checkers.

Made by tools/settings_options.py from `mmsearch.settings.Settings`. tests/test_docs.py compares
the two.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, TypedDict


class SettingsOptions(TypedDict, total=False):
    """What `Library.open` and `SearchEngine.open` take beside the library's folder.

    `Settings` describes each of them. None means: not given here.
    """

'''


def spelled(annotation: Any) -> str:
    """A field's type as callers may write it: a path as a string, a list for a tuple."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        return spelled(arguments[0])
    if origin in {types.UnionType, typing.Union}:
        return " | ".join(spelled(argument) for argument in arguments if argument is not type(None))
    if origin is Literal:
        return "Literal[" + ", ".join(f'"{choice}"' for choice in arguments) + "]"
    if origin is dict:
        return f"Mapping[{spelled(arguments[0])}, {spelled(arguments[1])}] | str"
    if origin in {tuple, collections.abc.Sequence}:
        return f"Sequence[{spelled(arguments[0])}]"
    return {Path: "str | Path", SecretStr: "str"}.get(annotation, annotation.__name__)


def settings_options() -> str:
    """The text of the module."""
    lines = [
        f"    {name}: {spelled(field.annotation)} | None\n"
        for name, field in Settings.model_fields.items()
        if name != "library"
    ]
    return HEAD + "".join(lines)


if __name__ == "__main__":
    TARGET.write_text(settings_options(), "utf-8")
