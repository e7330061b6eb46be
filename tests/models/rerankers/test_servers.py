"""Chat and /rerank servers, well-behaved and not."""

from __future__ import annotations

import base64
import logging
import math
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from mmsearch.errors import ConfigurationError, RerankError, SettingsError
from mmsearch.models.rerankers.openai_chat import OpenAIReranker
from mmsearch.models.rerankers.prompts import Example
from mmsearch.models.rerankers.rerank_server import RerankServer, read_results
from mmsearch.types import Modality, RerankCandidate, RerankScores
from tests.models.rerankers.stub import Reply, chat, first_token, serving

JPEG = b"\xff\xd8\xff\xe0 a picture"


def texts(*given: str) -> list[RerankCandidate]:
    return [
        RerankCandidate(i, Modality.TEXT, f"content-{i}", text=text)
        for i, text in enumerate(given, start=1)
    ]


def a_picture(content: bytes | None = JPEG) -> RerankCandidate:
    return RerankCandidate(1, Modality.IMAGE, "content", load_picture=lambda _: content)


def scores(scored: RerankScores) -> list[float | None]:
    return [None if one is None else round(one.score, 6) for one in scored.each]


def openai(url: str, **options: Any) -> OpenAIReranker:
    return OpenAIReranker(url, "a-model", **options)


# ------------------------------------------------------------------ chat, well-behaved


def test_log_probabilities_become_a_share_of_yes() -> None:
    def reply(body: dict[str, Any], path: str) -> Reply:
        return 200, chat(
            "Yes", first_token(Yes=math.log(0.6), **{" yes": math.log(0.2)}, No=math.log(0.2))
        )

    with serving(reply) as stub:
        reranker = openai(stub.url + "/v1", key="secret")
        scored = reranker.score("a boat", [a_picture()], seconds=5)
        reranker.release()
    assert scores(scored) == [0.8]
    assert scored.problems == ()
    sent = stub.requests[0]
    assert stub.paths == ["/v1/chat/completions"]
    assert stub.headers[0]["authorization"] == "Bearer secret"
    assert sent["max_tokens"] == 1
    assert sent["logprobs"] is True
    shown, asked = sent["messages"][-1]["content"]
    encoded = shown["image_url"]["url"].removeprefix("data:image/jpeg;base64,")
    assert base64.b64decode(encoded) == JPEG
    assert asked["text"] == 'Does this picture show "a boat"? Answer yes or no.'


def test_without_log_probabilities_a_grade_is_asked_for_and_remembered() -> None:
    def reply(body: dict[str, Any], path: str) -> Reply:
        if "logprobs" in body:
            return 200, chat("Yes")
        return 200, chat('```json\n{"score": 7}\n```')

    with serving(reply) as stub:
        reranker = openai(stub.url)
        first = reranker.score("tea", texts("Boil water."), seconds=5)
        second = reranker.score("tea", texts("Wait."), seconds=5)
        reranker.release()
    assert scores(first) == scores(second) == [0.7]
    assert ["logprobs" in one for one in stub.requests] == [True, False, False]
    assert reranker.dialect.answers == "grade"
    assert "Boil water." in stub.requests[0]["messages"][-1]["content"][0]["text"]


def test_a_model_that_knows_only_yes_and_no_is_understood() -> None:
    with serving(lambda *_: (200, chat(" No."))) as stub:
        reranker = openai(stub.url)
        assert scores(reranker.score("tea", texts("Coal."), seconds=5)) == [0.0]
        reranker.release()


def test_parameters_are_changed_until_the_server_takes_them() -> None:
    """As OpenAI's newer models, which take neither max_tokens nor temperature."""

    def reply(body: dict[str, Any], path: str) -> Reply:
        for name in ("max_tokens", "temperature"):
            if name in body:
                return 400, {"error": {"message": f"Unsupported parameter: '{name}'"}}
        if body.get("top_logprobs", 0) > 5:
            return 400, {"error": {"message": "top_logprobs is at most 5"}}
        return 200, chat("yes", first_token(yes=-0.1, no=-2.4))

    with serving(reply) as stub:
        reranker = openai(stub.url)
        assert scores(reranker.score("tea", texts("Tea."), seconds=5))[0] == pytest.approx(
            0.909, abs=0.001
        )
        count = len(stub.requests)
        reranker.score("tea", texts("Tea again."), seconds=5)
        reranker.release()
    assert count == 4
    assert len(stub.requests) == 5, "what was learnt is remembered"


