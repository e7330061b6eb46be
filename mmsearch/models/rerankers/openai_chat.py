"""Reranking by a server with OpenAI's chat completions.

vLLM, llama.cpp, Ollama, LM Studio, `transformers serve`, OpenAI. One request per candidate, with
the picture as a data URI. What a server supports is learnt from its responses:

- log-probabilities of the first token, where it returns them: P(yes) / (P(yes) + P(no));
- else a grade from 0 to 10, as a JSON schema where the server supports schemas, else as text;
- the names and bounds of parameters (`max_completion_tokens`, fewer `top_logprobs`).
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from mmsearch.errors import ConfigurationError, RerankError
from mmsearch.models import chat, loading
from mmsearch.models.remote import Answer, JsonServer
from mmsearch.models.rerankers import prompts
from mmsearch.models.rerankers.prompts import Example
from mmsearch.types import VERBAL, VISUAL, Modality, RerankCandidate, RerankScore, RerankScores

_ADAPTATIONS = 5
"""Most attempts of one request, with other parameters each."""
_GRADE_TOKENS, _REASON_TOKENS = 24, 120
_RETRY_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Dialect:
    """The known capabilities of a server."""

    answers: Literal["logprobs", "grade"] = "logprobs"
    alternatives: int = 20
    length: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    schema: bool = True
    temperature: bool = True


class OpenAIReranker:
    """A `Reranker`. `url` ends in the host, in /v1 or in /v1/chat/completions."""

    batch_size = 1

    def __init__(
        self,
        url: str,
        model: str,
        *,
        key: str | None = None,
        concurrency: int = 8,
        max_pixels: int = 512 * 512,
        examples: Sequence[Example] = (),
        pictures: bool = True,
        texts: bool = True,
    ) -> None:
        if not model:
            raise ConfigurationError(
                "rerank_model must be the server's name of its model", param="rerank_model"
            )
        self._server = JsonServer(url, key)
        self._url = chat.endpoint(self._server.url)
        self._model = model
        self._concurrency = concurrency
        self._max_pixels = max_pixels
        self._examples = tuple(examples)
        self._modalities = (VISUAL if pictures else frozenset()) | (
            VERBAL if texts else frozenset()
        )
        self._lock = threading.Lock()
        self._dialect = Dialect()

    @property
    def name(self) -> str:
        return f"{self._model} at {self._server.host}"

    @property
    def dialect(self) -> Dialect:
        """The server's capabilities, as learnt so far."""
        return self._dialect

    @property
    def fingerprint(self) -> str:
        # Another model behind the same name on the server cannot be detected.
        return loading.fingerprint(
            adapter="openai/1",
            url=self._url,
            model=self._model,
            max_pixels=self._max_pixels,
            questions=[prompts.PICTURE_QUESTION, prompts.TEXT_QUESTION],
            grades=[prompts.PICTURE_GRADE, prompts.TEXT_GRADE],
            examples=[[e.query, e.answer, e.text, repr(e.image)] for e in self._examples],
        )

    @property
    def concurrency(self) -> int:
        return self._concurrency

    @property
    def gives_reasons(self) -> bool:
        return True

    def accepts(self, modality: Modality) -> bool:
        return modality in self._modalities

    def score(
        self,
        query: str,
        candidates: Sequence[RerankCandidate],
        *,
        seconds: float,
        reasons: bool = False,
    ) -> RerankScores:
        deadline = time.monotonic() + seconds
        each: list[RerankScore | None] = []
        problems: list[str] = []
        for candidate in candidates:
            try:
                each.append(self._score_one(query, candidate, deadline, reasons=reasons))
            except _UnansweredError as error:
                each.append(None)
                problems.append(str(error))
        return RerankScores(tuple(each), tuple(problems))

    def release(self) -> None:
        self._server.close()

    # ------------------------------------------------------------------ one candidate

    def _score_one(
        self, query: str, candidate: RerankCandidate, deadline: float, *, reasons: bool
    ) -> RerankScore:
        content = _content(candidate)
        picture = content["type"] == "image_url"
        if self._dialect.answers == "logprobs":
            text = prompts.question(query, picture=picture)
            choice = self._ask("logprobs", content, text, deadline, reason=False)
            share = _share_of(choice)
            if share is not None:
                reason = self._reason(content, text, deadline) if reasons else None
                return RerankScore(share, reason)
            if _alternatives_of(choice):
                # Neither yes nor no is among the tokens that the server listed.
                raise _UnansweredError(_problem(choice))
            self._learn(answers="grade")
        text = prompts.grade(query, picture=picture, reason=reasons)
        choice = self._ask("grade", content, text, deadline, reason=reasons)
        graded = prompts.read_grade(chat.text_of(choice))
        if graded is None:
            raise _UnansweredError(_problem(choice))
        return RerankScore(*graded)

    def _reason(self, content: dict[str, Any], question: str, deadline: float) -> str | None:
        """The model's reason; None if it gives none, which does not discard the score."""
        text = question.replace(
            "Answer yes or no.", "Say yes or no and why, in one short sentence."
        )
        try:
            reason = chat.text_of(self._ask("words", content, text, deadline, reason=True))
        except (_UnansweredError, RerankError):
            return None
        return None if prompts.looks_like_refusal(reason) else prompts.shortened(reason)

    def _ask(
        self,
        kind: Literal["logprobs", "grade", "words"],
        content: dict[str, Any],
        text: str,
        deadline: float,
        *,
        reason: bool,
    ) -> Mapping[str, Any]:
        """The response's first choice, after up to _ADAPTATIONS changes of parameters."""
        retried = False
        for _ in range(_ADAPTATIONS):
            left = deadline - time.monotonic()
            if left <= 0:
                raise _UnansweredError("time ran out")
            dialect = self._dialect
            body = self._body(dialect, kind, content, text, reason=reason)
            answer = self._server.post(self._url, body, left)
            if answer.ok:
                return _choice(answer)
            if answer.status in (429, 503) and not retried:
                wait = answer.retry_after if answer.retry_after is not None else 0.5
                if wait <= min(_RETRY_SECONDS, (deadline - time.monotonic()) / 2):
                    retried = True
                    time.sleep(wait)
                    continue
            better = _adapted(dialect, answer) if answer.status in (400, 422, 501) else None
            if better is None:
                raise self._failed(answer)
            self._learn_all(better)
            if kind == "logprobs" and better.answers == "grade":
                return {}
        raise _UnansweredError("the server refused every form of the question")

    def _failed(self, answer: Answer) -> Exception:
        message = f": {answer.message}" if answer.message else ""
        problem = f"HTTP {answer.status}{message}"
        if answer.status in chat.FATAL:
            return RerankError(f"{self._server.host} answered {problem}")
        return _UnansweredError(problem)

    def _body(
        self,
        dialect: Dialect,
        kind: Literal["logprobs", "grade", "words"],
        content: dict[str, Any],
        text: str,
        *,
        reason: bool,
    ) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self._model,
            "messages": [
                *self._example_turns(kind, picture=content["type"] == "image_url"),
                {"role": "user", "content": [content, chat.text_part(text)]},
            ],
            "stream": False,
        }
        if dialect.temperature:
            body["temperature"] = 0
        if kind == "logprobs":
            body[dialect.length] = 1
            body["logprobs"] = True
            body["top_logprobs"] = dialect.alternatives
            return body
        body[dialect.length] = _REASON_TOKENS if reason else _GRADE_TOKENS
        if kind == "grade" and dialect.schema:
            body["response_format"] = {
                "type": "json_schema",
                "json_schema": {
                    "name": "grade",
                    "strict": True,
                    "schema": prompts.grade_schema(reason=reason),
                },
            }
        return body

    def _example_turns(self, kind: str, *, picture: bool) -> list[dict[str, Any]]:
        """Few-shot examples of the same kind, as earlier turns of the conversation.

        They come first and are the same for every candidate: a server with a prefix cache (vLLM,
        llama.cpp) computes them once.
        """
        turns: list[dict[str, Any]] = []
        for example in self._examples:
            if (example.image is not None) != picture:
                continue
            if kind == "grade":
                question = prompts.grade(example.query, picture=picture, reason=False)
                answer = '{"score": 10}' if example.answer else '{"score": 0}'
            else:
                question = prompts.question(example.query, picture=picture)
                answer = "Yes" if example.answer else "No"
            shown = chat.image_part(example.image) if example.image else _text(example.text or "")
            turns.append({"role": "user", "content": [shown, chat.text_part(question)]})
            turns.append({"role": "assistant", "content": answer})
        return turns

    def _learn(self, **known: Any) -> None:
        with self._lock:
            self._dialect = replace(self._dialect, **known)

    def _learn_all(self, dialect: Dialect) -> None:
        with self._lock:
            self._dialect = dialect


