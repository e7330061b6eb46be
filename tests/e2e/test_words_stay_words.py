"""Words that look like an address or a path are searched for, never fetched or opened.

With the real models and the real service; a server listens where the words point, and every
file that this process opens is looked at.
"""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from indexer import index
from mmsearch import MMSearchError, SearchEngine
from mmsearch.cli import main
from mmsearch.query import Query, SearchResult
from mmsearch.search.parse.json_form import query_from_json
from tests.support.fakes import a_picture


@dataclass
class Bait:
    """Where the words point, and who came."""

    port: int
    secret: Path
    visits: list[str] = field(default_factory=list)
    opened: list[str] = field(default_factory=list)
    watching: bool = False

    def lines(self) -> list[str]:
        """What a user may type, paste or send."""
        url = f"http://127.0.0.1:{self.port}"
        return [
            f"{url}/photo.jpg",
            f"{url}/",
            f"look at {url}/photo.jpg please",
            f'"{url}/a b.png"',
            f"file://{self.secret}",
            str(self.secret),
            f"@{self.secret}",
            f"image:{self.secret}^0.5",
            f"{self.secret} -people",
            f"-{self.secret} a house",
            "../../../../../" + str(self.secret).lstrip("/"),
            f"\\\\127.0.0.1@{self.port}\\share\\photo.jpg",
            f"<img src='{url}/photo.jpg'>",
            f"![]({url}/photo.jpg)",
            f"s3://127.0.0.1:{self.port}/bucket/key",
        ]


@pytest.fixture(scope="module")
def bait(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bait]:
    """A server that counts who connects, and a secret that tells who opens it."""
    secret = a_picture(tmp_path_factory.mktemp("secret") / "secret.png", "red")
    listening = socket.create_server(("127.0.0.1", 0))
    made = Bait(listening.getsockname()[1], secret)

    def serve() -> None:
        while True:
            try:
                connection, address = listening.accept()
            except OSError:
                return
            made.visits.append(str(address))
            connection.close()

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        # Audit hooks cannot be taken away again: this one goes to sleep after the tests.
        if made.watching and event in {"open", "os.open"} and secret.name in str(arguments[0]):
            made.opened.append(str(arguments[0]))
        if made.watching and event == "socket.connect":
            made.visits.append(str(arguments[1]))

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    sys.addaudithook(watch)
    yield made
    made.watching = False
    listening.close()


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A picture and a note, with the real nano models."""
    folder = tmp_path_factory.mktemp("words")
    a_picture(folder / "files" / "red.png", "red")
    (folder / "files" / "note.txt").write_text("A note about a photo of a house.")
    index(folder / "files", folder / "library", profile="nano")
    return folder / "library"


def test_the_bait_works(bait: Bait) -> None:
    """A connection and an opened file do not go unnoticed."""
    bait.watching = True
    with socket.create_connection(("127.0.0.1", bait.port)):
        pass
    bait.secret.read_bytes()
    assert bait.visits
    assert bait.opened
    bait.visits.clear()
    bait.opened.clear()


def test_nothing_is_fetched_or_opened(library: Path, bait: Bait) -> None:
    """By Python, by JSON in every field that takes words, and in filters."""
    bait.visits.clear()
    bait.watching = True
    with SearchEngine.open(library) as engine:
        for line in bait.lines():
            queries: list[Query] = [
                Query.words(line),
                Query.words("a house").without(line),
                query_from_json({"query": line}),
                query_from_json({"compact": line}),
                query_from_json({"query": "x", "without": [line]}),
                query_from_json({"terms": [{"text": line}], "filter": {"path": {"like": line}}}),
                query_from_json({"query": "x", "filter": {"uri": line}, "facets": ["uri"]}),
            ]
            for answer in engine.search_many(queries):
                assert isinstance(answer, SearchResult), (line, answer)
            # Where bytes belong, a path or an address is no picture.
            for kind in ("image", "audio"):
                with pytest.raises(MMSearchError, match="base64"):
                    query_from_json({"terms": [{kind: line}]})
    assert bait.visits == []
    assert bait.opened == []


def test_nor_from_the_command_line(
    library: Path, bait: Bait, capsys: pytest.CaptureFixture[str]
) -> None:
    """QUERY, --text and --not are words; only --image and --audio name files."""
    bait.visits.clear()
    bait.watching = True
    words = ["--text", f"file://{bait.secret}", "--not", str(bait.secret), "--", bait.lines()[0]]
    with pytest.raises(SystemExit) as ended:
        main(["search", "--library", str(library), "--json", *words])
    assert ended.value.code == 0, capsys.readouterr().err
    assert bait.visits == []
    assert bait.opened == []
    with pytest.raises(SystemExit):
        main(["search", "--library", str(library), "--json", "--image", str(bait.secret)])
    assert bait.opened
