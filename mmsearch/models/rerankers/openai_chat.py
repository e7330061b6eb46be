"""Any server that speaks OpenAI's chat completions as a reranker.

vLLM, llama.cpp, Ollama, LM Studio, `transformers serve`, OpenAI. One request per candidate; the
picture goes in it as a data URI (some servers refuse addresses, and none needs to fetch any).
What a server can do is found out from its answers and remembered:

- log-probabilities of the first token, where it gives them: P(yes) / (P(yes) + P(no));
- else a grade from 0 to 10, as a JSON schema where it takes one, else in words;
- which names and bounds of parameters it takes (`max_completion_tokens`, fewer `top_logprobs`).
"""

from __future__ import annotations

import base64
import math
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal
from urllib.parse import urlsplit

from mmsearch.errors import ConfigurationError, RerankError
from mmsearch.models import loading
from mmsearch.models.remote import Answer, JsonServer
from mmsearch.models.rerankers import prompts
from mmsearch.models.rerankers.prompts import Example
from mmsearch.types import VERBAL, VISUAL, Modality, RerankCandidate, RerankScore, RerankScores

_ADAPTATIONS = 5
"""How many times one request is sent anew with other parameters."""
_GRADE_TOKENS, _REASON_TOKENS = 24, 120
_RETRY_SECONDS = 5.0
_FATAL = (401, 402, 403, 404)
"""Nothing that is asked later will fare better."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """What is known of a server so far."""

    answers: Literal["logprobs", "grade"] = "logprobs"
    alternatives: int = 20
    length: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    schema: bool = True
    temperature: bool = True


class OpenAIReranker:
    """See the module. `url` may end in the host, in /v1 or in /v1/chat/completions."""

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
                "rerank_model must say what the server calls its model", param="rerank_model"
            )
        self._server = JsonServer(url, key)
        self._url = _endpoint(self._server.url)
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
        """What the server's answers have shown so far."""
        return self._dialect

    @property
    def fingerprint(self) -> str:
        # A server may have been given another model under the same name: that cannot be seen.
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
                each.append(self._one(query, candidate, deadline, reasons=reasons))
            except _UnansweredError as error:
                each.append(None)
                problems.append(str(error))
        return RerankScores(tuple(each), tuple(problems))

    def release(self) -> None:
        self._server.close()

    # ------------------------------------------------------------------ one candidate

    def _one(
        self, query: str, candidate: RerankCandidate, deadline: float, *, reasons: bool
    ) -> RerankScore:
        content = _content(candidate)
        picture = content["type"] == "image_url"
        if self._dialect.answers == "logprobs":
            text = prompts.question(query, picture=picture)
            choice = self._ask("logprobs", content, text, deadline, reason=False)
            said = _text_of(choice)
            share = _share_of(choice)
            if share is not None:
                why = self._why(content, text, deadline) if reasons else None
                return RerankScore(share, why)
            if _alternatives_of(choice):
                # It can give them, and neither yes nor no was among them.
                raise _UnansweredError(_problem(choice, said))
            self._learn(answers="grade")
        text = prompts.grade(query, picture=picture, reason=reasons)
        choice = self._ask("grade", content, text, deadline, reason=reasons)
        said = _text_of(choice)
        graded = prompts.read_grade(said)
        if graded is None:
            raise _UnansweredError(_problem(choice, said))
        return RerankScore(*graded)

    def _why(self, content: dict[str, Any], asked: str, deadline: float) -> str | None:
        """A reason is worth having, but no score is thrown away for the lack of one."""
        text = asked.replace("Answer yes or no.", "Say yes or no and why, in one short sentence.")
        try:
            said = _text_of(self._ask("words", content, text, deadline, reason=True))
        except (_UnansweredError, RerankError):
            return None
        return None if prompts.looks_like_refusal(said) else prompts.shortened(said)

    def _ask(
        self,
        kind: Literal["logprobs", "grade", "words"],
        content: dict[str, Any],
        text: str,
        deadline: float,
        *,
        reason: bool,
    ) -> Mapping[str, Any]:
        """The first choice of the answer, after as many adaptations as the server needs."""
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
        said = f": {answer.message}" if answer.message else ""
        told = f"HTTP {answer.status}{said}"
        if answer.status in _FATAL:
            return RerankError(f"{self._server.host} answered {told}")
        return _UnansweredError(told)

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
                {"role": "user", "content": [content, {"type": "text", "text": text}]},
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
        """Worked examples of the same kind, as turns of the conversation so far.

        They come first and are the same for every candidate: a server that keeps the state of
        a common beginning (vLLM, llama.cpp) reads them once.
        """
        turns: list[dict[str, Any]] = []
        for example in self._examples:
            if (example.image is not None) != picture:
                continue
            if kind == "grade":
                asked = prompts.grade(example.query, picture=picture, reason=False)
                said = '{"score": 10}' if example.answer else '{"score": 0}'
            else:
                asked = prompts.question(example.query, picture=picture)
                said = "Yes" if example.answer else "No"
            shown = _picture(example.image) if example.image else _text(example.text or "")
            turns.append({"role": "user", "content": [shown, {"type": "text", "text": asked}]})
            turns.append({"role": "assistant", "content": said})
        return turns

    def _learn(self, **known: Any) -> None:
        with self._lock:
            self._dialect = replace(self._dialect, **known)

    def _learn_all(self, dialect: Dialect) -> None:
        with self._lock:
            self._dialect = dialect


