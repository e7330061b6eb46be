"""Writes the settings tables of docs/settings.md and README.md from the settings class.

python tools/settings_table.py         # rewrite both pages
python tools/settings_table.py --check # exit 1 if one of them is out of date
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from mmsearch.settings import Settings

ROOT = Path(__file__).resolve().parent.parent

COMMON = (
    "library",
    "profile",
    "device",
    "language",
    "ocr_pictures",
    "captions",
    "rerank",
    "min_score",
    "port",
    "api_keys",
)
"""The settings that people change most, for README."""

PAGES = {"docs/settings.md": ("settings table", None), "README.md": ("common settings", COMMON)}
"""Page: the name of its table's markers, and the settings in it (None: all)."""


def settings_table(names: Iterable[str] | None = None) -> str:
    """Settings as a Markdown table: those named, or all."""
    lines = ["| setting | default | what it does |", "|---|---|---|"]
    for name in names or Settings.model_fields:
        field = Settings.model_fields[name]
        default = "" if field.default is None or field.default == () else f"`{field.default}`"
        lines.append(f"| `{name}` | {default} | {field.description} |")
    return "\n".join(lines) + "\n"


def with_table(page: str, text: str) -> str:
    """The text of a page with its table brought up to date."""
    name, settings = PAGES[page]
    begin = f"<!-- {name}: made by tools/settings_table.py, checked by tests/test_docs.py -->\n"
    end = f"<!-- end of {name} -->\n"
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    return f"{before}{begin}{settings_table(settings)}{end}{after}"


if __name__ == "__main__":
    outdated = False
    for page in PAGES:
        path = ROOT / page
        text = path.read_text("utf-8")
        updated = with_table(page, text)
        outdated |= updated != text
        if "--check" not in sys.argv:
            path.write_text(updated, "utf-8")
    if "--check" in sys.argv:
        sys.exit(outdated)
