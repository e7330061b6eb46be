"""Makes the rerankers that the setting `rerank` names.

To add one: an adapter beside this file, a name and a line here.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from mmsearch.errors import QueryError, SettingsError
from mmsearch.models.profiles import BLIP2, Profile, profile
from mmsearch.models.rerankers import prompts
from mmsearch.models.runtime import Runtime
from mmsearch.protocols import Reranker

if TYPE_CHECKING:
    from mmsearch.settings import Settings

NONE = "none"
NAMES = (NONE, "auto", "vlm", "blip2", "cross-encoder", "openai", "server")


def check_choice(choice: str) -> str:
    """Returns `choice`. Raises QueryError, which lists the names, if it is invalid."""
    parts = choice.split("+")
    single = len(parts) == 1 and choice in NAMES
    several = all(part in NAMES and part not in (NONE, "auto") for part in parts)
    if single or (several and len(set(parts)) == len(parts)):
        return choice
    known = ", ".join(NAMES)
    raise QueryError(
        f"rerank is one of {known}, or two joined by +, not '{choice}'", param="rerank"
    )


def rerankers_of(settings: Settings) -> Callable[[str, str], Sequence[Reranker]]:
    """A function from (profile, choice) to rerankers. Each is made once and loads on first use.

    The function raises SettingsError, QueryError.
    """
    runtime = Runtime.from_settings(settings)
    cache: dict[tuple[str, str], Reranker] = {}
    lock = threading.Lock()

    def rerankers(name: str, choice: str) -> Sequence[Reranker]:
        chosen = profile(name)
        parts = check_choice(choice).split("+")
        if choice == NONE:
            return ()
        if choice == "auto":
            parts = _automatic(chosen, settings)
        with lock:
            for part in parts:
                if (name, part) not in cache:
                    cache[name, part] = _make(part, chosen, settings, runtime)
            return [cache[name, part] for part in parts]

    return rerankers


def _automatic(chosen: Profile, settings: Settings) -> list[str]:
    """The server, if the settings name one; else the profile's rerankers."""
    if settings.rerank_url:
        return ["openai"]
    return ["vlm"] * (chosen.vlm is not None) + ["cross-encoder"] * (
        chosen.cross_encoder is not None or settings.rerank_text_model is not None
    )


def _make(name: str, chosen: Profile, settings: Settings, runtime: Runtime) -> Reranker:
    if name == "vlm":
        return _vlm(chosen, settings, runtime)
    if name == "blip2":
        from mmsearch.models.rerankers.blip2 import Blip2Reranker

        return Blip2Reranker(settings.rerank_model or BLIP2.name, runtime=runtime)
    if name == "cross-encoder":
        return _cross_encoder(chosen, settings, runtime)
    if settings.rerank_url is None:
        raise SettingsError(
            f"rerank={name} needs the address of the server: set rerank_url",
            param="rerank_url",
        )
    key = settings.rerank_api_key.get_secret_value() if settings.rerank_api_key else None
    if name == "server":
        from mmsearch.models.rerankers.rerank_server import RerankServer

        return RerankServer(settings.rerank_url, settings.rerank_model, key=key)
    from mmsearch.models.rerankers.openai_chat import OpenAIReranker

    return OpenAIReranker(
        settings.rerank_url,
        settings.rerank_model or "",
        key=key,
        concurrency=settings.rerank_concurrency,
        max_pixels=settings.rerank_pixels,
        examples=_examples(settings),
    )


def _vlm(chosen: Profile, settings: Settings, runtime: Runtime) -> Reranker:
    import io

    from PIL import Image

    from mmsearch.models.rerankers.local_vlm import LocalVlmReranker
    from mmsearch.models.vision.vlm import ShownExample, VisionLanguageScorer

    model = settings.rerank_model or (chosen.vlm.name if chosen.vlm else None)
    if model is None:
        raise SettingsError(
            f"profile {chosen.name} has no vision-language model: set rerank_model",
            param="rerank_model",
        )
    examples = []
    for example in _examples(settings):
        if example.image is not None:
            # The user's file, named in the user's settings: decoded without the sandbox.
            with Image.open(io.BytesIO(example.image), formats=("JPEG", "PNG", "WEBP")) as image:
                examples.append(ShownExample(example.query, image.convert("RGB"), example.answer))
    return LocalVlmReranker(
        VisionLanguageScorer(
            model,
            runtime=runtime,
            max_pixels=settings.rerank_pixels,
            examples=examples,
        )
    )


def _cross_encoder(chosen: Profile, settings: Settings, runtime: Runtime) -> Reranker:
    from mmsearch.models.rerankers.cross_encoder import CrossEncoderReranker

    default = chosen.cross_encoder.name if chosen.cross_encoder else None
    model = settings.rerank_text_model or default
    if model is None:
        raise SettingsError(
            f"profile {chosen.name} has no cross-encoder: set rerank_text_model",
            param="rerank_text_model",
        )
    return CrossEncoderReranker(model, runtime=runtime)


def _examples(settings: Settings) -> tuple[prompts.Example, ...]:
    return prompts.read_examples(settings.rerank_examples) if settings.rerank_examples else ()
