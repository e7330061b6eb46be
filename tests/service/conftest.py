"""A small library with real files and a real SQL store, and an engine without any model."""

from __future__ import annotations

import hashlib
import io
import shutil
import struct
import threading
import time
import wave
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import httpx
import pytest
from fastapi import FastAPI
from PIL import Image

from mmsearch.errors import MMSearchError
from mmsearch.query import Hit, Query, SearchResult
from mmsearch.search.parse.json_form import check_query
from mmsearch.service.app import create_app
from mmsearch.settings import Settings
from mmsearch.stores.rows import SourceWrite
from mmsearch.stores.runs import RunItem
from mmsearch.stores.store import SqlStore
from mmsearch.stores.tables import Base
from mmsearch.types import Failure, Modality, Place, SegmentDraft, Source, SourceFile

if TYPE_CHECKING:
    from mmsearch.search.engine import SearchEngine

Handler = Callable[[Sequence[Query]], list[SearchResult | MMSearchError]]


class FakeIndexes:
    """The sizes of one index."""

    def stats(self) -> dict[str, Any]:
        return {"clip": {"type": "Flat", "size": 3, "generation": 2}}


class FakeLibrary:
    """The part of a library that the service reaches for."""

    def __init__(self, settings: Settings) -> None:
        self.path = settings.library
        self.store = SqlStore(settings.database)
        self.indexes = FakeIndexes()

    def delete_source(self, source_id: int) -> None:
        self.store.sources.get(source_id)
        self.store.sources.delete([source_id])

    def status(self, *, verify: bool = False) -> dict[str, Any]:
        return self.store.status.counts() | {"index": self.indexes.stats()}


class FakeEngine:
    """Finds segments whose text or file name holds a word of the query."""

    def __init__(self, settings: Settings, *, create: bool = False) -> None:
        self.settings = settings
        self.library = FakeLibrary(settings)
        self.store = self.library.store
        if create:
            Base.metadata.create_all(self.store.database.engine)
        self.warmed = False
        self.warm_up_error: Exception | None = None

        self.reset()

    def reset(self) -> None:
        """Forget what earlier tests asked for and set."""
        self.batches: list[list[Query]] = []
        self.threads: set[str] = set()
        self.delay = 0.0
        self.hold: threading.Event | None = None
        """Searches wait for it, where there is one."""
        self.handler: Handler | None = None

    def search_many(self, queries: Sequence[Query]) -> list[SearchResult | MMSearchError]:
        self.batches.append(list(queries))
        self.threads.add(threading.current_thread().name)
        if self.hold is not None:
            assert self.hold.wait(10)
        time.sleep(self.delay)
        return self.handler(queries) if self.handler else [self._one(query) for query in queries]

    def _one(self, query: Query) -> SearchResult | MMSearchError:
        try:
            check_query(query)
            collection = self.store.collections.get(query.collection)
        except MMSearchError as error:
            return error
        words = {w for term in query.terms for w in (term.text or "").lower().split()}
        hits: list[Hit] = []
        for source in self.store.sources.list(collection.name, limit=1000):
            for segment in self.store.segments.of_source(source.id):
                if query.modalities and segment.modality not in query.modalities:
                    continue
                text = f"{segment.text or ''} {Path(source.path).name}".lower()
                found = sum(word in text for word in words)
                if found or not words:
                    score = found / len(words) if words else 0.5
                    hits.append(Hit(0, score, {"fake": score}, source, segment))
        hits.sort(key=lambda hit: (-hit.score, hit.segment.id))
        ranked = tuple(
            Hit(rank, hit.score, hit.scores, hit.source, hit.segment)
            for rank, hit in enumerate(hits[: query.limit], 1)
        )
        return SearchResult(query, ranked, 1.25)

    def warm_up(self) -> None:
        if self.warm_up_error is not None:
            raise self.warm_up_error
        self.warmed = True

    def ready(self) -> bool:
        return self.warmed

    def start_following(self) -> None:
        """Nothing to follow."""

    def thumbnail_path(self, source: Source, place: Place | None = None) -> Path:
        page = f"-p{place.page}" if place is not None and place.page else ""
        return self.library.path / "thumbnails" / f"{source.sha256}{page}.jpg"


class FakeIngestor:
    """Says it is done at once."""

    def __init__(self, store: SqlStore) -> None:
        self.store = store
        self.files: list[Path] = []
        self.urls: list[str] = []
        self.collections: list[str | None] = []

    def submit(self, files: Sequence[Path], collection: str | None) -> int:
        self.files += files
        return self._done([str(path) for path in files], collection)

    def submit_urls(self, urls: Sequence[str], collection: str | None) -> int:
        self.urls += urls
        return self._done(urls, collection)

    def _done(self, names: Sequence[str], collection: str | None) -> int:
        self.collections.append(collection)
        run = self.store.runs.start(self.store.collections.get(collection).id, "upload")
        items = [RunItem(name, "indexed") for name in names]
        self.store.runs.update(run, counts={"indexed": len(names)}, items=items, state="done")
        return run


