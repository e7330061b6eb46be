"""The code blocks of README and of the guides do what they say, on small libraries of fakes.

Every command and every Python block is run, with these exceptions: a command that NOT_RUN names is
only parsed (its options exist), and a Python block that NOT_RUN names is only compiled.
"""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer
from fastapi.testclient import TestClient
from PIL import Image

from indexer.jobs import BackgroundIngestor
from indexer.runs import index_into
from mmsearch.cli.app import app
from mmsearch.search.engine import SearchEngine
from mmsearch.service.app import create_app
from mmsearch.settings import Settings
from tests.support.command import called
from tests.support.fakes import a_picture, fake_models, open_fake, some_files
from tests.support.recordings import recording

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

NOT_RUN = {
    "pip install": "needs the network",
    "mmsearch demo": "serves until it is stopped; tests/cli/test_demo.py runs it",
    "mmsearch serve": "runs until it is stopped; tests/cli and tests/e2e run it",
    "mmsearch worker": "runs until it is stopped; tests/e2e runs it",
    "mmsearch models switch": "needs checkpoints; tests/indexer/switching runs it",
    "mmsearch eval": "needs data sets; tests/cli/test_evaluate.py runs it",
    "mmsearch compare": "needs the runs of eval; tests/cli/test_evaluate.py runs it",
    "--rerank": "loads a reranking model; tests/search/rerank runs it",
    "s3://": "needs the network; tests/indexer/inputs runs it",
    "find ": "is a pipeline of the shell; tests/cli runs `index -`",
    "import mteb": "needs the extra `mteb` and the network",
}
"""What only has to parse, by a piece of its text, and why."""


class Block(NamedTuple):
    """A fenced block of a page."""

    page: str
    line: int
    language: str
    text: str


