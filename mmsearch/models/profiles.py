"""The profiles: named sets of models, with facts about each model. Nothing is loaded here.

Figures are from the models' cards and papers; costs are for one picture of the model's input
size, one text of full length, or 30 seconds of speech. Each library downloads its public
checkpoints from a hub, or reads them from a cache or a local folder. The nano models ship with
mmsearch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from dataclasses import replace as _replace
from types import MappingProxyType
from typing import Literal

from mmsearch.errors import ProfileError
from mmsearch.types import Role

Kind = Literal["openclip", "sentence", "whisper", "clap", "vlm", "cross-encoder", "blip2"]


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """One model, by its library's names."""

    kind: Kind
    name: str
    """Architecture, hub id, size or folder; see the adapter."""
    weights: str | None = None
    """Checkpoint tag or file of an open_clip architecture."""
    seed: int | None = None
    """Random weights instead, for tests and benchmarks only."""
    prompts: Mapping[Role, str] | None = None
    """Prefixes of queries and documents, if the model's files do not contain them."""
    source: str = "chosen by name"
    licence: str = "unknown: see the model's own page"
    dimension: int | None = None
    parameters: int | None = None
    gmac: float | None = None
    """Multiply-accumulates in 10^9."""
    download_bytes: int | None = None

    @property
    def label(self) -> str:
        """Name and weights in one string, which `parse_model` parses."""
        if self.seed is not None:
            return f"{self.name}:random={self.seed}"
        return f"{self.name}:{self.weights}" if self.weights else self.name


@dataclass(frozen=True, slots=True)
class Profile:
    """A named set of models."""

    name: str
    summary: str
    clip: ModelSpec
    text: ModelSpec
    whisper: ModelSpec
    sound: ModelSpec | None = None
    """None: sounds are not embedded."""
    vlm: ModelSpec | None = None
    """Reranks pictures, if reranking is requested."""
    cross_encoder: ModelSpec | None = None
    """Reranks passages and transcripts, if reranking is requested."""
    replaced: tuple[str, ...] = field(default=())
    """Which of clip, text, whisper, sound replace the profile's own."""

    def replace(
        self,
        *,
        clip: str | ModelSpec | None = None,
        text: str | ModelSpec | None = None,
        whisper: str | ModelSpec | None = None,
        sound: str | ModelSpec | None = None,
    ) -> Profile:
        """This profile with other models, each a `ModelSpec` or a name (`parse_model`)."""
        others = {"clip": clip, "text": text, "whisper": whisper, "sound": sound}
        replaced = tuple(part for part, model in others.items() if model is not None)
        if not replaced:
            return self
        return _replace(
            self,
            clip=_spec_of("openclip", clip) or self.clip,
            text=_spec_of("sentence", text) or self.text,
            whisper=_spec_of("whisper", whisper) or self.whisper,
            sound=_spec_of("clap", sound) or self.sound,
            replaced=tuple(dict.fromkeys((*self.replaced, *replaced))),
        )


def _spec_of(kind: Kind, model: str | ModelSpec | None) -> ModelSpec | None:
    return parse_model(kind, model) if isinstance(model, str) else model


def parse_model(kind: Kind, text: str) -> ModelSpec:
    """The model with this name.

    open_clip: "ViT-B-32:laion2b_s34b_b79k", "ViT-B-32:/weights.safetensors",
    "hf-hub:org/model", "local-dir:/folder" or "/folder". Others: a hub id, a folder, a
    Whisper size. For a model of a built-in profile its spec there is returned.
    Raises ProfileError for an empty name.
    """
    text = text.strip()
    if not text:
        raise ProfileError(f"the name of the {kind} model is empty")
    for known in PROFILES.values():
        for spec in (known.clip, known.text, known.whisper, known.sound):
            if spec is not None and spec.kind == kind and text in (spec.label, spec.name):
                return spec
    if kind != "openclip":
        return ModelSpec(kind, text)
    from mmsearch.models.clip.source import parse

    name, weights, seed = parse(text)
    return ModelSpec(kind, name, weights=weights, seed=seed)


def profile(name: str) -> Profile:
    """The built-in profile `name`. Raises ProfileError, which lists the names."""
    try:
        return PROFILES[name]
    except KeyError:
        known = ", ".join(PROFILES)
        raise ProfileError(
            f"unknown profile '{name}'. Profiles: {known}.", param="profile"
        ) from None


_SHIPPED = "ships with mmsearch, made by tools/nano"
_HUB = "https://huggingface.co/"
_CLAP = ModelSpec(
    "clap",
    "laion/clap-htsat-unfused",
    prompts=MappingProxyType({"query": "the sound of ", "document": ""}),
    source=_HUB + "laion/clap-htsat-unfused",
    licence="Apache-2.0",
    dimension=512,
    parameters=153_000_000,
    download_bytes=615_000_000,
)
_LARGE_CLAP = ModelSpec(
    "clap",
    "laion/larger_clap_general",
    prompts=MappingProxyType({"query": "the sound of ", "document": ""}),
    source=_HUB + "laion/larger_clap_general",
    licence="Apache-2.0",
    dimension=512,
    parameters=194_000_000,
    download_bytes=776_000_000,
)

