"""Which rerankers a word of the settings means.

To add one: an adapter beside this file, a name and a line here.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from mmsearch.errors import QueryError, SettingsError
from mmsearch.models.profiles import BLIP2, Profile
from mmsearch.models.rerankers import prompts
from mmsearch.protocols import Reranker

if TYPE_CHECKING:
    from mmsearch.settings import Settings

NONE = "none"
NAMES = (NONE, "auto", "vlm", "blip2", "cross-encoder", "openai", "server")


def check_choice(choice: str) -> str:
    """The same choice, or the QueryError that lists what there is to choose."""
    parts = choice.split("+")
    single = len(parts) == 1 and choice in NAMES
    several = all(part in NAMES and part not in (NONE, "auto") for part in parts)
    if single or (several and len(set(parts)) == len(parts)):
        return choice
    known = ", ".join(NAMES)
    raise QueryError(
        f"rerank is one of {known}, or two joined by +, not '{choice}'", param="rerank"
    )


def rerankers_of(
    settings: Settings, profile_of: Callable[[str], Profile]
) -> Callable[[str, str], Sequence[Reranker]]:
    """`(profile, choice)` to rerankers; each is wired once, and loads when it is first used.

    Raises SettingsError, QueryError.
    """
    made: dict[tuple[str, str], Reranker] = {}
    lock = threading.Lock()

    def rerankers(profile: str, choice: str) -> Sequence[Reranker]:
        chosen = profile_of(profile)
        parts = check_choice(choice).split("+")
        if choice == NONE:
            return ()
        if choice == "auto":
            parts = _automatic(chosen, settings)
        with lock:
            for part in parts:
                if (profile, part) not in made:
                    made[profile, part] = _make(part, chosen, settings)
            return [made[profile, part] for part in parts]

    return rerankers


def _automatic(profile: Profile, settings: Settings) -> list[str]:
    """The server, where one is named; else what the profile brings."""
    if settings.rerank_url:
        return ["openai"]
    return ["vlm"] * (profile.vlm is not None) + ["cross-encoder"] * (
        profile.cross_encoder is not None or settings.rerank_text_model is not None
    )


def _make(name: str, profile: Profile, settings: Settings) -> Reranker:
    if name == "vlm":
        return _vlm(profile, settings)
    if name == "blip2":
        from mmsearch.models.rerankers.blip2 import Blip2Reranker

        return Blip2Reranker(
            settings.rerank_model or BLIP2.name,
            model_folder=settings.model_folder,
            allow_download=settings.allow_download,
            device=settings.device,
            threads=settings.threads,
        )
    if name == "cross-encoder":
        return _cross_encoder(profile, settings)
    if settings.rerank_url is None:
        raise SettingsError(
            f"rerank={name} needs to know where the server is: set rerank_url",
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


def _vlm(profile: Profile, settings: Settings) -> Reranker:
    import io

    from PIL import Image

    from mmsearch.models.rerankers.local_vlm import LocalVlmReranker
    from mmsearch.models.vision.vlm import ShownExample, VisionLanguageScorer

    model = settings.rerank_model or (profile.vlm.name if profile.vlm else None)
    if model is None:
        raise SettingsError(
            f"profile {profile.name} has no vision-language model: set rerank_model",
            param="rerank_model",
        )
    shown = []
    for example in _examples(settings):
        if example.image is not None:
            # The user's own file, named in the user's own settings.
            with Image.open(io.BytesIO(example.image), formats=("JPEG", "PNG", "WEBP")) as image:
                shown.append(ShownExample(example.query, image.convert("RGB"), example.answer))
    return LocalVlmReranker(
        VisionLanguageScorer(
            model,
            model_folder=settings.model_folder,
            allow_download=settings.allow_download,
            device=settings.device,
            precision=settings.precision,
            threads=settings.threads,
            max_pixels=settings.rerank_pixels,
            examples=shown,
        )
    )


def _cross_encoder(profile: Profile, settings: Settings) -> Reranker:
    from mmsearch.models.rerankers.cross_encoder import CrossEncoderReranker

    own = profile.cross_encoder.name if profile.cross_encoder else None
    model = settings.rerank_text_model or own
    if model is None:
        raise SettingsError(
            f"profile {profile.name} has no cross-encoder: set rerank_text_model",
            param="rerank_text_model",
        )
    return CrossEncoderReranker(
        model,
        model_folder=settings.model_folder,
        allow_download=settings.allow_download,
        device=settings.device,
        threads=settings.threads,
    )


def _examples(settings: Settings) -> tuple[prompts.Example, ...]:
    return prompts.read_examples(settings.rerank_examples) if settings.rerank_examples else ()
