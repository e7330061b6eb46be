"""English text pairs to train nano-text on: (short text, longer text about the same thing).

Sources: docstrings of the installed Python packages (summary line, body), Flickr8k train
captions (two people about one photo) and picture-book captions (short, detailed). The standard
library's docstrings are left out here: they are what ``evaluate.py`` holds back. Notes and memos
of the picture book are held back entirely too.
"""

from __future__ import annotations

import ast
import json
import random
import re
import sysconfig
from collections.abc import Iterator
from pathlib import Path

MIN_BODY, MAX_BODY = 60, 600
"""Characters of a usable body; longer ones are cut at a sentence."""


def clean(text: str) -> str:
    """Prose on one line: markup characters and runs of white space removed."""
    text = re.sub(r"[`*_~|]+", "", text)
    return re.sub(r"\s+", " ", text).strip()


def is_prose(text: str) -> bool:
    """Mostly letters, ASCII, and at least a few words."""
    letters = sum(c.isalpha() or c == " " for c in text)
    return text.isascii() and len(text.split()) >= 4 and letters / len(text) > 0.88


def docstring_pairs(path: Path) -> Iterator[tuple[str, str]]:
    """(summary, first paragraphs of the body) of each documented object of one Python file."""
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (SyntaxError, ValueError, OSError, RecursionError):
        return
    for node in ast.walk(tree):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            continue
        paragraphs = (ast.get_docstring(node) or "").split("\n\n")
        if len(paragraphs) < 2:
            continue
        summary, body = clean(paragraphs[0]), ""
        for paragraph in map(clean, paragraphs[1:]):
            if not is_prose(paragraph) or len(body) + len(paragraph) > MAX_BODY:
                break
            body = f"{body} {paragraph}".strip()
        if len(body) >= MIN_BODY and 12 <= len(summary) <= 160 and is_prose(summary):
            yield summary, body


def package_pairs(limit: int, seed: int = 0) -> list[tuple[str, str]]:
    """Distinct docstring pairs of the installed packages, at most ``limit``."""
    root = Path(sysconfig.get_paths()["purelib"])
    files = sorted(p for p in root.rglob("*.py") if "test" not in p.as_posix())
    random.Random(seed).shuffle(files)
    pairs: dict[str, str] = {}
    bodies: set[str] = set()
    held = {text for pair in standard_library_pairs() for text in pair}  # packages carry copies
    for path in files:
        for summary, body in docstring_pairs(path):
            if summary in held or body in held:
                continue
            if summary not in pairs and body not in bodies:
                pairs[summary] = body
                bodies.add(body)
        if len(pairs) >= limit:
            break
    return list(pairs.items())


def standard_library_pairs() -> list[tuple[str, str]]:
    """Docstring pairs of the Python standard library, for evaluation."""
    root = Path(sysconfig.get_paths()["stdlib"])
    pairs: dict[str, str] = {}
    bodies: set[str] = set()
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).parts
        if "site-packages" in parts or "test" in path.as_posix() or "idlelib" in parts:
            continue
        for summary, body in docstring_pairs(path):
            if summary not in pairs and body not in bodies:
                pairs[summary] = body
                bodies.add(body)
    return list(pairs.items())


def caption_pairs(data: Path, seed: int = 0) -> list[tuple[str, str]]:
    """Two captions, by two people, of each Flickr8k train photo (twice, other ones)."""
    rng = random.Random(seed)
    pairs = []
    for line in (data / "flickr8k128/train.jsonl").open(encoding="utf-8"):
        captions = [c.strip() for c in json.loads(line)["captions"]]
        rng.shuffle(captions)
        pairs += [(captions[0], captions[1]), (captions[2], captions[3])]
    return pairs


def book_pairs(n: int, seed: int = 77) -> list[tuple[str, str]]:
    """(middling, detailed) caption of picture-book scenes of the training split."""
    from mmsearch.demo.picturebook import captions, sample_scenes

    rows = [captions(scene) for scene in sample_scenes("train", n, seed)]
    return [(row[len(row) // 2], row[-1]) for row in rows]