def blocks(*languages: str) -> list[Any]:
    """The blocks in these languages, as parameters of a test."""
    found = []
    for page in PAGES:
        text = page.read_text("utf-8")
        for match in re.finditer(r"^```(\w+)[^\n]*\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
            line = text.count("\n", 0, match.start()) + 1
            if match[1] in languages:
                block = Block(page.name, line, match[1], match[2])
                found.append(pytest.param(block, id=f"{page.name}:{line}"))
    return found


def commands(block: Block) -> list[str]:
    """One line each: of a console those after `$`, without comments, `&` and what is printed."""
    text = re.sub(r"\\\n\s*", "", block.text)
    lines = text.splitlines()
    if block.language == "console":
        lines = [line[2:] for line in lines if line.startswith("$ ")]
    bare = (re.sub(r"\s+#\s.*$", "", line).strip().removesuffix("&").strip() for line in lines)
    return [command for line in bare if line for command in re.split(r"\s&&\s", line)]


def is_run(text: str) -> bool:
    return not any(piece in text for piece in NOT_RUN)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A user's folder with all that the guides name; it is the current folder and `~`."""
    folder = tmp_path_factory.mktemp("guides")
    some_files(folder / "Pictures")
    dated = Image.Exif()
    dated.get_ifd(0x8769)[36867] = "2024:06:01 12:00:00"  # DateTimeOriginal, in the Exif IFD
    Image.new("RGB", (96, 96), "orange").save(folder / "Pictures" / "beach.jpg", exif=dated)
    for name in ("boat.jpg", "sunset.jpg", "photo.jpg", "a.jpg", "pictures/1.jpg"):
        a_picture(folder / name, "red")
    names = ("question.m4a", "question.wav", "frage.wav", "bark.wav", "b.m4a")
    for name in (*names, "calls/monday.wav", "Recordings/memo.wav"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(recording(level=0.5))
    (folder / "Notes").mkdir()
    (folder / "Notes" / "boat.txt").write_text("Grandma's boat at sunset.")
    rows = [
        {"item": "pictures/1.jpg"},
        {"query": "q1", "text": "a red boat", "relevant": ["pictures/1.jpg"]},
    ]
    (folder / "mine.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    for library in ("my-library", "my-eval", "lib"):
        with open_fake(folder / library, sounds=True, workers=1) as engine:
            index_into(engine.library, [folder / "Pictures"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mmsearch.build.models_of", lambda _settings: fake_models(sounds=True))
        patch.setenv("HOME", str(folder))
        patch.setenv("MMSEARCH_LIBRARY", "my-library")
        patch.setenv("MMSEARCH_WORKERS", "1")
        patch.chdir(folder)
        yield folder


@pytest.fixture(scope="module")
def service(home: Path) -> Iterator[TestClient]:
    """The service of the guide to HTTP; its uploads are queued, not indexed."""
    with SearchEngine.open(home / "lib") as engine:
        ingestor = BackgroundIngestor(engine.library, work=False)
        with TestClient(create_app(engine, ingestor), base_url="http://localhost:8765") as client:
            yield client
        ingestor.close()


def parse(command: str) -> None:
    """Raises if the last command of a pipeline names an option or command that does not exist."""
    words = shlex.split(command.rpartition("|")[2])
    assert words[0] == "mmsearch", command
    parser: Any = typer.main.get_command(app)
    context = parser.make_context("mmsearch", words[1:])
    while (arguments := [*context._protected_args, *context.args]) and hasattr(parser, "commands"):
        name, parser, rest = parser.resolve_command(context, arguments)
        context = parser.make_context(name, rest, parent=context)


def curl(client: TestClient, command: str) -> int:
    """The status of the answer to a request that is written as a `curl` command."""
    words = iter(shlex.split(command)[1:])
    address, headers, body = "", {}, None
    files: list[tuple[str, Any]] = []
    for word in words:
        match word:
            case "-H":
                name, _, value = next(words).partition(": ")
                headers[name] = value
            case "-d":
                body = next(words)
            case "-F":
                name, _, value = next(words).partition("=")
                path = Path(value[1:])
                is_file = value.startswith("@")
                files.append((name, (path.name, path.read_bytes()) if is_file else (None, value)))
            case "-s" | "-si":
                pass
            case _:
                address = word.removeprefix("localhost:8765")
    return client.post(address, headers=headers, content=body, files=files or None).status_code


@pytest.mark.parametrize("block", blocks("sh", "console"))
def test_commands_run(
    block: Block, home: Path, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    """`mmsearch ...` ends with status 0, `curl ...` is answered with 2xx."""
    for command in commands(block):
        if command.startswith("curl "):
            assert curl(request.getfixturevalue("service"), command) in {200, 202}, command
        elif command.startswith("mmsearch ") and is_run(command):
            words = [str(Path(word).expanduser()) for word in shlex.split(command)[1:]]
            status, _, err = called(capsys, *words)
            assert status == 0, f"{command}: {err}"
        elif "mmsearch " in command:
            assert not is_run(command), f"say in NOT_RUN why this is not run: {command}"
            parse(command)
        else:
            assert not is_run(command) or command == "pytest", command


@pytest.mark.parametrize("block", blocks("python"))
def test_python_runs(block: Block, home: Path) -> None:
    """As a script of its own, in the user's folder."""
    code = compile(block.text, f"{block.page}:{block.line}", "exec")
    if is_run(block.text):
        exec(code, {"__name__": "__main__"})


@pytest.mark.parametrize("block", blocks("json", "toml"))
def test_data_is_well_formed(block: Block) -> None:
    """JSON, or a line of it each; TOML whose keys are settings."""
    if block.language == "toml":
        assert tomllib.loads(block.text).keys() <= Settings.model_fields.keys()
        return
    decoder, rest = json.JSONDecoder(), block.text.strip()
    while rest:
        _, end = decoder.raw_decode(rest)
        rest = rest[end:].lstrip()


def test_every_reason_is_needed() -> None:
    """A piece of text in NOT_RUN that no page has is removed from it."""
    text = "\n".join(page.read_text("utf-8") for page in PAGES)
    assert [piece for piece in NOT_RUN if piece not in text] == []
