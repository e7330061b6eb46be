"""What is documented exists, and what exists is documented."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path

import mmsearch
from mmsearch.cli.app import app
from mmsearch.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text("utf-8")


def test_the_settings_tables_are_those_of_the_class() -> None:
    """`python tools/settings_table.py` brings docs/settings.md and README.md up to date."""
    sys.path.insert(0, str(ROOT / "tools"))
    try:
        tables = importlib.import_module("settings_table")
    finally:
        sys.path.pop(0)
    for page in tables.PAGES:
        text = (ROOT / page).read_text("utf-8")
        assert tables.with_table(page, text) == text, page


def test_every_setting_says_what_it_does() -> None:
    """A sentence each, ending in a full stop."""
    for name, field in Settings.model_fields.items():
        assert (field.description or "").endswith("."), name


def test_every_command_is_in_the_readme_or_the_cli_guide() -> None:
    """An undocumented command fails."""
    text = README + (ROOT / "docs" / "command-line.md").read_text("utf-8")
    for command in app.registered_commands:
        assert command.callback is not None
        name = command.name or command.callback.__name__
        assert f"mmsearch {name}" in text, name


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
