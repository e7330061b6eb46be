"""The whole path with real models: what is found, and that every door leads to the same hits."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from indexer import index
from indexer.runs import index_into
from mmsearch import Library, SearchEngine
from tests.e2e.conftest import NanoLibrary
from tests.support.processes import address


def test_everything_came_in_and_is_counted(nano: NanoLibrary) -> None:
    """The summary equals what SQL holds; verify finds nothing."""
    assert nano.summary.failures == ()
    with SearchEngine.open(nano.folder) as engine:
        status = engine.library.status(verify=True)
    assert status["sources"] == nano.summary.counts.indexed
    assert status["segments"] == nano.summary.counts.segments
    assert sum(status["vectors"].values()) == nano.summary.counts.vectors
    assert status["verify"] == {"ok": True, "problems": []}


def test_a_second_run_loads_no_model(nano: NanoLibrary) -> None:
    """Unchanged files are only counted."""
    with Library.open(nano.folder) as library:
        counts = index_into(library, [nano.files]).counts
        made = vars(library.models("nano"))
        loaded = {"clip", "text"} & made.keys()
        # Their files are looked at, for weights that have changed; nothing is loaded.
        for name, attribute in (("transcriber", "_lazy"), ("ocr", "_engine")):
            state = vars(made[name]).get(attribute) if name in made else None
            if state is not None and getattr(state, "loaded", True):
                loaded.add(name)
    assert counts.unchanged == nano.summary.counts.indexed
    assert counts.vectors == 0
    assert not loaded


def test_captions_find_their_photos_far_above_chance(nano: NanoLibrary) -> None:
    """Retrieval, not plumbing: held-out photos by what people said of them."""
    found = asked = 0
    with SearchEngine.open(nano.folder) as engine:
        for name, captions in nano.captions.items():
            hits = engine.search(captions[0], modality="image", limit=10).hits
            found += any(Path(hit.source.path).name == name for hit in hits)
            asked += 1
    chance = 10 / len(nano.captions)
    assert found / asked >= 4 * chance


def test_the_passage_is_found_with_its_place(nano: NanoLibrary) -> None:
    """A line of the sonnet leads to the passage and its characters in the file."""
    with SearchEngine.open(nano.folder) as engine:
        hit = engine.search("beauty's rose might never die", modality="text").hits[0]
    assert hit.source.path.endswith("sonnet_001.txt")
    place = hit.segment.place
    whole = Path(hit.source.path).read_text("utf-8")
    assert whole[place.char_start : place.char_end] == hit.segment.text


def test_a_photo_finds_itself_and_more_like_it_leaves_it_out(nano: NanoLibrary) -> None:
    """A picture as the query; then the segment as the query."""
    name = next(iter(nano.captions))
    with SearchEngine.open(nano.folder) as engine:
        hit = engine.search(image=nano.files / name, modality="image").hits[0]
        assert Path(hit.source.path).name == name
        like = engine.search(like=hit.segment.id, modality="image", limit=5).hits
    assert hit.segment.id not in {one.segment.id for one in like}
    assert len(like) == 5


def essence(answer: dict[str, Any]) -> list[dict[str, Any]]:
    """Hits without what only the service adds."""
    return [{k: v for k, v in hit.items() if k != "links"} for hit in answer["hits"]]


def test_python_command_line_and_http_give_identical_hits(nano: NanoLibrary) -> None:
    """Three doors, one engine: the same ranks, scores, sources and segments."""
    from mmsearch.search.parse.json_form import result_to_json

    words = "a dog running through the grass"
    with SearchEngine.open(nano.folder) as engine:
        from_python = json.loads(json.dumps(result_to_json(engine.search(words, limit=7))))
    command = [sys.executable, "-m", "mmsearch", "search", words, "--limit", "7", "--json"]
    done = subprocess.run(
        [*command, "--library", str(nano.folder)], capture_output=True, text=True, check=True
    )
    from_cli = json.loads(done.stdout.splitlines()[-1])
    serve = [sys.executable, "-m", "mmsearch", "serve", "--port", "0"]
    with subprocess.Popen(
        [*serve, "--library", str(nano.folder)], stderr=subprocess.PIPE, text=True
    ) as server:
        try:
            body = {"query": words, "limit": 7}
            answer = httpx.post(address(server) + "v1/search", json=body, timeout=300)
        finally:
            server.terminate()
            server.wait(timeout=60)
    from_http = answer.json()
    assert essence(from_python) == essence(from_cli) == essence(from_http)
    assert len(from_cli["hits"]) == 7


def test_a_damaged_model_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One flipped byte in the weights: the file is named, nothing is loaded."""
    import shutil

    from mmsearch.errors import DamagedModelError
    from mmsearch.models import loading

    copy = tmp_path / "clip"
    shutil.copytree(loading.nano_folder("clip"), copy)
    weights = copy / "open_clip_model.safetensors"
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    weights.write_bytes(content)
    with pytest.raises(DamagedModelError, match="open_clip_model"):
        loading.verify_manifest(copy)


def test_words_that_the_models_do_not_know(tmp_path: Path) -> None:
    """Hebrew matches Hebrew by full text, and never Japanese, Thai or emoji by chance."""
    texts = {
        "he": "\u05d4\u05e1\u05d9\u05e8\u05d4 \u05d4\u05d0\u05d3\u05d5\u05de\u05d4",
        "ja": "\u8d64\u3044\u8239\u304c\u6e2f\u306b\u3042\u308a\u307e\u3059",
        "th": "\u0e40\u0e23\u0e37\u0e2d\u0e2a\u0e35\u0e41\u0e14\u0e07",
        "emoji": "\U0001f600\U0001f6a2",
        "mixed": "The red boat \u05d4\u05e1\u05d9\u05e8\u05d4 is back",
    }
    files = tmp_path / "files"
    files.mkdir()
    for name, text in texts.items():
        (files / f"{name}.txt").write_text(text, "utf-8")
    index([files], tmp_path / "library", profile="nano")

    def paths(query: str) -> tuple[set[str], str]:
        result = engine.search(query, min_score=0)
        return {Path(hit.source.path).stem for hit in result.hits}, " ".join(result.warnings)

    with SearchEngine.open(tmp_path / "library") as engine:
        status = engine.library.status(verify=True)
        assert status["vectors"] == {"clip": 1, "text": 1}
        assert status["verify"] == {"ok": True, "problems": []}
        names, warnings = paths("\u05d4\u05e1\u05d9\u05e8\u05d4")
        assert names == {"he", "mixed"}
        assert "text models of profile nano do not know" in warnings
        assert "matched by full text only" in warnings
        names, warnings = paths("\U0001f600")
        assert (names, "full text only" in warnings) == ({"emoji"}, True)
        names, warnings = paths("...")
        assert (names, "nothing is searched" in warnings) == (set(), True)
        assert paths("\u8239 boat \u05d4")[1] == ""
        names, warnings = paths("a boat")
        assert (names, warnings) == ({"mixed"}, "")