def add_file(
    engine: FakeEngine,
    path: Path,
    content: bytes,
    mime: str,
    segments: Sequence[SegmentDraft] = (),
    *,
    failure: Failure | None = None,
    metadata: dict[str, Any] | None = None,
    collection: str = "default",
) -> int:
    """Write a file and its rows; returns the source's id."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    found = path.stat()
    write = SourceWrite(
        file=SourceFile(path.as_uri(), str(path), found.st_size, found.st_mtime_ns),
        sha256=hashlib.sha256(content).hexdigest(),
        mime=mime,
        recipe="fake",
        metadata=metadata or {},
        segments=tuple(segments),
        failure=failure,
    )
    collection_id = engine.store.collections.get_or_create(collection, "nano").id
    return engine.store.sources.write(collection_id, [write])[0]


def picture(color: str, kind: str = "JPEG", size: tuple[int, int] = (64, 48)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, color).save(buffer, kind)
    return buffer.getvalue()


def recording(seconds: float = 2.0) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(8000)
        out.writeframes(struct.pack("<h", 0) * int(8000 * seconds))
    return buffer.getvalue()


@dataclass
class Library:
    """A library on disk, and its sources by what they are."""

    home: Path
    ids: dict[str, int] = field(default_factory=dict)


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Library:
    """Made once; every test gets a copy of the library, over the same files."""
    home = tmp_path_factory.mktemp("template")
    engine = FakeEngine(Settings(library=home), create=True)
    library = fill(engine, tmp_path_factory.mktemp("files"))
    engine.store.close()
    return library


def fill(engine: FakeEngine, folder: Path) -> Library:
    """Two pictures, a recording, a note, two hostile documents and a failed file."""
    library = Library(engine.library.path)
    image = (SegmentDraft(Modality.IMAGE),)
    library.ids["dog"] = add_file(
        engine, folder / "dog.jpg", picture("brown"), "image/jpeg", image, metadata={"width": 64}
    )
    library.ids["boat"] = add_file(
        engine, folder / "boat.jpg", picture("blue"), "image/jpeg", image
    )
    library.ids["memo"] = add_file(
        engine,
        folder / "memo.wav",
        recording(),
        "audio/wav",
        [
            SegmentDraft(Modality.SPEECH, Place(0.0, 0.8), "Good morning everybody."),
            SegmentDraft(Modality.SPEECH, Place(0.8, 1.9), "The dog ate the invoice."),
        ],
    )
    note = "Buy bread. Walk the dog."
    library.ids["note"] = add_file(
        engine,
        folder / "note.txt",
        note.encode(),
        "text/plain",
        [SegmentDraft(Modality.TEXT, Place(char_start=0, char_end=len(note)), note)],
        metadata={"encoding": "utf-8"},
    )
    script = b"<script>alert(1)</script><p>page of evil</p>"
    passage = SegmentDraft(Modality.TEXT, Place(char_start=0, char_end=12), "page of evil")
    library.ids["page"] = add_file(engine, folder / "evil.html", script, "text/html", [passage])
    drawing = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
    library.ids["drawing"] = add_file(engine, folder / "evil.svg", drawing, "image/svg+xml")
    library.ids["broken"] = add_file(
        engine,
        folder / "broken.jpg",
        b"\xff\xd8nonsense",
        "image/jpeg",
        failure=Failure(str(folder / "broken.jpg"), "corrupt", "cannot be decoded"),
    )
    thumbnail = engine.thumbnail_path(engine.store.sources.get(library.ids["dog"]))
    thumbnail.parent.mkdir(parents=True)
    thumbnail.write_bytes(picture("brown", "JPEG", (32, 24)))
    return library


@dataclass
class Service:
    """A running service and what is behind it."""

    client: httpx.AsyncClient
    app: FastAPI
    engine: FakeEngine
    ingestor: FakeIngestor
    ids: dict[str, int]


SharedApp = tuple[FastAPI, FakeEngine, FakeIngestor]
StartService = Callable[..., AbstractAsyncContextManager[Service]]


def _client(app: FastAPI) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8765")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def start_service(tmp_path: Path, template: Library) -> StartService:
    """`async with start_service(setting=value) as service`."""

    @asynccontextmanager
    async def start(
        *,
        uploads: bool = True,
        prepare: Callable[[FakeEngine], None] | None = None,
        **settings: Any,
    ) -> AsyncIterator[Service]:
        home = tmp_path / "library"
        shutil.copytree(template.home, home)
        engine = FakeEngine(Settings(library=home, **settings))
        if prepare is not None:
            prepare(engine)
        ingestor = FakeIngestor(engine.store)
        app = create_app(cast("SearchEngine", engine), ingestor if uploads else None)
        async with (
            app.router.lifespan_context(app),
            _client(app) as client,
        ):
            yield Service(client, app, engine, ingestor, dict(template.ids))
        engine.store.close()

    return start


@pytest.fixture(scope="session")
def shared_app(template: Library, tmp_path_factory: pytest.TempPathFactory) -> SharedApp:
    """Made once, because building FastAPI's routes takes longer than most tests."""
    home = tmp_path_factory.mktemp("shared") / "library"
    shutil.copytree(template.home, home)
    engine = FakeEngine(Settings(library=home))
    ingestor = FakeIngestor(engine.store)
    return create_app(cast("SearchEngine", engine), ingestor), engine, ingestor


@pytest.fixture
async def service(shared_app: SharedApp, template: Library) -> AsyncIterator[Service]:
    """For tests that change nothing in the library."""
    app, engine, ingestor = shared_app
    engine.reset()
    async with _client(app) as client:
        yield Service(client, app, engine, ingestor, dict(template.ids))


@pytest.fixture
async def fresh(start_service: StartService) -> AsyncIterator[Service]:
    """A service of the test's own, started as a server starts it."""
    async with start_service() as running:
        yield running
