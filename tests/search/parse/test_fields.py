"""The list of well-known fields and its documentation are the same."""

from __future__ import annotations

from pathlib import Path

from mmsearch.search.parse.fields import ALIASES, WELL_KNOWN
from mmsearch.search.parse.filters import FIELDS

DOCS = Path(__file__).parents[3] / "docs" / "queries.md"


def test_the_documentation_lists_the_fields() -> None:
    """With type and description, in the same order."""
    text = DOCS.read_text("utf-8")
    table = text.split("<!-- fields -->\n")[1].split("<!-- end of fields -->")[0]
    rows = [f"| `{name}` | {f.type} | {f.description} |" for name, f in WELL_KNOWN.items()]
    assert table.splitlines()[2:] == rows


def test_no_well_known_field_hides_a_built_in_one() -> None:
    """Their names differ, and aliases name well-known fields."""
    assert not WELL_KNOWN.keys() & FIELDS.keys()
    assert {key for keys in ALIASES.values() for key in keys} <= WELL_KNOWN.keys()