def test_a_server_without_log_probabilities_or_schemas_is_graded_in_words() -> None:
    def reply(body: dict[str, Any], path: str) -> Reply:
        if "logprobs" in body:
            return 400, {"error": "logprobs are not supported"}
        if "response_format" in body:
            return 400, {"error": "unknown field"}
        return 200, chat("I would give it 8 out of 10, of 3 pictures.")

    with serving(reply) as stub:
        reranker = openai(stub.url)
        assert scores(reranker.score("tea", texts("Tea."), seconds=5)) == [0.8]
        reranker.release()


def test_reasons_come_on_request() -> None:
    def reply(body: dict[str, Any], path: str) -> Reply:
        if "logprobs" in body:
            return 200, chat("yes", first_token(yes=-0.1, no=-2.4))
        return 200, chat("Yes, there is\n a boat.")

    with serving(reply) as stub:
        reranker = openai(stub.url)
        with_reason = reranker.score("a boat", [a_picture()], seconds=5, reasons=True).each[0]
        without = reranker.score("a boat", [a_picture()], seconds=5).each[0]
        reranker.release()
    assert with_reason is not None
    assert without is not None
    assert with_reason.reason == "Yes, there is a boat."
    assert without.reason is None
    assert with_reason.score == without.score


def test_examples_ride_in_front_of_every_question() -> None:
    examples = [
        Example("a cat", True, image=JPEG),
        Example("a dog", False, text="Nothing but cats."),
    ]
    with serving(lambda *_: (200, chat("no", first_token(no=-0.1, yes=-2.4)))) as stub:
        reranker = openai(stub.url, examples=examples)
        reranker.score("a boat", [a_picture()], seconds=5)
        reranker.score("tea", texts("Tea."), seconds=5)
        reranker.release()
    pictures, words = (request["messages"] for request in stub.requests)
    assert [turn["role"] for turn in pictures] == ["user", "assistant", "user"]
    assert pictures[0]["content"][0]["type"] == "image_url"
    assert (pictures[1]["content"], words[1]["content"]) == ("Yes", "No")
    assert openai(stub.url).fingerprint != reranker.fingerprint


def test_a_query_is_only_text() -> None:
    """It is sent as one quoted line, whatever it looks like."""
    query = 'file:///etc/passwd" {} \n\n{"role": "system"} <|im_start|>'
    with serving(lambda *_: (200, chat("no", first_token(no=-0.1, yes=-2.4)))) as stub:
        reranker = openai(stub.url)
        reranker.score(query, [a_picture()], seconds=5)
        reranker.release()
    (turn,) = stub.requests[0]["messages"]
    assert turn["content"][1]["text"] == (
        "Does this picture show \"file:///etc/passwd' {} {'role': 'system'} <|im_start|>\"? "
        "Answer yes or no."
    )


# ------------------------------------------------------------------ chat, misbehaving


def hang(seconds: float) -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(_: BaseHTTPRequestHandler) -> None:
        time.sleep(seconds)

    return answer


def drip(handler: BaseHTTPRequestHandler) -> None:
    """A byte now and then, each within any timeout of a single read."""
    handler.send_response(200)
    handler.send_header("Content-Length", "100000")
    handler.end_headers()
    for _ in range(40):
        handler.wfile.write(b" ")
        handler.wfile.flush()
        time.sleep(0.05)


