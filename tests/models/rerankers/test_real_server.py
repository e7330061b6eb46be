"""A real OpenAI-compatible server: `transformers serve` on a small local folder."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from indexer.runs import index_into
from mmsearch.models.rerankers import prompts
from mmsearch.models.rerankers.openai_chat import OpenAIReranker
from mmsearch.models.runtime import Runtime
from mmsearch.models.vision.vlm import VisionLanguageScorer
from mmsearch.types import Modality, RerankCandidate
from tests.models.rerankers.folders import write_vlm
from tests.support.fakes import open_fake

pytest.importorskip("openai", reason="what `transformers serve` needs")

START_SECONDS = 240
QUERIES = ("a red boat", "tea", "boil water")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Noise of different colours, as JPEG."""
    folder = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(5)
    paths = []
    for i in range(5):
        noise = random.integers(0, 256, (48, 48, 3)) * (random.random(3) > 0.4)
        paths.append(folder / f"{i}.jpg")
        Image.fromarray(noise.astype(np.uint8)).save(paths[-1], quality=95)
    return paths


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_vlm(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def server(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = (tmp_path_factory.mktemp("log") / "server.log").open("wb")
    process = subprocess.Popen(
        [sys.executable, "-m", "transformers.cli.transformers", "serve", str(model),
         "--host", "127.0.0.1", "--port", str(port), "--device", "cpu"],
        stdout=log, stderr=log, env={**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                if httpx.get(f"{url}/health", timeout=5).is_success:
                    break
            except httpx.HTTPError:
                pass
            told = Path(log.name).read_text(errors="replace")[-2000:]
            assert process.poll() is None, f"the server ended:\n{told}"
            assert time.monotonic() < deadline, f"the server did not start:\n{told}"
            time.sleep(0.3)
        yield url
    finally:
        process.terminate()
        process.wait(20)
        log.close()


def test_a_real_server_sees_what_we_see(server: str, model: Path, pictures: list[Path]) -> None:
    """Its yes and no are those of the same model here: picture and question arrive whole.

    It gives no log-probabilities, which shows in its first answer; the model can say nothing but
    yes and no, which are grades too.
    """
    reranker = OpenAIReranker(server, str(model))
    local = VisionLanguageScorer(
        str(model),
        question=prompts.PICTURE_GRADE + prompts.AS_JSON,
        runtime=Runtime(device="cpu", threads=1),
    )
    images = [Image.open(path).convert("RGB") for path in pictures]
    agreed = total = 0
    answers = set()
    for query in QUERIES:
        expected = local.score(query, images)
        for i, path in enumerate(pictures):
            if abs(expected[i] - 0.5) < 0.02:
                continue
            candidate = RerankCandidate(
                i, Modality.IMAGE, str(i), load_picture=partial(_content, path)
            )
            scored = reranker.score(query, [candidate], seconds=120)
            assert scored.each[0] is not None, scored.problems
            answers.add(scored.each[0].score)
            agreed += int((scored.each[0].score > 0.5) == (expected[i] > 0.5))
            total += 1
    reranker.release()
    assert reranker.dialect.answers == "grade"
    assert answers == {0.0, 1.0}
    assert total >= 8
    assert agreed == total


def test_a_library_is_reranked_by_a_real_server(
    server: str, model: Path, pictures: list[Path], tmp_path: Path
) -> None:
    with open_fake(
        tmp_path / "library",
        rerank="openai",
        rerank_url=f"{server}/v1",
        rerank_model=str(model),
        rerank_seconds=200,
        rerank_weight=0.9,
        rerank_concurrency=2,
    ) as engine:
        index_into(engine.library, [pictures[0].parent])
        result = engine.search("a red boat", modality="image", explain=True)
    assert result.warnings == ()
    assert len(result.hits) == len(pictures)
    given = [hit.scores["rerank"] for hit in result.hits]
    assert given == sorted(given, reverse=True)
    assert all(hit.explanation and hit.explanation.reranker for hit in result.hits)


def _content(path: Path, _most: int | None) -> bytes:
    return path.read_bytes()
