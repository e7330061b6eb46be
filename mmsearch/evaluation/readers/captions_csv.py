"""Captions of sounds: the CSV files of Clotho and of AudioCaps.

Clotho (Drossos et al., 2020): file_name, caption_1 ... caption_5.
AudioCaps (Kim et al., 2019): audiocap_id, youtube_id, start_time, caption; one row a caption.
Many clips of AudioCaps are gone for good: what is not in the folder is counted and left out.
"""

from __future__ import annotations

import csv
from pathlib import Path

from mmsearch.errors import QueryError
from mmsearch.evaluation.dataset import Dataset, EvalQuery, Item, kind_of

_SUFFIXES = (".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a", ".mp4", ".webm")


def read(path: Path, media: Path | None, _split: str | None) -> Dataset:
    """Recordings are looked for in `media`, else in a folder of the file's name beside it."""
    named = path.with_suffix("")
    folder = media or (named if named.is_dir() else path.parent)
    with path.open(encoding="utf-8", newline="") as stream:
        reader = csv.DictReader(stream)
        columns = reader.fieldnames or ()
        rows = list(reader)
    if "file_name" in columns and any(name.startswith("caption") for name in columns):
        return _clotho(path.stem, rows, folder)
    if "youtube_id" in columns and "caption" in columns:
        return _audiocaps(path.stem, rows, folder)
    raise QueryError(
        f"{path.name} has neither Clotho's columns (file_name, caption_1 ...) nor AudioCaps' "
        f"(audiocap_id, youtube_id, start_time, caption): {', '.join(columns)}",
        param="dataset",
    )


def _clotho(name: str, rows: list[dict[str, str]], folder: Path) -> Dataset:
    recordings: list[tuple[str, Path | None, list[tuple[str, str]]]] = []
    for row in rows:
        captions = [
            (f"{row['file_name']}#{column.removeprefix('caption').strip('_')}", caption)
            for column, caption in row.items()
            if column and column.startswith("caption") and caption
        ]
        file = folder / row["file_name"]
        recordings.append((row["file_name"], file if file.is_file() else None, captions))
    return _dataset(name, recordings, folder)


def _audiocaps(name: str, rows: list[dict[str, str]], folder: Path) -> Dataset:
    clips: dict[str, tuple[Path | None, list[tuple[str, str]]]] = {}
    for number, row in enumerate(rows):
        youtube, start = row["youtube_id"], row.get("start_time") or "0"
        query = row.get("audiocap_id") or str(number)
        clip = f"{youtube}_{start}"
        if clip not in clips:
            stems = (query, youtube, f"Y{youtube}", clip)
            clips[clip] = (_first(folder, stems), [])
        clips[clip][1].append((query, row["caption"]))
    return _dataset(
        name, [(clip, file, captions) for clip, (file, captions) in clips.items()], folder
    )


def _first(folder: Path, stems: tuple[str, ...]) -> Path | None:
    for stem in stems:
        for suffix in _SUFFIXES:
            if (folder / f"{stem}{suffix}").is_file():
                return folder / f"{stem}{suffix}"
    return None


def _dataset(
    name: str, recordings: list[tuple[str, Path | None, list[tuple[str, str]]]], folder: Path
) -> Dataset:
    items: list[Item] = []
    queries: list[EvalQuery] = []
    judgements: dict[str, dict[str, int]] = {}
    missing = 0
    for item, file, captions in recordings:
        if file is None:
            missing += 1
            continue
        items.append(Item(item, file, kind=kind_of(file)))
        for query, caption in captions:
            queries.append(EvalQuery(query, text=caption))
            judgements[query] = {item: 1}
    problems = (f"{missing} recordings are not in {folder}",) if missing else ()
    return Dataset(name, tuple(items), tuple(queries), judgements, problems)