class _UnansweredError(Exception):
    """This candidate has no score; others may have one."""


# ------------------------------------------------------------------ requests


def _content(candidate: RerankCandidate) -> dict[str, Any]:
    if candidate.modality in VISUAL:
        content = candidate.picture()
        if content is None:
            raise _UnansweredError("the picture cannot be read")
        return chat.image_part(content)
    if not candidate.text:
        raise _UnansweredError("there is no text")
    return _text(candidate.text)


def _text(text: str) -> dict[str, Any]:
    return chat.text_part(f"Text:\n<<<\n{text[: prompts.MAX_TEXT]}\n>>>\n")


# ------------------------------------------------------------------ responses


def _adapted(dialect: Dialect, answer: Answer) -> Dialect | None:
    """Capabilities without what the server's message rejects; None if it names nothing known."""
    message = answer.message.casefold()
    if dialect.length in message and dialect.length == "max_tokens":
        return replace(dialect, length="max_completion_tokens")
    if "temperature" in message and dialect.temperature:
        return replace(dialect, temperature=False)
    if "logprobs" in message and dialect.answers == "logprobs":
        # OpenAI returns up to 20 alternatives, some servers up to 5, some none.
        if dialect.alternatives > 5:
            return replace(dialect, alternatives=5)
        return replace(dialect, answers="grade")
    if dialect.answers == "grade" and dialect.schema:
        return replace(dialect, schema=False)
    return None


