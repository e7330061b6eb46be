"""Lets the mteb harness drive the engine: its tasks index and search through mmsearch.

    import mteb
    from indexer.evaluation.mteb_search import MtebSearch

    mteb.evaluate(MtebSearch("my-library", profile="base"), mteb.get_tasks(tasks=["SciFact"]))

Offers mteb's `SearchProtocol` (mteb 2): what is measured is the whole engine, with its channels
and fusion, not one model. Texts, pictures and recordings are indexed; a document of several
parts is found by any of them. `pip install 'mmsearch[mteb]'`.
"""

from __future__ import annotations

import hashlib
import io
import wave
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from indexer.runs import index_into
from mmsearch.errors import MissingDependencyError, MMSearchError, QueryError
from mmsearch.library import Library
from mmsearch.query import Query, Term
from mmsearch.search.engine import SearchEngine
from mmsearch.stores.places import uri_of

BATCH = 16
MAX_LIMIT = 1000
FILES = "mteb"
"""Folder of the library that documents are written to."""

Row = Mapping[str, Any]


class MtebSearch:
    """The engine as mteb sees it. `settings` are those of mmsearch (profile, rerank ...)."""

    def __init__(
        self, library: str | Path, *, engine: SearchEngine | None = None, **settings: Any
    ) -> None:
        self._engine = engine or SearchEngine(Library.open(library, create=True, **settings))
        self._collection = ""
        self._documents: dict[str, str] = {}
        self._uris: dict[str, list[str]] = {}

    @property
    def mteb_model_meta(self) -> Any:
        """mteb's own description of a model; names the profile, not its models."""
        try:
            from mteb.models.model_meta import ModelMeta
        except ImportError:
            raise MissingDependencyError("mteb", "mteb", "the mteb harness") from None
        return ModelMeta.create_empty(
            {
                "name": f"mmsearch/{self._engine.settings.profile or 'default'}",
                "revision": version("mmsearch"),
                "framework": [],
                "modalities": ["text", "image", "audio"],
            }
        )

    def close(self) -> None:
        """Close the library."""
        self._engine.close()

    # ------------------------------------------------------------------ mteb's SearchProtocol

    def index(
        self,
        corpus: Iterable[Row],
        *,
        task_metadata: Any,
        hf_split: str,
        hf_subset: str,
        encode_kwargs: Mapping[str, Any] | None = None,  # noqa: ARG002
        num_proc: int | None = None,  # noqa: ARG002
        **_more: Any,
    ) -> None:
        """Take a task's documents into a collection of their own; known ones cost a stat."""
        self._collection = f"mteb-{task_metadata.name}-{hf_subset}-{hf_split}"
        folder = self._engine.library.path / FILES / self._collection
        folder.mkdir(parents=True, exist_ok=True)
        self._documents, self._uris = {}, {}
        for row in corpus:
            name = str(row["id"])
            stem = hashlib.sha256(name.encode()).hexdigest()[:20]
            for suffix, content in _parts(row):
                path = folder / f"{stem}{suffix}"
                if not path.exists() or path.read_bytes() != content:
                    path.write_bytes(content)
                self._documents[uri_of(path)] = name
                self._uris.setdefault(name, []).append(uri_of(path))
        index_into(self._engine.library, [folder], collection=self._collection)

    def search(
        self,
        queries: Iterable[Row],
        *,
        task_metadata: Any,  # noqa: ARG002
        hf_split: str,  # noqa: ARG002
        hf_subset: str,  # noqa: ARG002
        top_k: int,
        encode_kwargs: Mapping[str, Any] | None = None,  # noqa: ARG002
        top_ranked: Mapping[str, Sequence[str]] | None = None,
        num_proc: int | None = None,  # noqa: ARG002
        **_more: Any,
    ) -> dict[str, dict[str, float]]:
        """Query id to document id to score. With `top_ranked`, only among those documents."""
        answers: dict[str, dict[str, float]] = {}
        batch: list[tuple[str, Query]] = []
        for row in queries:
            name = str(row["id"])
            among = top_ranked.get(name) if top_ranked is not None else None
            batch.append((name, self._query(row, top_k, among)))
            if len(batch) == BATCH:
                answers.update(self._answers(batch))
                batch = []
        answers.update(self._answers(batch))
        return answers

    # ------------------------------------------------------------------ parts

    def _query(self, row: Row, top_k: int, among: Sequence[str] | None) -> Query:
        uris = None
        if among is not None:
            uris = [uri for name in among for uri in self._uris.get(name, ())]
        return Query(
            terms=tuple(_terms(row)),
            filter={"uri": {"in": uris}} if uris is not None else None,
            limit=min(top_k, MAX_LIMIT),
            collection=self._collection,
            group="source",
            best=1,
        )

    def _answers(
        self, batch: Sequence[tuple[str, Query]]
    ) -> Iterator[tuple[str, dict[str, float]]]:
        answers = self._engine.search_many([query for _, query in batch])
        for (name, _), answer in zip(batch, answers, strict=True):
            scores: dict[str, float] = {}
            if isinstance(answer, MMSearchError):
                # A task's blank or odd query finds nothing; that is its score.
                if not isinstance(answer, QueryError):
                    raise answer
            else:
                for hit in answer.hits:
                    document = self._documents.get(hit.source.uri)
                    if document is not None:
                        scores.setdefault(document, hit.score)
            yield name, scores


def _parts(row: Row) -> Iterator[tuple[str, bytes]]:
    """(suffix, content) of each file that a document is kept in."""
    texts = [row[key] for key in ("title", "text") if isinstance(row.get(key), str)]
    words = "\n\n".join(text for text in texts if text.strip())
    if words:
        yield ".txt", words.encode()
    if row.get("image") is not None:
        yield ".png", _picture(row["image"])
    if row.get("audio") is not None:
        yield ".wav", _recording(row["audio"])


def _terms(row: Row) -> Iterator[Term]:
    words = row.get("text")
    if isinstance(words, list):  # a conversation: its turns are strings, or have a "content"
        turns = [turn["content"] if isinstance(turn, Mapping) else str(turn) for turn in words]
        words = "\n".join(turns)
    if words:
        yield Term(text=words)
    if row.get("image") is not None:
        yield Term(image=_picture(row["image"]))
    if row.get("audio") is not None:
        yield Term(audio=_recording(row["audio"]))


def _picture(image: Any) -> bytes:
    """A picture as `datasets` gives it (a PIL image), as PNG."""
    content = io.BytesIO()
    image.convert("RGB").save(content, "PNG")
    return content.getvalue()


def _recording(audio: Any) -> bytes:
    """A recording as mteb gives it ({"array", "sampling_rate"}), as 16-bit WAV."""
    samples = np.asarray(audio["array"], np.float32)
    if samples.ndim > 1:
        samples = samples.mean(axis=0)
    content = io.BytesIO()
    with wave.open(content, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(int(audio["sampling_rate"]))
        file.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
    return content.getvalue()
