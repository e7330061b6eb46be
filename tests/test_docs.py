"""What is documented exists, and what exists is documented."""

from __future__ import annotations

import importlib.util
import re
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

import mmsearch
from mmsearch.cli.app import app
from mmsearch.settings import Settings
from mmsearch.settings_options import SettingsOptions

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text("utf-8")


def tool_named(name: str) -> Any:
    """A module of tools/, which is no package."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_settings_tables_are_those_of_the_class() -> None:
    """`python tools/settings_table.py` brings docs/settings.md and README.md up to date."""
    tables = tool_named("settings_table")
    for page in tables.PAGES:
        text = (ROOT / page).read_text("utf-8")
        assert tables.with_table(page, text) == text, page


def test_every_setting_says_what_it_does() -> None:
    """A sentence each, ending in a full stop."""
    for name, field in Settings.model_fields.items():
        assert (field.description or "").endswith("."), name


def commands(group: Any, path: str = "mmsearch") -> Iterator[str]:
    """Every command of the command line by its full name, sub-commands included."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{path} {name}")
        else:
            yield f"{path} {name}"


def test_every_command_is_in_the_readme_or_the_cli_guide() -> None:
    """An undocumented command or sub-command fails.

    A heading may name several: ## `mmsearch jobs list`, `show`
    """
    guide = (ROOT / "docs" / "command-line.md").read_text("utf-8")
    text = README + guide
    for heading in re.findall(r"^## .*", guide, re.MULTILINE):
        if group := re.match(r"## `(mmsearch \w+) \w+`, `", heading):
            text += "".join(f"\n{group[1]} {name}" for name in re.findall(r"`(\w+)`", heading))
    names = list(commands(typer.main.get_command(app)))
    assert "mmsearch jobs list" in names
    assert [name for name in names if name not in text] == []


def test_commands_are_listed_by_need() -> None:
    """`mmsearch --help` begins with what a newcomer needs."""
    first = list(commands(typer.main.get_command(app)))[:5]
    assert first == [f"mmsearch {name}" for name in ("index", "search", "serve", "demo", "status")]


def test_open_takes_every_setting_as_a_typed_argument() -> None:
    """`python tools/settings_options.py` brings mmsearch/settings_options.py up to date."""
    tool = tool_named("settings_options")
    assert tool.TARGET.read_text("utf-8") == tool.settings_options()
    assert typing.get_type_hints(SettingsOptions).keys() == Settings.model_fields.keys() - {
        "library"
    }


def test_what_the_package_exports_is_there() -> None:
    """Every name of `__all__` resolves, and they are sorted."""
    assert list(mmsearch.__all__) == sorted(mmsearch.__all__)
    for name in mmsearch.__all__:
        assert getattr(mmsearch, name) is not None


def test_links_of_the_docs_lead_somewhere() -> None:
    """Relative links in README and docs point at files that exist."""
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text("utf-8")):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_version_has_a_changelog_entry() -> None:
    """A release without an entry fails."""
    assert f"## {mmsearch.__version__}" in (ROOT / "CHANGELOG.md").read_text("utf-8")
