"""Writes README's settings table from the settings class.

python tools/settings_table.py         # rewrite README.md
python tools/settings_table.py --check # exit 1 if README.md is behind
"""

from __future__ import annotations

import sys
from pathlib import Path

from mmsearch.settings import settings_table

README = Path(__file__).resolve().parent.parent / "README.md"
BEGIN = "<!-- settings table: made by tools/settings_table.py, checked by tests/test_docs.py -->\n"
END = "<!-- end of settings table -->\n"


def with_table(readme: str) -> str:
    """The text of README with the table as it should be."""
    before, _, rest = readme.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}{settings_table()}{END}{after}"


if __name__ == "__main__":
    have = README.read_text("utf-8")
    want = with_table(have)
    if "--check" in sys.argv:
        sys.exit(have != want)
    README.write_text(want, "utf-8")
