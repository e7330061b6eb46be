"""Data sets as they are published, one reader each. Another format: one file and one line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from mmsearch.errors import QueryError
from mmsearch.evaluation.dataset import Dataset, checked
from mmsearch.evaluation.readers import beir, captions_csv, karpathy, lines

Reader = Callable[[Path, Path | None, str | None], Dataset]
"""(file or folder, media folder, split) to a data set. Raises QueryError."""

READERS: Mapping[str, Reader] = {
    "jsonl": lines.read,
    "karpathy": karpathy.read,
    "beir": beir.read,
    "captions-csv": captions_csv.read,
}


def read_dataset(
    path: Path, format_: str | None = None, *, media: Path | None = None, split: str | None = None
) -> Dataset:
    """Read a data set; its format is seen from the path unless it is named.

    `media` is the folder of its pictures or recordings, where that is not beside it. `split` is
    the part to be asked (default: the reader's own, mostly `test`). Raises QueryError.
    """
    if not path.exists():
        raise QueryError(f"there is no data set {path}", param="dataset")
    name = format_ or _guess(path)
    if name not in READERS:
        raise QueryError(f"unknown format '{name}'. Formats: {', '.join(READERS)}.", param="format")
    try:
        return checked(READERS[name](path, media, split))
    except (OSError, UnicodeDecodeError) as error:
        raise QueryError(f"{path} cannot be read: {error}", param="dataset") from None


def _guess(path: Path) -> str:
    if path.is_dir():
        return "beir"
    by_suffix = {".jsonl": "jsonl", ".json": "karpathy", ".csv": "captions-csv"}
    if path.suffix.lower() not in by_suffix:
        raise QueryError(
            f"{path} is no folder, .jsonl, .json or .csv: name its --format ({', '.join(READERS)})",
            param="format",
        )
    return by_suffix[path.suffix.lower()]