class _UnansweredError(Exception):
    """This candidate was not scored; the others may be."""


# ------------------------------------------------------------------ what is sent


def _endpoint(url: str) -> str:
    if url.endswith("/chat/completions"):
        return url
    return f"{url}/chat/completions" if urlsplit(url).path else f"{url}/v1/chat/completions"


def _content(candidate: RerankCandidate) -> dict[str, Any]:
    if candidate.modality in VISUAL:
        content = candidate.picture()
        if content is None:
            raise _UnansweredError("the picture cannot be read")
        return _picture(content)
    if not candidate.text:
        raise _UnansweredError("there is no text")
    return _text(candidate.text)


def _picture(content: bytes) -> dict[str, Any]:
    kind = "png" if content.startswith(b"\x89PNG") else "jpeg"
    encoded = base64.b64encode(content).decode("ascii")
    return {"type": "image_url", "image_url": {"url": f"data:image/{kind};base64,{encoded}"}}


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": f"Text:\n<<<\n{text[: prompts.MAX_TEXT]}\n>>>\n"}


# ------------------------------------------------------------------ what comes back


def _adapted(dialect: Dialect, answer: Answer) -> Dialect | None:
    """Another way to ask, going by what the server objects to; None if there is none."""
    said = answer.message.casefold()
    if dialect.length in said and dialect.length == "max_tokens":
        return replace(dialect, length="max_completion_tokens")
    if "temperature" in said and dialect.temperature:
        return replace(dialect, temperature=False)
    if "logprobs" in said and dialect.answers == "logprobs":
        # OpenAI takes up to 20 of them, some servers up to 5, some none.
        if dialect.alternatives > 5:
            return replace(dialect, alternatives=5)
        return replace(dialect, answers="grade")
    if dialect.answers == "grade" and dialect.schema:
        return replace(dialect, schema=False)
    return None


def _choice(answer: Answer) -> Mapping[str, Any]:
    choices = answer.value.get("choices") if isinstance(answer.value, dict) else None
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise _UnansweredError("the answer is not a chat completion")
    return choices[0]


def _text_of(choice: Mapping[str, Any]) -> str:
    message = choice.get("message")
    if not isinstance(message, dict):
        return ""
    content = message.get("content")
    if isinstance(content, list):  # parts, as some servers send them
        parts = [part.get("text", "") for part in content if isinstance(part, dict)]
        content = "".join(part for part in parts if isinstance(part, str))
    return content if isinstance(content, str) else ""


def _problem(choice: Mapping[str, Any], said: str) -> str:
    message = choice.get("message")
    if isinstance(message, dict) and message.get("refusal"):
        return prompts.REFUSED
    return prompts.problem_of(said)


def _share_of(choice: Mapping[str, Any]) -> float | None:
    pairs = _alternatives_of(choice)
    share = prompts.yes_share(pairs) if pairs else None
    return share if share is not None and math.isfinite(share) else None


def _alternatives_of(choice: Mapping[str, Any]) -> list[tuple[str, float]]:
    """The first token's alternatives: OpenAI's chat form, or the completions form before it."""
    logprobs = choice.get("logprobs")
    if not isinstance(logprobs, dict):
        return []
    content = logprobs.get("content")
    if isinstance(content, list) and content and isinstance(content[0], dict):
        first = content[0]
        listed = first.get("top_logprobs")
        items = [first, *(listed if isinstance(listed, list) else [])]
        found = {
            item["token"]: float(item["logprob"])
            for item in items
            if isinstance(item, dict)
            and isinstance(item.get("token"), str)
            and isinstance(item.get("logprob"), int | float)
        }
        return list(found.items())
    older = logprobs.get("top_logprobs")
    if isinstance(older, list) and older and isinstance(older[0], dict):
        return [
            (token, float(value))
            for token, value in older[0].items()
            if isinstance(value, int | float)
        ]
    return []
