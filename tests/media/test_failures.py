"""Every way in which a file can fail has a code with a sentence for people."""

from __future__ import annotations

import ast
from pathlib import Path

from mmsearch.errors import FAILURES

ROOT = Path(__file__).resolve().parents[2]


def codes_raised() -> dict[str, str]:
    """Code to a place: the first argument of every MediaError, Failure and Broken made."""
    found: dict[str, str] = {}
    for path in [*(ROOT / "mmsearch").rglob("*.py"), *(ROOT / "indexer").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
                continue
            at = {"MediaError": 0, "Broken": 0, "WalkProblem": 1, "Failure": 1}.get(node.func.id)
            if at is None or len(node.args) <= at:
                continue
            code = node.args[at]
            if isinstance(code, ast.Constant) and isinstance(code.value, str):
                found.setdefault(code.value, f"{path.name}:{node.lineno}")
    return found


def test_every_code_is_explained() -> None:
    raised = codes_raised()
    assert len(raised) >= 12
    assert {code: place for code, place in raised.items() if code not in FAILURES} == {}


def test_every_explanation_is_needed_and_is_a_sentence() -> None:
    unused = set(FAILURES) - set(codes_raised())
    # Told by the sandbox as variables.
    assert unused <= {"crashed", "model"}
    for code, text in FAILURES.items():
        assert text[0].isupper(), code
        assert text.endswith("."), code


def test_the_guide_lists_them_all() -> None:
    text = (ROOT / "docs" / "sources.md").read_text("utf-8")
    for code, sentence in FAILURES.items():
        assert f"| `{code}` | {sentence} |" in text