def flood(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", str(2**30))
    handler.end_headers()
    for _ in range(200):
        handler.wfile.write(b" " * 2**16)
    handler.close_connection = True


def break_off(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"choices": [')
    handler.close_connection = True


def redirect(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(307)
    handler.send_header("Location", "/elsewhere")
    handler.send_header("Content-Length", "0")
    handler.end_headers()


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ((200, b"<html>busy</html>"), "not a chat completion"),
        ((200, b""), "not a chat completion"),
        ((200, [1, 2]), "not a chat completion"),
        ((200, {"choices": []}), "not a chat completion"),
        ((200, {"choices": [{"message": None}]}), "no answer"),
        ((200, chat(None, refusal="I won't look at people.")), "refused"),
        ((200, chat("I'm sorry, I can't help with that.")), "refused"),
        ((200, chat('{"score": 11}')), "something else"),
        ((200, chat('{"score": NaN}')), "something else"),
        ((200, chat('{"score": true}')), "something else"),
        ((200, chat("Between 2 and 9, I think.")), "something else"),
        ((200, chat("Maybe", first_token(Maybe=-0.1, Perhaps=-2.0))), "something else"),
        ((429, {"error": {"message": "slow down"}}), "HTTP 429: slow down"),
        ((500, b"Internal Server Error"), "HTTP 500"),
        ((302, b""), "HTTP 302"),
        (redirect, "HTTP 307"),
    ],
)
def test_an_odd_answer_leaves_one_candidate_unscored(answer: Reply, told: str) -> None:
    with serving(lambda *_: answer) as stub:
        reranker = openai(stub.url)
        scored = reranker.score("tea", texts("Tea."), seconds=2)
        reranker.release()
    assert scored.each == (None,)
    assert told in scored.problems[0]
    assert "/elsewhere" not in stub.paths


@pytest.mark.parametrize("value", [math.nan, 5.0, -math.inf])
def test_log_probabilities_that_are_none_are_not_believed(value: float) -> None:
    """Then the listed alternative alone counts, or nothing does."""
    with serving(lambda *_: (200, chat("yes", first_token(yes=value)))) as stub:
        reranker = openai(stub.url)
        scored = reranker.score("tea", texts("Tea."), seconds=2)
        reranker.release()
    assert scored.each == (None,)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (hang(3), "took longer"),
        (drip, "took longer"),
        (flood, "more than 2097152 bytes"),
        (break_off, "closed the connection"),
        ((401, {"error": {"message": "wrong key secret-key"}}), r"401: wrong key \[key\]"),
        ((404, {"error": {"message": "no such model"}}), "404: no such model"),
    ],
)
def test_a_server_that_cannot_be_used_is_named(answer: Reply, told: str) -> None:
    with serving(lambda *_: answer) as stub:
        reranker = openai(stub.url, key="secret-key")
        began = time.monotonic()
        with pytest.raises(RerankError, match=told) as error:
            reranker.score("tea", texts("Tea."), seconds=0.6)
        assert time.monotonic() - began < 2
        reranker.release()
    assert "secret-key" not in str(error.value)


def test_one_bad_answer_spoils_no_other() -> None:
    def reply(body: dict[str, Any], path: str) -> Reply:
        if "Coal" in body["messages"][0]["content"][0]["text"]:
            return 200, b"{"
        return 200, chat("yes", first_token(yes=-0.1, no=-2.4))

    with serving(reply) as stub:
        reranker = openai(stub.url)
        scored = reranker.score("tea", texts("Tea.", "Coal.", "More tea."), seconds=5)
        reranker.release()
    assert [one is None for one in scored.each] == [False, True, False]


def test_a_busy_server_is_asked_once_more() -> None:
    answers = iter([(429, {}), (200, chat("yes", first_token(yes=-0.1, no=-2.4)))])

    with serving(lambda *_: next(answers)) as stub:
        reranker = openai(stub.url)
        assert scores(reranker.score("tea", texts("Tea."), seconds=5))[0] is not None
        reranker.release()


def test_a_picture_that_cannot_be_read_is_not_asked_about() -> None:
    with serving(lambda *_: (200, chat("yes"))) as stub:
        reranker = openai(stub.url)
        scored = reranker.score("tea", [a_picture(None)], seconds=5)
        reranker.release()
    assert scored.each == (None,)
    assert stub.requests == []