_NANO_VLM = ModelSpec("vlm", "nano-vlm", source=_SHIPPED, licence="Apache-2.0")
_SMOL_VLM = ModelSpec(
    "vlm",
    "HuggingFaceTB/SmolVLM-500M-Instruct",
    source=_HUB + "HuggingFaceTB/SmolVLM-500M-Instruct",
    licence="Apache-2.0",
    parameters=507_000_000,
    download_bytes=1_020_000_000,
)
_QWEN_VLM = ModelSpec(
    "vlm",
    "Qwen/Qwen3-VL-2B-Instruct",
    source=_HUB + "Qwen/Qwen3-VL-2B-Instruct",
    licence="Apache-2.0",
    parameters=2_130_000_000,
    download_bytes=4_260_000_000,
)
_LARGE_QWEN_VLM = ModelSpec(
    "vlm",
    "Qwen/Qwen3-VL-8B-Instruct",
    source=_HUB + "Qwen/Qwen3-VL-8B-Instruct",
    licence="Apache-2.0",
    parameters=8_770_000_000,
    download_bytes=17_500_000_000,
)
_MINI_LM = ModelSpec(
    "cross-encoder",
    "cross-encoder/ms-marco-MiniLM-L6-v2",
    source=_HUB + "cross-encoder/ms-marco-MiniLM-L6-v2",
    licence="Apache-2.0",
    parameters=22_700_000,
    download_bytes=91_000_000,
)
_BGE = ModelSpec(
    "cross-encoder",
    "BAAI/bge-reranker-v2-m3",
    source=_HUB + "BAAI/bge-reranker-v2-m3",
    licence="Apache-2.0",
    parameters=568_000_000,
    download_bytes=2_270_000_000,
)
BLIP2 = ModelSpec(
    "blip2",
    "Salesforce/blip2-itm-vit-g",
    source=_HUB + "Salesforce/blip2-itm-vit-g",
    licence="MIT",
    parameters=1_170_000_000,
    download_bytes=4_690_000_000,
)
"""The model of the reranker "blip2" in every profile; used only if that is named."""

PROFILES: Mapping[str, Profile] = MappingProxyType(
    {
        "nano": Profile(
            name="nano",
            summary="Very small models that ship with mmsearch, for demonstration, tests and "
            "offline trials. English only, and of far lower quality than the others.",
            clip=ModelSpec("openclip", "nano-clip", source=_SHIPPED, licence="Apache-2.0"),
            text=ModelSpec("sentence", "nano-text", source=_SHIPPED, licence="Apache-2.0"),
            whisper=ModelSpec("whisper", "nano-whisper", source=_SHIPPED, licence="Apache-2.0"),
            vlm=_NANO_VLM,
        ),
        "small": Profile(
            name="small",
            summary="English, for machines with little memory.",
            clip=ModelSpec(
                "openclip",
                "ViT-B-32",
                weights="laion2b_s34b_b79k",
                source=_HUB + "laion/CLIP-ViT-B-32-laion2B-s34B-b79K",
                licence="MIT",
                dimension=512,
                parameters=151_000_000,
                gmac=4.4,
                download_bytes=605_000_000,
            ),
            text=ModelSpec(
                "sentence",
                "sentence-transformers/all-MiniLM-L6-v2",
                source=_HUB + "sentence-transformers/all-MiniLM-L6-v2",
                licence="Apache-2.0",
                dimension=384,
                parameters=22_700_000,
                gmac=2.8,
                download_bytes=91_000_000,
            ),
            whisper=ModelSpec(
                "whisper",
                "base",
                source=_HUB + "Systran/faster-whisper-base",
                licence="MIT",
                parameters=74_000_000,
                download_bytes=148_000_000,
            ),
            sound=_CLAP,
            vlm=_SMOL_VLM,
            cross_encoder=_MINI_LM,
        ),
        "base": Profile(
            name="base",
            summary="Many languages, a compromise of quality and cost: the default for real use.",
            clip=ModelSpec(
                "openclip",
                "ViT-B-32-SigLIP2-256",
                weights="webli",
                source=_HUB + "timm/ViT-B-32-SigLIP2-256",
                licence="Apache-2.0",
                dimension=768,
                parameters=377_000_000,
                gmac=5.7,
                download_bytes=1_510_000_000,
            ),
            text=ModelSpec(
                "sentence",
                "intfloat/multilingual-e5-small",
                prompts=MappingProxyType({"query": "query: ", "document": "passage: "}),
                source=_HUB + "intfloat/multilingual-e5-small",
                licence="MIT",
                dimension=384,
                parameters=118_000_000,
                gmac=11.0,
                download_bytes=490_000_000,
            ),
            whisper=ModelSpec(
                "whisper",
                "small",
                source=_HUB + "Systran/faster-whisper-small",
                licence="MIT",
                parameters=244_000_000,
                download_bytes=486_000_000,
            ),
            sound=_CLAP,
            vlm=_QWEN_VLM,
            cross_encoder=_BGE,
        ),
        "best": Profile(
            name="best",
            summary="Highest quality, many languages; needs a GPU.",
            clip=ModelSpec(
                "openclip",
                "ViT-SO400M-16-SigLIP2-384",
                weights="webli",
                source=_HUB + "timm/ViT-SO400M-16-SigLIP2-384",
                licence="Apache-2.0",
                dimension=1152,
                parameters=1_136_000_000,
                gmac=256.0,
                download_bytes=4_540_000_000,
            ),
            text=ModelSpec(
                "sentence",
                "Qwen/Qwen3-Embedding-0.6B",
                source=_HUB + "Qwen/Qwen3-Embedding-0.6B",
                licence="Apache-2.0",
                dimension=1024,
                parameters=596_000_000,
                download_bytes=1_200_000_000,
            ),
            whisper=ModelSpec(
                "whisper",
                "large-v3-turbo",
                source=_HUB + "mobiuslabsgmbh/faster-whisper-large-v3-turbo",
                licence="MIT",
                parameters=809_000_000,
                download_bytes=1_620_000_000,
            ),
            sound=_LARGE_CLAP,
            vlm=_LARGE_QWEN_VLM,
            cross_encoder=_BGE,
        ),
    }
)
