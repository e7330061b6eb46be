"""Documents and pictures with words, from the file to the hit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openpyxl
import pytest

from indexer.embed import Embedder
from indexer.runs import index_into
from indexer.segmenting.recognition import Recogniser
from indexer.segmenting.segmenter import Segmenter
from mmsearch.errors import ModelError
from mmsearch.media.parts import ImagePart, PagePart
from mmsearch.search.pictures import thumbnail_path
from mmsearch.types import Modality, Place
from tests.support.documents import a_pdf, a_picture_of, a_scan
from tests.support.fakes import fake_models, open_fake
from tests.support.films import a_film


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "files"
    made.mkdir()
    return made


def test_a_passage_of_a_pdf_knows_its_page_and_place(folder: Path, tmp_path: Path) -> None:
    """Offsets count in the whole text, its pages joined by form feeds."""
    pages = ["The lighthouse keeper", "Mended the nets\non Thursday"]
    (folder / "log.pdf").write_bytes(a_pdf(pages))
    with open_fake(tmp_path / "library") as engine:
        assert index_into(engine.library, [folder]).ok
        hit = engine.search("mended nets", modality="text").hits[0]
        place = hit.segment.place
        assert (hit.segment.text, place.page) == ("Mended the nets\non Thursday", 2)
        assert place.box is not None
        assert 0 < place.box[1] < place.box[3] < 0.25
        assert (place.char_start, place.char_end) == (23, 50)
        images = [
            s
            for s in engine.library.store.segments.of_source(hit.source.id)
            if s.modality == "page"
        ]
        assert [image.place for image in images] == [Place(page=1), Place(page=2)]
        for page in (Place(page=1), Place(page=2), None):
            assert engine.thumbnail_path(hit.source, page).exists()
        assert hit.source.metadata["pages"] == 2
        assert engine.library.status(verify=True)["verify"]["ok"]


def test_a_page_can_be_found_by_how_it_looks(folder: Path, tmp_path: Path) -> None:
    (folder / "white.pdf").write_bytes(a_pdf(["Little ink"]))
    with open_fake(tmp_path / "library") as engine:
        index_into(engine.library, [folder])
        hit = engine.search("white", modality="page").hits[0]
        assert (hit.segment.modality, hit.segment.place.page) == (Modality.PAGE, 1)


def test_a_scanned_page_is_read(folder: Path, tmp_path: Path) -> None:
    """Its words become passages of the page, each in the place where it was read."""
    (folder / "scan.pdf").write_bytes(a_scan(["whatever is drawn"]))
    read = ["The rent is due", "on the first Mon-", "day"]
    with open_fake(tmp_path / "library", read=read) as engine:
        index_into(engine.library, [folder])
        hit = engine.search("rent due Monday", modality="text").hits[0]
        assert hit.segment.text == "The rent is due\non the first Monday"
        assert hit.segment.place.page == 1
        left, top, right, bottom = hit.segment.place.box or (1, 1, 0, 0)
        assert (left, top, right) == (0.1, 0.0, 0.9)
        assert bottom == pytest.approx(2 / 3 + 0.8 / 3)
        assert hit.segment.metadata["origin"] == "ocr"


def test_the_words_in_a_picture_are_its_text(folder: Path, tmp_path: Path) -> None:
    """The picture itself is the hit; it has a vector among texts, a wordless one has none."""
    a_picture_of(["drawn"]).save(folder / "screen.png")
    a_picture_of([]).save(folder / "blank.png")
    with open_fake(tmp_path / "library", read=["ferry at", "dawn"], ocr_pictures="all") as engine:
        index_into(engine.library, [folder])
        words = {
            Path(source.path).name: [
                s.text for s in engine.library.store.segments.of_source(source.id)
            ]
            for source in engine.library.store.sources.list(None, after_id=0, limit=10)
        }
        assert words == {"screen.png": ["ferry at\ndawn"], "blank.png": [None]}
        hit = engine.search("ferry", modality="image").hits[0]
        assert hit.source.path.endswith("screen.png")
        assert [word["text"] for word in hit.segment.metadata["words"]] == ["ferry", "at", "dawn"]
        assert engine.library.status()["vectors"] == {"clip": 2, "text": 1}
        assert engine.library.status(verify=True)["verify"]["ok"]


def test_sheets_keep_their_number_and_name(folder: Path, tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    book.active.append(["tea", "cups"])
    book.active.append(["oolong", 3])
    second = book.create_sheet("Larder")
    second.append(["honey", "jars"])
    second.append(["heather", 2])
    book.save(folder / "stock.xlsx")
    with open_fake(tmp_path / "library") as engine:
        index_into(engine.library, [folder])
        segment = engine.search("heather honey").hits[0].segment
        assert segment.place.page == 2
        assert segment.metadata["title"] == "Larder"


def test_a_long_document_is_embedded_on_the_way(tmp_path: Path) -> None:
    """However many pages: no more than two batches of them wait, and each gets its vector."""
    with open_fake(tmp_path / "library", batch_size=4) as engine:
        models = fake_models()("nano")
        segmenter = Segmenter(engine.settings, models, "0" * 64)
        embedder = Embedder(models, batch_size=4)
        for number in range(1, 31):
            pixels = np.full((32, 32, 3), number, np.uint8)
            segmenter.add(PagePart("application/pdf", {}, number, f"page {number}", pixels=pixels))
            embedder.embed_waiting(segmenter)
            assert segmenter.waiting_pixels < 8
        content = segmenter.finish()
    ordinals, rows = content.vectors["clip"]
    assert len(ordinals) + len(content.pixels) == 30
    assert rows.dtype == np.float16
    pages = [n for n, s in enumerate(content.segments) if s.modality is Modality.PAGE]
    assert sorted([*ordinals.tolist(), *content.pixels]) == pages
    (vectors,) = embedder.embed([content])
    assert sorted(vectors["clip"][0].tolist()) == list(range(len(content.segments)))


def test_ocr_that_fails_costs_only_the_words(tmp_path: Path) -> None:
    """The picture is indexed, with a warning in its metadata."""

    class Broken:
        fingerprint = "broken"

        def read(self, picture: object) -> list[object]:
            raise ModelError("out of order")

    models = fake_models()("nano")
    models.__dict__["ocr"] = Broken()
    with open_fake(tmp_path / "library") as engine:
        segmenter = Segmenter(engine.settings, models, "0" * 64)
        pixels = np.zeros((32, 32, 3), np.uint8)
        part = ImagePart("image/png", {}, pixels, None, pixels)
        segmenter.add(part, Recogniser(models, language=None).recognise(part))
    content = segmenter.finish()
    assert len(content.segments) == 1
    assert "out of order" in str(content.metadata["warning"])


def test_places_have_thumbnails_of_their_own(tmp_path: Path) -> None:
    names = {
        thumbnail_path(tmp_path, "ab" * 32, place).name
        for place in (None, Place(page=2), Place(start=1.5), Place(start=1.25))
    }
    assert len(names) == 4


# ------------------------------------------------------------------ films


def test_a_film_is_found_by_what_is_seen_and_said(folder: Path, tmp_path: Path) -> None:
    """Shots and sentences of one source, each with its second and its picture."""
    (folder / "trip.mkv").write_bytes(
        a_film([("red", 3), ("blue", 4)], tone=[(4, 5)], size=(96, 96))
    )
    with open_fake(tmp_path / "library") as engine:
        assert index_into(engine.library, [folder]).ok
        seen = engine.search("blue", modality="video").hits[0]
        assert seen.segment.place.start == pytest.approx(3, abs=0.6)
        assert seen.segment.place.end == pytest.approx(7, abs=0.3)
        assert engine.thumbnail_path(seen.source, seen.segment.place).exists()
        assert engine.thumbnail_path(seen.source).exists()
        said = engine.search("hello recording", modality="speech").hits[0]
        assert said.source.id == seen.source.id
        assert said.segment.place.start == pytest.approx(4, abs=0.6)
        assert seen.source.mime == "video/x-matroska"
        assert engine.library.status(verify=True)["verify"]["ok"]


def test_a_film_with_a_subtitle_file(folder: Path, tmp_path: Path) -> None:
    """The file belongs to the film and is no source; another file makes other segments."""
    (folder / "trip.mkv").write_bytes(a_film([("red", 3)], tone=[(0, 3)]))
    beside = folder / "trip.en.srt"
    beside.write_text("1\n00:00:01,000 --> 00:00:02,000\nWe take the ferry.\n")
    with open_fake(tmp_path / "library") as engine:
        assert index_into(engine.library, [folder]).counts.seen == 1
        hit = engine.search("ferry", modality="speech").hits[0]
        assert (hit.segment.text, hit.segment.place.start) == ("We take the ferry.", 1.0)
        assert hit.segment.metadata["origin"] == "subtitles"
        assert hit.source.metadata["subtitles"] == "trip.en.srt"
        assert index_into(engine.library, [folder]).counts.unchanged == 1
        beside.write_text("1\n00:00:01,000 --> 00:00:02,000\nWe take the train.\n")
        assert index_into(engine.library, [folder]).counts.indexed == 1
        again = engine.search("train", modality="speech").hits[0]
        assert again.segment.text == "We take the train."
