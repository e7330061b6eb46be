"""OpenAI's chat completions: the address, parts of a request, and the text of an answer."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

FATAL = (401, 402, 403, 404)
"""Statuses after which later requests would fail too."""


def endpoint(url: str) -> str:
    """The route of chat completions; `url` ends in the host, /v1 or /v1/chat/completions."""
    if url.endswith("/chat/completions"):
        return url
    return f"{url}/chat/completions" if urlsplit(url).path else f"{url}/v1/chat/completions"


def text_part(text: str) -> dict[str, Any]:
    """A part of a message's content."""
    return {"type": "text", "text": text}


def image_part(content: bytes) -> dict[str, Any]:
    """A PNG or JPEG as a data URI: some servers reject addresses, and none has to fetch any."""
    kind = "png" if content.startswith(b"\x89PNG") else "jpeg"
    encoded = base64.b64encode(content).decode("ascii")
    return {"type": "image_url", "image_url": {"url": f"data:image/{kind};base64,{encoded}"}}


def first_choice(value: Any) -> Mapping[str, Any] | None:
    """The first choice of a response's JSON; None if it is not a chat completion."""
    choices = value.get("choices") if isinstance(value, dict) else None
    first = choices[0] if isinstance(choices, list) and choices else None
    return first if isinstance(first, dict) else None


def text_of(choice: Mapping[str, Any] | None) -> str:
    """The text of a choice; "" if it has none. Some servers send it as a list of parts."""
    message = choice.get("message") if choice is not None else None
    content = message.get("content") if isinstance(message, dict) else None
    if isinstance(content, list):
        texts = [part.get("text") for part in content if isinstance(part, dict)]
        content = " ".join(text for text in texts if isinstance(text, str))
    return content if isinstance(content, str) else ""
