"""Karpathy's splits of Flickr8k, Flickr30k and COCO: captions that look for their picture.

`dataset_<name>.json`: {"dataset", "images": [{"filename", "filepath"?, "split", "imgid",
"sentences": [{"raw", "sentid"}]}]} (Karpathy and Fei-Fei, 2015).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

from mmsearch.errors import QueryError
from mmsearch.evaluation.dataset import Dataset, EvalQuery, Item


def read(path: Path, media: Path | None, split: str | None) -> Dataset:
    """Pictures are looked for in `media`, else in `images` beside the file, else beside it."""
    try:
        content = orjson.loads(path.read_bytes())
        entries = [entry for entry in content["images"] if entry["split"] == (split or "test")]
    except (orjson.JSONDecodeError, TypeError, KeyError) as error:
        raise QueryError(
            f"{path.name} is not Karpathy's JSON (images with split, filename, sentences): "
            f"{error!r}",
            param="dataset",
        ) from None
    if not entries:
        known = sorted({entry["split"] for entry in content["images"]})
        raise QueryError(
            f"{path.name} has no split '{split or 'test'}' (splits: {', '.join(known)})",
            param="split",
        )
    beside = path.parent / "images"
    folder = media or (beside if beside.is_dir() else path.parent)
    items: list[Item] = []
    queries: list[EvalQuery] = []
    judgements: dict[str, dict[str, int]] = {}
    missing = 0
    for number, entry in enumerate(entries):
        file = _file(entry, folder)
        if file is None:
            missing += 1
            continue
        items.append(Item(entry["filename"], file, kind="image"))
        for place, sentence in enumerate(entry["sentences"]):
            name = str(sentence.get("sentid", f"{entry.get('imgid', number)}-{place}"))
            queries.append(EvalQuery(name, text=sentence["raw"]))
            judgements[name] = {entry["filename"]: 1}
    problems = (f"{missing} pictures are not in {folder}",) if missing else ()
    name = content.get("dataset") or path.stem
    return Dataset(str(name), tuple(items), tuple(queries), judgements, problems)


def _file(entry: dict[str, Any], folder: Path) -> Path | None:
    name = str(entry["filename"])
    for candidate in (folder / name, folder / str(entry.get("filepath", "")) / name):
        if candidate.is_file():
            return candidate
    return None
