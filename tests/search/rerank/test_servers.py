"""Servers as rerankers of a whole library: chat and /rerank, well-behaved and not."""

from __future__ import annotations

from typing import Any

import pytest

from tests.models.rerankers.stub import Reply, chat, first_token, serving
from tests.search.rerank.conftest import Opener, colour_of, colours, first_stage


def yes(_body: dict[str, Any], _path: str) -> Reply:
    return 200, chat("yes", first_token(yes=-0.1, no=-2.4))


def only_blue(body: dict[str, Any], _path: str) -> Reply:
    import base64

    url = body["messages"][-1]["content"][0]["image_url"]["url"]
    blue = colour_of(base64.b64decode(url.partition(",")[2])) == "blue"
    return 200, chat("?", first_token(yes=-0.01 if blue else -9.0, no=-9.0 if blue else -0.01))


def test_a_chat_server_reorders_a_library(library: Opener) -> None:
    """All the way: sandbox, data URI, log-probabilities, fusion."""
    with (
        serving(only_blue) as stub,
        library(
            rerank="openai",
            rerank_url=stub.url,
            rerank_model="llava",
            rerank_api_key="key-of-the-user",
            rerank_weight=0.9,
        ) as engine,
    ):
        result = engine.search("red", modality="image")
        assert colours(result)[0] == "blue"
        assert result.warnings == ()
        assert stub.headers[0]["authorization"] == "Bearer key-of-the-user"
        assert "key-of-the-user" not in repr(engine.settings)


@pytest.mark.parametrize(
    "reply",
    [
        (200, b"<html>"),
        (200, chat("I'm sorry, I can't.")),
        (200, chat("purple")),
        (200, chat('{"score": NaN}')),
        (401, {"error": {"message": "no such key"}}),
        (500, b"oops"),
    ],
)
@pytest.mark.parametrize("choice", ["openai", "server"])
def test_a_misbehaving_server_changes_nothing(choice: str, reply: Reply, library: Opener) -> None:
    with (
        serving(lambda *_: reply) as stub,
        library(
            rerank=choice,
            rerank_url=stub.url,
            rerank_model="llava",
        ) as engine,
    ):
        result = engine.search("an old red boat")
        assert result.hits == first_stage(engine, "an old red boat").hits
        assert "were not scored" in result.warnings[0]
        assert stub.requests


def test_the_words_of_a_query_are_never_fetched(library: Opener) -> None:
    """A query that is an address reaches the reranker as text, and nobody else."""
    with (
        serving(yes) as secret,
        serving(yes) as stub,
        library(rerank="openai", rerank_url=stub.url, rerank_model="llava") as engine,
    ):
        engine.search(f"{secret.url}/cat.png")
        assert secret.requests == []
        assert all(secret.url in str(request) for request in stub.requests)
