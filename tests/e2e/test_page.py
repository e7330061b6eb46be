"""The search page in a real browser: a search typed, pictures seen, a recording played."""

from __future__ import annotations

import shutil
import threading
import time
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uvicorn

from indexer.runs import index_into
from mmsearch.service.app import create_app
from tests.support.fakes import open_fake, some_files

sync_api = pytest.importorskip("playwright.sync_api")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
QUIET = [
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-quic",
    "--autoplay-policy=no-user-gesture-required",
]


def a_recording(path: Path) -> Path:
    """Four seconds of silence, two of a tone (which the fake hears as words), a second more."""
    tone = 0.5 * np.sin(np.arange(32_000) * 0.2)
    samples = np.concatenate([np.zeros(64_000), tone, np.zeros(16_000)])
    with wave.open(str(path), "wb") as out:
        out.setparams((1, 2, 16_000, 0, "NONE", ""))
        out.writeframes((samples * 32_767).astype("<i2").tobytes())
    return path


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """A served library of three pictures, two notes and a recording."""
    files = some_files(tmp_path / "files")
    a_recording(files / "memo.wav")
    with open_fake(tmp_path / "library") as engine:
        index_into(engine.library, [files])
        config = uvicorn.Config(create_app(engine), port=0, log_level="error")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run)
        thread.start()
        while not server.started:
            thread.join(0.02)
            assert thread.is_alive()
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}/"
        server.should_exit = True
        thread.join()


def until(page: Any, expression: str, seconds: float = 30.0) -> None:
    """Wait until a JavaScript expression is true.

    Asked again and again from here: Playwright's own `wait_for_function` evaluates inside the
    page, where the content security policy rightly forbids it.
    """
    deadline = time.monotonic() + seconds
    while not page.evaluate(expression):
        assert time.monotonic() < deadline, expression
        time.sleep(0.05)


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_search_see_and_play(address: str) -> None:
    """Nothing is mocked between the key press and the sound."""
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        page = browser.new_page()
        problems: list[str] = []
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.goto(address)
        page.fill("#query", "something red")
        page.press("#query", "Enter")
        page.wait_for_selector("#hits article img")
        # The picture is there, not only its frame.
        until(page, "document.querySelector('#hits article img').naturalWidth > 0")
        assert "q=something+red" in page.url
        # How many there are of each kind, counted with the first search.
        kinds = page.locator(".kinds").inner_text()
        assert "Pictures 3" in kinds
        assert "Text 2" in kinds
        names = page.locator("#hits .file").all_inner_texts()
        assert any("red.png" in name for name in names)

        # Where in the picture the words match, laid over the whole of it.
        page.click("#hits article button.picture >> nth=0")
        page.click("button.heat")
        page.wait_for_selector("img.overlay", state="attached")
        until(page, "document.querySelector('img.overlay').naturalWidth > 0")
        sizes = "['img.overlay', 'img.full'].map((s) => document.querySelector(s).clientWidth)"
        shown = page.evaluate(sizes)
        assert shown[0] == shown[1] > 0
        page.click("button.heat")
        assert not page.locator("img.overlay").is_visible()
        page.click("#viewer [data-close]")

        page.check("input[name=kind][value=speech]", force=True)
        page.wait_for_selector("#hits audio", state="attached")
        page.click("#hits .play")
        until(page, "document.querySelector('#hits audio').currentTime > 3.9")
        played = page.evaluate("document.querySelector('#hits audio').currentTime")
        assert 3.9 < played < 6.5

        page.go_back()
        page.wait_for_selector("#hits article img")
        page.fill("#query", "<b>bold</b>")
        page.press("#query", "Enter")
        until(page, "document.querySelector('#status').textContent.length > 0")
        assert page.locator("#results b").count() == 0
        assert problems == []
        browser.close()
