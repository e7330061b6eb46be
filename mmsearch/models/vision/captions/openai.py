"""Captions by a server with OpenAI's chat completions (vLLM, llama.cpp, Ollama...).

Pictures are sent as data URIs, only to the address in the settings.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

from mmsearch.errors import CaptionError, ConfigurationError, RerankError
from mmsearch.models import chat, loading
from mmsearch.models.remote import Answer, JsonServer
from mmsearch.models.vision.captions.answers import INSTRUCTION, MAX_TOKENS, caption_of

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
                "caption_model must be the server's name of its model", param="caption_model"
            )
        self._server = JsonServer(url, key, setting="caption_url")
        self._url = chat.endpoint(self._server.url)
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
        # Another model behind the same name on the server cannot be detected.
        return loading.fingerprint(
            adapter="caption-openai/1", url=self._url, model=self._model, asked=self._instruction
        )

    @property
    def weights(self) -> str:
        """A server's files are not accessible."""
        return ""

    def caption(self, pictures: Sequence[bytes]) -> list[str | None]:
        return [caption_of(self._ask(content)) for content in pictures]

    def release(self) -> None:
        self._server.close()

    def _ask(self, picture: bytes) -> str:
        """The server's answer; "" if it rejects this picture. Raises CaptionError."""
        last = ""
        for attempt in range(_TRIES):
            try:
                answer = self._server.post(self._url, self._body(picture), self._seconds)
            except RerankError as error:
                raise CaptionError(f"no captions: {error}") from None
            if answer.ok:
                return chat.text_of(chat.first_choice(answer.value))
            last = f"HTTP {answer.status}" + (f": {answer.message}" if answer.message else "")
            if answer.status in chat.FATAL:
                raise CaptionError(f"no captions: {self._server.host} answered {last}")
            if answer.status in (429, 500, 502, 503, 504) and attempt + 1 < _TRIES:
                wait = 0.5 * 2**attempt if answer.retry_after is None else answer.retry_after
                time.sleep(min(wait, _LONGEST_WAIT))
            elif not self._adapted(answer):
                break
        if answer.status >= 500 or answer.status == 429:
            raise CaptionError(f"no captions: {self._server.host} answered {last}")
        # The server rejected this picture; it may accept others.
        return ""

    def _body(self, picture: bytes) -> dict[str, Any]:
        content = [chat.image_part(picture), chat.text_part(self._instruction)]
        body: dict[str, Any] = {
            "model": self._model,
            "messages": [{"role": "user", "content": content}],
            "stream": False,
            self._bound: MAX_TOKENS,
        }
        if self._temperature:
            body["temperature"] = 0
        return body

    def _adapted(self, answer: Answer) -> bool:
        """Change the parameters that the server's message rejects. False if there are none."""
        message = answer.message.casefold()
        with self._lock:
            if "max_tokens" in message and self._bound == "max_tokens":
                self._bound = "max_completion_tokens"
                return True
            if "temperature" in message and self._temperature:
                self._temperature = False
                return True
        return False
