"""A small library with real files and a real SQL store, and a searcher without models."""

from __future__ import annotations

import hashlib
import io
import shutil
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi import FastAPI
from PIL import Image

from mmsearch.library import Library
from mmsearch.service.app import create_app
from mmsearch.stores.rows import SourceWrite
from mmsearch.stores.runs import RunItem
from mmsearch.stores.store import SqlStore
from mmsearch.testing import FakeImageTextEmbedder, FakeSearcher
from mmsearch.types import Failure, Modality, Place, SegmentDraft, SourceFile
from tests.support.fakes import fake_models
from tests.support.recordings import recording

CLIP = FakeImageTextEmbedder()


class FakeIngestor:
    """An `Ingestor` whose runs are done at once."""

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
    engine: FakeSearcher,
    path: Path,
    content: bytes,
    mime: str,
    segments: Sequence[SegmentDraft] = (),
    *,
    failure: Failure | None = None,
    metadata: dict[str, Any] | None = None,
    collection: str = "default",
) -> int:
    """Write a file, its rows and the vectors of its images; returns the source's id."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    stat = path.stat()
    store = engine.library.store
    collection_id = store.collections.get_or_create(collection, "nano").id
    images = np.array([i for i, s in enumerate(segments) if s.modality is Modality.IMAGE], np.int64)
    vectors = {}
    if len(images):
        seen = CLIP.encode_images([Image.open(io.BytesIO(content))] * len(images))
        vectors[store.spaces.get_or_create(collection_id, CLIP.space).id] = (
            images,
            seen.astype(np.float16),
        )
    write = SourceWrite(
        file=SourceFile(path.as_uri(), str(path), stat.st_size, stat.st_mtime_ns),
        sha256=hashlib.sha256(content).hexdigest(),
        mime=mime,
        recipe="fake",
        metadata=metadata or {},
        segments=tuple(segments),
        vectors=vectors,
        failure=failure,
    )
    return store.sources.write(collection_id, [write])[0]


def picture(color: str, kind: str = "JPEG", size: tuple[int, int] = (64, 48)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, color).save(buffer, kind)
    return buffer.getvalue()


@dataclass
class Template:
    """A library's folder, and the ids of its sources by name."""

    home: Path
    ids: dict[str, int] = field(default_factory=dict)


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Template:
    """Made once; every test gets a copy of the library, over the same files."""
    home = tmp_path_factory.mktemp("template")
    with Library.open(home, create=True, models=fake_models()) as library:
        return fill(FakeSearcher(library), tmp_path_factory.mktemp("files"))


def fill(engine: FakeSearcher, folder: Path) -> Template:
    """Two pictures, a recording, a note, two hostile documents and a failed file."""
    template = Template(engine.library.path)
    image = (SegmentDraft(Modality.IMAGE),)
    template.ids["dog"] = add_file(
        engine, folder / "dog.jpg", picture("brown"), "image/jpeg", image, metadata={"width": 64}
    )
    template.ids["boat"] = add_file(
        engine, folder / "boat.jpg", picture("blue"), "image/jpeg", image
    )
    template.ids["memo"] = add_file(
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
    template.ids["note"] = add_file(
        engine,
        folder / "note.txt",
        note.encode(),
        "text/plain",
        [SegmentDraft(Modality.TEXT, Place(char_start=0, char_end=len(note)), note)],
        metadata={"encoding": "utf-8"},
    )
    script = b"<script>alert(1)</script><p>page of evil</p>"
    passage = SegmentDraft(Modality.TEXT, Place(char_start=0, char_end=12), "page of evil")
    template.ids["page"] = add_file(engine, folder / "evil.html", script, "text/html", [passage])
    drawing = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
    template.ids["drawing"] = add_file(engine, folder / "evil.svg", drawing, "image/svg+xml")
    template.ids["broken"] = add_file(
        engine,
        folder / "broken.jpg",
        b"\xff\xd8nonsense",
        "image/jpeg",
        failure=Failure(str(folder / "broken.jpg"), "corrupt", "cannot be decoded"),
    )
    thumbnail = engine.thumbnail_path(engine.library.store.sources.get(template.ids["dog"]))
    thumbnail.parent.mkdir(parents=True)
    thumbnail.write_bytes(picture("brown", "JPEG", (32, 24)))
    return template


@dataclass
class Service:
    """A running service and what is behind it."""

    client: httpx.AsyncClient
    app: FastAPI
    engine: FakeSearcher
    ingestor: FakeIngestor
    ids: dict[str, int]


SharedApp = tuple[FastAPI, FakeSearcher, FakeIngestor]
StartService = Callable[..., AbstractAsyncContextManager[Service]]


def _client(app: FastAPI) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8765")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def start_service(tmp_path: Path, template: Template) -> StartService:
    """`async with start_service(setting=value) as service`."""

    @asynccontextmanager
    async def start(
        *,
        uploads: bool = True,
        prepare: Callable[[FakeSearcher], None] | None = None,
        **settings: Any,
    ) -> AsyncIterator[Service]:
        home = tmp_path / "library"
        shutil.copytree(template.home, home)
        engine = FakeSearcher(Library.open(home, models=fake_models(), **settings))
        if prepare is not None:
            prepare(engine)
        ingestor = FakeIngestor(engine.library.store)
        app = create_app(engine, ingestor if uploads else None)
        async with (
            app.router.lifespan_context(app),
            _client(app) as client,
        ):
            yield Service(client, app, engine, ingestor, dict(template.ids))
        engine.close()

    return start


@pytest.fixture(scope="session")
def shared_app(template: Template, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedApp]:
    """Made once, because building FastAPI's routes takes longer than most tests."""
    home = tmp_path_factory.mktemp("shared") / "library"
    shutil.copytree(template.home, home)
    with Library.open(home, models=fake_models()) as library:
        engine = FakeSearcher(library)
        ingestor = FakeIngestor(library.store)
        yield create_app(engine, ingestor), engine, ingestor


@pytest.fixture
async def service(shared_app: SharedApp, template: Template) -> AsyncIterator[Service]:
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
