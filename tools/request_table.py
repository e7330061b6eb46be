"""Writes the table of a search's options in docs/http-api.md from `SearchRequest`.

python tools/request_table.py         # rewrite the page
python tools/request_table.py --check # exit 1 if the page is behind
"""

from __future__ import annotations

import sys
from pathlib import Path

from mmsearch.search.parse.request import SearchRequest

PAGE = Path(__file__).resolve().parent.parent / "docs" / "http-api.md"
BEGIN = "<!-- table of options: made by tools/request_table.py, checked by a test -->\n"
END = "<!-- end of options -->\n"


def request_table() -> str:
    """The fields of the request and what they mean, as a Markdown table."""
    rows = ["| field | |\n", "|---|---|\n"]
    for name, field in SearchRequest.model_fields.items():
        description = (field.description or "").replace("(http-api.md#", "(#").replace("|", "\\|")
        rows.append(f"| `{name}` | {description} |\n")
    return "".join(rows)


def with_table(page: str) -> str:
    """The text of the page with the table as it should be."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}{request_table()}{END}{after}"


if __name__ == "__main__":
    have = PAGE.read_text("utf-8")
    want = with_table(have)
    if "--check" in sys.argv:
        sys.exit(have != want)
    PAGE.write_text(want, "utf-8")