def _choice(answer: Answer) -> Mapping[str, Any]:
    choice = chat.first_choice(answer.value)
    if choice is None:
        raise _UnansweredError("the answer is not a chat completion")
    return choice


def _problem(choice: Mapping[str, Any]) -> str:
    message = choice.get("message")
    if isinstance(message, dict) and message.get("refusal"):
        return prompts.REFUSED
    return prompts.problem_of(chat.text_of(choice))


def _share_of(choice: Mapping[str, Any]) -> float | None:
    pairs = _alternatives_of(choice)
    share = prompts.yes_share(pairs) if pairs else None
    return share if share is not None and math.isfinite(share) else None


def _alternatives_of(choice: Mapping[str, Any]) -> list[tuple[str, float]]:
    """(token, log-probability) of the first token, in OpenAI's chat or older completions form."""
    logprobs = choice.get("logprobs")
    if not isinstance(logprobs, dict):
        return []
    content = logprobs.get("content")
    if isinstance(content, list) and content and isinstance(content[0], dict):
        first = content[0]
        listed = first.get("top_logprobs")
        items = [first, *(listed if isinstance(listed, list) else [])]
        alternatives = {
            item["token"]: float(item["logprob"])
            for item in items
            if isinstance(item, dict)
            and isinstance(item.get("token"), str)
            and isinstance(item.get("logprob"), int | float)
        }
        return list(alternatives.items())
    older = logprobs.get("top_logprobs")
    if isinstance(older, list) and older and isinstance(older[0], dict):
        return [
            (token, float(value))
            for token, value in older[0].items()
            if isinstance(value, int | float)
        ]
    return []
