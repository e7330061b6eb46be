"""Embeddings that exist already, as clip-retrieval writes them: nothing is decoded or embedded.

::

    img_emb/img_emb_0.npy          (n, dimension) float16 or float32, a row per picture
    metadata/metadata_0.parquet    n rows: image_path, caption, url, key ...

The caller names the model that made them; they are refused unless it is the model of the
collection's `clip` space. The paths in the metadata are only text: nothing is opened, or
served, because of them.
"""

from __future__ import annotations

import hashlib
import mimetypes
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from indexer.inputs.content import Item, Opened, Spool
from indexer.inputs.sidecars import split_captions
from indexer.outcomes import RunCounts
from indexer.runs import RunSummary, collection_for, index_into
from mmsearch.errors import DimensionError, MissingDependencyError, QueryError, SpaceMismatchError
from mmsearch.library import Library
from mmsearch.stores.places import display_path, member_uri, uri_of
from mmsearch.types import SourceFile, Space

ROWS = 256
_KEYS = ("key", "id", "__key__")


@dataclass(frozen=True, slots=True)
class ImportedVector:
    """A picture known only by its vector, shape (dimension,), unit length."""

    vector: npt.NDArray[np.float16] = field(repr=False)
    mime: str

    @contextmanager
    def opened(self, spool: Spool) -> Iterator[Opened]:  # noqa: ARG002
        content = self.vector.tobytes()
        digest = hashlib.sha256(content).hexdigest()
        yield Opened(digest, len(content), vector=self.vector, name=self.mime)


def import_embeddings(
    library: Library,
    folder: str | Path,
    model: str,
    *,
    collection: str = "default",
    on_progress: Callable[[RunCounts], None] = lambda _counts: None,
) -> RunSummary:
    """Import a folder that clip-retrieval has written; `model` names the model that made it.

    Raises SpaceMismatchError if that is not the collection's model, DimensionError, QueryError
    (the folder is not such a folder, or damaged), MissingDependencyError (pyarrow).
    """
    pairs = _pairs(Path(folder).expanduser())
    target = collection_for(library, collection)
    space = library.models(target.profile).clip.space
    _check_model(model, space)
    for vectors, table in pairs:
        _check_pair(vectors, table, space)
    items = (item for pair in pairs for item in _items(*pair))
    return index_into(library, (), ready=items, collection=collection, on_progress=on_progress)


def _pairs(folder: Path) -> list[tuple[Path, Path]]:
    """(vectors, metadata) of each part."""
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError:
        raise MissingDependencyError("pyarrow", "tables", "Importing embeddings") from None
    pairs = []
    for vectors in sorted(folder.glob("img_emb/img_emb_*.npy"), key=_number):
        table = folder / "metadata" / f"metadata_{vectors.stem.removeprefix('img_emb_')}.parquet"
        if not table.is_file():
            raise QueryError(f"{vectors} has no {table.name} beside it", param="folder")
        pairs.append((vectors, table))
    if not pairs:
        raise QueryError(
            f"{folder} holds no img_emb/img_emb_*.npy, as clip-retrieval writes them",
            param="folder",
        )
    return pairs


def _number(path: Path) -> tuple[int, str]:
    digits = re.sub(r"\D", "", path.stem)
    return int(digits or 0), path.name


def _check_model(model: str, space: Space) -> None:
    """Spellings of one name are equal: `ViT-B/32` is `ViT-B-32`."""

    def plain(name: str) -> str:
        return name.casefold().replace("/", "-").replace(" ", "")

    names = {space.model, f"{space.model}/{space.revision}", space.fingerprint}
    if plain(model) not in map(plain, names):
        raise SpaceMismatchError(
            f"the embeddings were made with '{model}', and this collection's with {space.model} "
            f"({space.revision}, fingerprint {space.fingerprint}): they do not compare. Import "
            "them into a collection of that model (--collection, --set clip_model=…).",
            param="model",
        )


def _check_pair(vectors: Path, table: Path, space: Space) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    shape = _open(vectors).shape
    try:
        rows = pq.read_metadata(table).num_rows
    except (pa.ArrowException, OSError) as error:
        raise QueryError(f"{table} cannot be read: {error}", param="folder") from None
    if len(shape) != 2 or shape[1] != space.dimension:
        raise DimensionError(
            f"{vectors} holds {'x'.join(map(str, shape))} numbers; the collection's vectors have "
            f"{space.dimension} dimensions",
            param="folder",
        )
    if shape[0] != rows:
        raise QueryError(f"{vectors} has {shape[0]} rows and {table} {rows}", param="folder")


def _open(path: Path) -> npt.NDArray[Any]:
    try:
        # Never pickled objects: they would run code.
        matrix = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise QueryError(f"{path} cannot be read: {error}", param="folder") from None
    if not isinstance(matrix, np.ndarray) or matrix.dtype.kind != "f":
        raise QueryError(f"{path} holds no floating-point numbers", param="folder")
    return matrix


def _items(vectors: Path, table: Path) -> Iterator[Item]:
    import pyarrow.parquet as pq

    matrix = _open(vectors)
    container, shown = uri_of(table), display_path(table)
    number = 0
    with pq.ParquetFile(table) as file:
        for batch in file.iter_batches(ROWS):
            rows = batch.to_pylist()
            units = _units(matrix[number : number + len(rows)], vectors)
            for row, vector in zip(rows, units, strict=True):
                yield _item(container, shown, number, row, vector)
                number += 1


def _units(rows: npt.NDArray[Any], path: Path) -> npt.NDArray[np.float16]:
    exact = np.asarray(rows, np.float32)
    norms = np.linalg.norm(exact, axis=1, keepdims=True)
    if not np.isfinite(exact).all() or (norms == 0).any():
        raise QueryError(f"{path} holds vectors without a direction", param="folder")
    return np.asarray(exact / norms, np.float16)


def _item(
    container: str, shown: str, number: int, row: dict[str, Any], vector: npt.NDArray[np.float16]
) -> Item:
    key = next((str(row[name]) for name in _KEYS if row.get(name) not in (None, "")), str(number))
    metadata, captions = split_captions(row)
    path = str(row.get("image_path") or row.get("url") or "")
    mime = mimetypes.guess_type(path)[0] or ""
    file = SourceFile(member_uri(container, key), f"{shown}::{display_path(key)}", vector.nbytes, 0)
    content = ImportedVector(vector, mime if mime.startswith("image/") else "")
    revision = hashlib.sha256(vector.tobytes()).hexdigest()[:16]
    return Item(file, content, metadata, captions, revision)
