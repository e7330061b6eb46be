"""Whatever was indexed is found by its name and its metadata, whatever was found in it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sqlalchemy import delete, update

from indexer.runs import RunSummary, index_into
from mmsearch.search.engine import SearchEngine
from mmsearch.stores.tables import CollectionRow, SegmentRow, SegmentWordsRow
from tests.support.audio import silence, wav
from tests.support.fakes import a_picture, open_fake, some_files
from tests.support.films import a_film


def some_silent_files(folder: Path) -> Path:
    """Files without segments of their own, and some with."""
    some_files(folder)
    (folder / "Kranichzug am Morgen.wav").write_bytes(wav(silence(3)))
    (folder / "Kranichzug am Abend.wav").write_bytes(wav(silence(4)))
    (folder / "Kranichzug am Abend.wav.json").write_text(
        json.dumps({"Title": "Zugvögel", "tags": ["Ornithologie"], "people": [{"name": "Ada"}]})
    )
    return folder


def index_silent(library: Path, folder: Path) -> RunSummary:
    with open_fake(library, workers=1) as engine:
        return index_into(engine.library, [folder])


def found(engine: SearchEngine, words: str) -> list[str]:
    return [Path(hit.source.path).name for hit in engine.search(words, min_score=0.0).hits]


def test_a_source_without_segments_is_found_by_its_name(tmp_path: Path) -> None:
    """By file name, title, tags and people; the summary and the status say why only so."""
    library = tmp_path / "library"
    summary = index_silent(library, some_silent_files(tmp_path / "files"))
    reasons = summary.to_json()["name_only"]["reasons"]
    assert reasons["no_speech"] == 2
    with open_fake(library) as engine:
        assert found(engine, '"Kranichzug am Morgen"')[0] == "Kranichzug am Morgen.wav"
        for words in ("Zugvögel", "Ornithologie", "Ada"):
            assert found(engine, words)[0] == "Kranichzug am Abend.wav"
        status = engine.library.status(verify=True)
        assert status["verify"] == {"ok": True, "problems": []}
        assert status["name_only"] == summary.to_json()["name_only"]
        assert status["name_only"]["sources"] == sum(reasons.values())
        for source in engine.library.store.sources.list(limit=100):
            segments = engine.library.store.segments.of_source(source.id)
            assert segments
            if segments[0].text is None and segments[0].modality == "text":
                assert segments[0].metadata == {"name_only": "no_speech"}


def test_a_film_without_a_picture(tmp_path: Path) -> None:
    """A film is found by its name, also where a recording has only a still cover."""
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "Bergfest.mkv").write_bytes(a_film([("red", 1.0)]))
    library = tmp_path / "library"
    index_silent(library, folder)
    with open_fake(library) as engine:
        assert found(engine, "Bergfest") == ["Bergfest.mkv"]


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("people", ["Ada Lovelace"], "Lovelace"),
        ("city", "Ouagadougou", "ouagadougou"),
        ("camera", "Leica Q2", "leica"),
        ("headline", "Sommerfest", "Sommerfest"),
        ("album", "Abbey Road", "abbey"),
    ],
)
def test_words_of_metadata_are_found(tmp_path: Path, key: str, value: object, words: str) -> None:
    """Of a picture in which no word stands."""
    folder = tmp_path / "files"
    for colour in ("red", "green", "blue"):
        a_picture(folder / f"{colour}.png", colour)
    (folder / "green.png.json").write_text(json.dumps({key: value}))
    library = tmp_path / "library"
    index_silent(library, folder)
    with open_fake(library) as engine:
        assert found(engine, f'"{words}"')[0] == "green.png"


def test_an_older_library_is_completed(tmp_path: Path) -> None:
    """The next run adds segments and words without decoding or embedding anything."""
    library, folder = tmp_path / "library", some_silent_files(tmp_path / "files")
    (folder / "boats.txt.json").write_text(json.dumps({"people": ["Grace Hopper"]}))
    index_silent(library, folder)
    with open_fake(library) as engine, engine.library.store.database.write() as connection:
        connection.execute(
            delete(SegmentRow).where(SegmentRow.text.is_(None), SegmentRow.modality == "text")
        )
        connection.execute(update(SegmentWordsRow).values(words=["x"], length=1))
        connection.execute(update(CollectionRow).values(settings={}))
    with open_fake(library) as engine:
        assert engine.library.status()["name_only"]["sources"] == 0
        assert "Kranichzug am Morgen.wav" not in found(engine, '"Kranichzug am Morgen"')
    again = index_silent(library, folder)
    assert (again.counts.indexed, again.counts.vectors) == (0, 0)
    with open_fake(library) as engine:
        assert engine.library.status(verify=True)["verify"]["ok"]
        assert engine.library.status()["name_only"]["reasons"]["no_speech"] == 2
        assert found(engine, '"Kranichzug am Morgen"')[0] == "Kranichzug am Morgen.wav"
        assert found(engine, '"Grace Hopper"')[0] == "boats.txt"
