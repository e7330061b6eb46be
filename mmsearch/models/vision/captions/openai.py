"""Captions asked of a server that speaks OpenAI's chat completions (vLLM, llama.cpp, Ollama...).

Pictures are sent there as data URIs: only to the address that the settings name.
"""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from mmsearch.errors import CaptionError, ConfigurationError, RerankError
from mmsearch.models import loading
from mmsearch.models.remote import Answer, JsonServer
from mmsearch.models.vision.captions.answers import INSTRUCTION, MAX_TOKENS, caption_of

_FATAL = (401, 402, 403, 404)
"""Nothing that is asked later will fare better."""
_TRIES = 4
_LONGEST_WAIT = 10.0


class OpenAICaptioner:
    """A `Captioner`. `url` may end in the host, in /v1 or in /v1/chat/completions."""

    def __init__(
        self,
        url: str,
        model: str,
        *,
        key: str | None = None,
        seconds: float = 60.0,
        instruction: str = INSTRUCTION,
    ) -> None:
        if not model:
            raise ConfigurationError(
                "caption_model must say what the server calls its model", param="caption_model"
            )
        self._server = JsonServer(url, key, setting="caption_url")
        self._url = _endpoint(self._server.url)
        self._model = model
        self._seconds = seconds
        self._instruction = instruction
        self._lock = threading.Lock()
        self._bound = "max_tokens"
        self._temperature = True

    @property
    def name(self) -> str:
        return f"{self._model} at {self._server.host}"

    @property
    def fingerprint(self) -> str:
        # A server may have been given another model under the same name: that cannot be seen.
        return loading.fingerprint(
            adapter="caption-openai/1", url=self._url, model=self._model, asked=self._instruction
        )

    def caption(self, pictures: Sequence[bytes]) -> list[str | None]:
        return [caption_of(self._ask(content)) for content in pictures]

    def release(self) -> None:
        self._server.close()

    def _ask(self, picture: bytes) -> str:
        """What the server says; empty if it has no answer to this picture. CaptionError."""
        last = ""
        for attempt in range(_TRIES):
            try:
                answer = self._server.post(self._url, self._body(picture), self._seconds)
            except RerankError as error:
                raise CaptionError(f"no captions: {error}") from None
            if answer.ok:
                return _said(answer.value)
            last = f"HTTP {answer.status}" + (f": {answer.message}" if answer.message else "")
            if answer.status in _FATAL:
                raise CaptionError(f"no captions: {self._server.host} answered {last}")
            if answer.status in (429, 500, 502, 503, 504) and attempt + 1 < _TRIES:
                wait = 0.5 * 2**attempt if answer.retry_after is None else answer.retry_after
                time.sleep(min(wait, _LONGEST_WAIT))
            elif not self._adapted(answer):
                break
        if answer.status >= 500 or answer.status == 429:
            raise CaptionError(f"no captions: {self._server.host} answered {last}")
        # It does not take this one picture: others may do.
        return ""

    def _body(self, picture: bytes) -> dict[str, Any]:
        encoded = base64.b64encode(picture).decode("ascii")
        shown = {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{encoded}"}}
        asked = {"type": "text", "text": self._instruction}
        body: dict[str, Any] = {
            "model": self._model,
            "messages": [{"role": "user", "content": [shown, asked]}],
            "stream": False,
            self._bound: MAX_TOKENS,
        }
        if self._temperature:
            body["temperature"] = 0
        return body

    def _adapted(self, answer: Answer) -> bool:
        """Ask in another way from now on, going by what the server objects to."""
        said = answer.message.casefold()
        with self._lock:
            if "max_tokens" in said and self._bound == "max_tokens":
                self._bound = "max_completion_tokens"
                return True
            if "temperature" in said and self._temperature:
                self._temperature = False
                return True
        return False


def _endpoint(url: str) -> str:
    if url.endswith("/chat/completions"):
        return url
    return f"{url}/chat/completions" if urlsplit(url).path else f"{url}/v1/chat/completions"


def _said(value: Any) -> str:
    """The text of the first choice, whatever else the answer is."""
    choices = value.get("choices") if isinstance(value, Mapping) else None
    first = choices[0] if isinstance(choices, list) and choices else None
    message = first.get("message") if isinstance(first, Mapping) else None
    content = message.get("content") if isinstance(message, Mapping) else None
    if isinstance(content, list):
        parts = [part.get("text") for part in content if isinstance(part, Mapping)]
        content = " ".join(part for part in parts if isinstance(part, str))
    return content if isinstance(content, str) else ""
