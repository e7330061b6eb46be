"""Reranking by a server with a /rerank route, in either dialect.

- vLLM, Jina, Cohere, llama.cpp: {"model", "query", "documents", "top_n"} ->
  {"results": [{"index", "relevance_score"}, ...]}
- Hugging Face TEI: {"query", "texts"} -> [{"index", "score"}, ...]

The dialect is detected from responses. Results may come in any order and are matched by `index`.
A candidate whose index is duplicated, missing, out of range or without a finite score has no
score.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

from mmsearch.errors import RerankError
from mmsearch.models import loading
from mmsearch.models.remote import Answer, JsonServer
from mmsearch.models.rerankers import prompts
from mmsearch.types import VERBAL, Modality, RerankCandidate, RerankScore, RerankScores

_OTHER_DIALECT = (400, 404, 405, 415, 422)


class RerankServer:
    """A `Reranker`. /rerank is added to `url` unless it ends in it."""

    gives_reasons = False
    concurrency = 1

    def __init__(
        self, url: str, model: str | None = None, *, key: str | None = None, batch_size: int = 32
    ) -> None:
        self._server = JsonServer(url, key)
        base = self._server.url
        self._url = base if base.endswith("rerank") else f"{base}/rerank"
        self._model = model
        self._batch_size = batch_size
        self._dialect: Literal["documents", "texts"] = "documents"

    @property
    def name(self) -> str:
        return f"{self._model or 'reranker'} at {self._server.host}"

    @property
    def dialect(self) -> str:
        """ "documents" (vLLM, Jina, Cohere) or "texts" (TEI), as detected so far."""
        return self._dialect

    @property
    def fingerprint(self) -> str:
        return loading.fingerprint(adapter="rerank/1", url=self._url, model=self._model)

    @property
    def batch_size(self) -> int:
        return self._batch_size

    def accepts(self, modality: Modality) -> bool:
        return modality in VERBAL

    def score(
        self,
        query: str,
        candidates: Sequence[RerankCandidate],
        *,
        seconds: float,
        reasons: bool = False,  # noqa: ARG002  # there are none
    ) -> RerankScores:
        texts = [(candidate.text or "")[: prompts.MAX_TEXT] for candidate in candidates]
        flat = " ".join(query.split())[: prompts.MAX_TEXT]
        answer = self._ask(flat, texts, seconds)
        return read_results(answer.value, len(candidates))

    def release(self) -> None:
        self._server.close()

    def _ask(self, query: str, texts: list[str], seconds: float) -> Answer:
        dialects: tuple[Literal["documents", "texts"], ...] = ("documents", "texts")
        if self._dialect == "texts":
            dialects = ("texts", "documents")
        first: Answer | None = None
        for dialect in dialects:
            answer = self._server.post(self._url, self._body(dialect, query, texts), seconds)
            if answer.ok:
                self._dialect = dialect
                return answer
            first = first or answer
            if answer.status not in _OTHER_DIALECT:
                break
        assert first is not None
        message = f": {first.message}" if first.message else ""
        raise RerankError(f"{self._server.host} answered HTTP {first.status}{message}")

    def _body(self, dialect: str, query: str, texts: list[str]) -> dict[str, Any]:
        if dialect == "texts":
            return {"query": query, "texts": texts, "truncate": True}
        body: dict[str, Any] = {"query": query, "documents": texts, "top_n": len(texts)}
        if self._model:
            body["model"] = self._model
        return body


def read_results(value: Any, count: int) -> RerankScores:
    """The scores in a response of either dialect. Raises RerankError for other responses.

    If any score is outside 0..1, all are logits (llama.cpp, some vLLM models), and the logistic
    function is applied.
    """
    results = value.get("results", value.get("data")) if isinstance(value, dict) else value
    if not isinstance(results, list):
        raise RerankError("the answer is not a list of results")
    scores: dict[int, float] = {}
    duplicates: set[int] = set()
    problems: list[str] = []
    for item in results:
        result = _result(item)
        if result is None:
            problems.append("a result without index or finite score")
            continue
        index, score = result
        if not 0 <= index < count:
            problems.append(f"a result for a document that was not sent ({index})")
        elif index in scores:
            duplicates.add(index)
        else:
            scores[index] = score
    if any(not 0 <= score <= 1 for score in scores.values()):
        scores = {index: _logistic(score) for index, score in scores.items()}
    for index in duplicates:
        del scores[index]
    if duplicates:
        problems.append("the same document twice")
    if len(scores) + len(duplicates) < count:
        problems.append(f"{count - len(scores) - len(duplicates)} of {count} documents left out")
    each = tuple(RerankScore(scores[index]) if index in scores else None for index in range(count))
    return RerankScores(each, tuple(dict.fromkeys(problems)))


def _result(item: Any) -> tuple[int, float] | None:
    if not isinstance(item, dict):
        return None
    index = item.get("index")
    score = item.get("relevance_score", item.get("score"))
    if isinstance(index, bool) or not isinstance(index, int):
        return None
    if isinstance(score, bool) or not isinstance(score, int | float) or not math.isfinite(score):
        return None
    return index, float(score)


def _logistic(value: float) -> float:
    return 1 / (1 + math.exp(-max(-60.0, min(60.0, value))))