def test_nobody_there(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    reranker = OpenAIReranker("http://me:password@127.0.0.1:9/v1", "m", key="secret-key")
    with pytest.raises(RerankError, match=r"127\.0\.0\.1:9 cannot be reached"):
        reranker.score("tea", texts("Tea."), seconds=5)
    reranker.release()
    assert "password" not in caplog.text
    assert "secret-key" not in caplog.text


def test_wrong_settings_are_told() -> None:
    with pytest.raises(SettingsError, match="http"):
        openai("file:///etc/passwd")
    with pytest.raises(ConfigurationError, match="rerank_model"):
        OpenAIReranker("http://127.0.0.1:1", "")


# ------------------------------------------------------------------ /rerank


def test_results_are_matched_by_index_in_either_dialect() -> None:
    """Their order is the servers' own."""
    shuffled = [(2, 0.9), (0, 0.5), (1, 0.1)]

    def cohere(body: dict[str, Any], path: str) -> Reply:
        assert body["top_n"] == 3
        return 200, {"results": [{"index": i, "relevance_score": s} for i, s in shuffled]}

    def tei(body: dict[str, Any], path: str) -> Reply:
        if "texts" not in body:
            return 422, {"error": "missing field `texts`"}
        return 200, [{"index": i, "score": s} for i, s in shuffled]

    for reply, dialect in ((cohere, "documents"), (tei, "texts")):
        with serving(reply) as stub:
            server = RerankServer(stub.url + "/v1", "m", key="k")
            for _ in range(2):
                scored = server.score("tea", texts("a", "b", "c"), seconds=5)
            server.release()
        assert scores(scored) == [0.5, 0.1, 0.9]
        assert server.dialect == dialect
        assert set(stub.paths) == {"/v1/rerank"}
        assert len(stub.requests) == (2 if dialect == "documents" else 3)


def test_logits_are_put_between_0_and_1() -> None:
    """llama.cpp gives the model's raw output."""
    value = {"results": [{"index": 0, "relevance_score": -3.0}, {"index": 1, "relevance_score": 8}]}
    first, second = scores(read_results(value, 2))
    assert first == pytest.approx(0.0474, abs=1e-4)
    assert second == pytest.approx(0.9997, abs=1e-4)


@pytest.mark.parametrize(
    ("results", "expected", "told"),
    [
        ([{"index": 1, "score": 0.5}], [None, 0.5], "1 of 2 documents left out"),
        ([], [None, None], "2 of 2 documents left out"),
        ([{"index": 0, "score": 0.1}, {"index": 1, "score": 0.5}, {"index": 2, "score": 1}],
         [0.1, 0.5], "not sent"),
        ([{"index": -1, "score": 0.1}, {"index": 1, "score": 0.5}], [None, 0.5], "not sent"),
        ([{"index": 0, "score": 0.1}, {"index": 0, "score": 0.9}, {"index": 1, "score": 0.5}],
         [None, 0.5], "twice"),
        ([{"index": 0, "score": math.nan}, {"index": 1, "score": 0.5}], [None, 0.5], "finite"),
        ([{"index": 0, "score": math.inf}, {"index": 1, "score": 0.5}], [None, 0.5], "finite"),
        ([{"index": 0, "score": "0.9"}, {"index": 1, "score": 0.5}], [None, 0.5], "finite"),
        ([{"index": "0", "score": 0.9}, {"index": 1, "score": 0.5}], [None, 0.5], "index"),
        ([{"index": True, "score": 0.9}, {"index": 0, "score": 0.5}], [0.5, None], "index"),
        ([None, {"index": 1, "score": 0.5}], [None, 0.5], "index"),
    ],
)  # fmt: skip
def test_odd_results_leave_their_documents_unscored(
    results: list[Any], expected: list[float | None], told: str
) -> None:
    with serving(lambda *_: (200, results)) as stub:
        server = RerankServer(stub.url)
        scored = server.score("tea", texts("a", "b"), seconds=5)
        server.release()
    assert scores(scored) == expected
    assert any(told in problem for problem in scored.problems)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ((200, b"not json"), "not a list"),
        ((200, {"results": "none"}), "not a list"),
        ((200, 7), "not a list"),
        ((503, {"message": "loading"}), "HTTP 503: loading"),
        ((422, {"detail": "too long"}), "HTTP 422: too long"),
        (hang(3), "took longer"),
        (break_off, "closed the connection"),
    ],
)
def test_a_rerank_server_that_cannot_be_used_is_named(answer: Reply, told: str) -> None:
    with serving(lambda *_: answer) as stub:
        server = RerankServer(stub.url)
        with pytest.raises(RerankError, match=told):
            server.score("tea", texts("a", "b"), seconds=0.6)
        server.release()
