"""Takes the screenshot in README: the search page with a query in the demo library.

    python tools/screenshot.py                                  # docs/images/search-page.png
    python tools/screenshot.py --query "a red boat" --dark page.png

Needs Playwright and an installed Chromium.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import threading
import time
from pathlib import Path

import uvicorn
from playwright.sync_api import sync_playwright

from mmsearch.cli.demo import build_demo
from mmsearch.service.app import create_app

PICTURE = Path(__file__).resolve().parent.parent / "docs" / "images" / "search-page.png"

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("picture", type=Path, nargs="?", default=PICTURE)
parser.add_argument("--query", default="guitars in the city at sunset")
parser.add_argument("--width", type=int, default=1280)
parser.add_argument("--height", type=int, default=800)
parser.add_argument("--dark", action="store_true")
options = parser.parse_args()

with tempfile.TemporaryDirectory() as library, build_demo(Path(library)) as engine:
    server = uvicorn.Server(uvicorn.Config(create_app(engine), port=0, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    port = server.servers[0].sockets[0].getsockname()[1]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"),
            args=["--no-sandbox", "--disable-background-networking", "--disable-sync"],
        )
        page = browser.new_page(
            viewport={"width": options.width, "height": options.height},
            color_scheme="dark" if options.dark else "light",
        )
        page.goto(f"http://127.0.0.1:{port}/")
        page.fill("#query", options.query)
        page.press("#query", "Enter")
        page.wait_for_selector("#hits article img")
        page.wait_for_load_state("networkidle")
        page.screenshot(path=options.picture)
        browser.close()
    server.should_exit = True
    thread.join()
