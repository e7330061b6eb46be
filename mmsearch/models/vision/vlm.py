"""Scores pictures against a description with a vision-language model (transformers).

The prompt is one question per picture, "Does this picture show ...? Answer yes or no.", and the
score is sigmoid(logit(yes) - logit(no)) at the last position: the pointwise reranking of
Qwen3-VL-Reranker. Any model works that `AutoModelForImageTextToText` loads and that has a chat
template; the quality of its scores has to be measured.
"""

from __future__ import annotations

import hashlib
import inspect
import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from mmsearch.errors import ConfigurationError, ModelError
from mmsearch.models import loading
from mmsearch.models.runtime import Runtime
from mmsearch.models.vision.in_domain import InDomainDetector
from mmsearch.models.vision.picture_features import PictureFeatures

_NEEDS = ("config.json",)
_PATTERNS = ("*.json", "*.txt", "*.model", "*.jinja", "*.safetensors")
_SKIPPED = ("onnx/*", "openvino/*")
_SUFFIXES = (".safetensors", ".json", ".jinja", ".model", ".txt")
_YES = ("yes", "Yes", " yes", " Yes", "YES")
_NO = ("no", "No", " no", " No", "NO")
_MAX_QUERY = 400
"""Longer queries are truncated to this many characters."""
_MIN_SIDE = 32
"""Smaller sides are enlarged: several image processors refuse pictures below one patch."""
_NANO_PIXELS = 256 * 256
"""nano-vlm's input is 112 x 112."""

QUESTION = "Does this picture show {}? Answer yes or no."
REASON = "Does this picture show {}? Say yes or no and why, in one short sentence."
_REASON_TOKENS = 48


@dataclass(frozen=True, slots=True)
class _Loaded:
    model: Any
    processor: Any
    yes: list[int]
    no: list[int]
    special_tokens: tuple[str, ...]
    """They are removed from queries."""
    last_logits_only: bool
    """Whether the model can compute the logits of the last position only."""
    weights: str
    """Digest of the model's files."""
    fingerprint: str
    features: PictureFeatures
    detector: InDomainDetector | None = None
    """None: the model was trained on pictures of every kind."""


@dataclass(frozen=True, slots=True)
class ShownExample:
    """A few-shot example, part of every prompt."""

    query: str
    image: Image.Image
    answer: bool


class VisionLanguageScorer:
    """Scores pictures against a description: a hub id, a folder, or "nano-vlm", which ships
    with mmsearch.

    Loads on first use. Thread-safe. `max_pixels` bounds the cost of a picture (512 x 512 is 256
    tokens in a Qwen-VL). `question` has one `{}` for the description. `examples` are part of
    every prompt.
    """

    def __init__(
        self,
        model: str = "nano-vlm",
        *,
        runtime: Runtime = Runtime(),  # noqa: B008  # frozen
        batch_size: int = 8,
        max_pixels: int = 512 * 512,
        question: str = QUESTION,
        examples: Sequence[ShownExample] = (),
    ) -> None:
        if question.count("{}") != 1:
            raise ConfigurationError("the question needs exactly one {}", param="question")
        self._name = model
        self._runtime = runtime
        self._batch_size = max(1, batch_size)
        if model == "nano-vlm":
            max_pixels = min(max_pixels, _NANO_PIXELS)
        self._max_pixels = max(_MIN_SIDE * _MIN_SIDE, max_pixels)
        self._question = question
        self._examples = tuple(examples)
        self._example_images = [self._fit(example.image) for example in self._examples]
        self._lazy = loading.Lazy(self._load)
        # Tokenizers with padding change their own state in each call.
        self._preparing = threading.Lock()

    @property
    def name(self) -> str:
        """The model's name; loads nothing."""
        return self._name

    @property
    def fingerprint(self) -> str:
        """Identifies everything that changes a score: weights, question and picture size."""
        return self._lazy.get().fingerprint

    @property
    def weights(self) -> str | None:
        """A digest of the model's files; None if they are not on this machine. Loads nothing."""
        if self._lazy.loaded:
            return self._lazy.get().weights
        try:
            return loading.folder_digest(self._folder(self._runtime.offline()), _SUFFIXES)
        except (ModelError, OSError):
            return None

    @property
    def batch_size(self) -> int:
        """Pictures of one forward pass."""
        return self._batch_size

    @property
    def max_pixels(self) -> int:
        """Larger pictures are reduced to this."""
        return self._max_pixels

    @property
    def can_explain(self) -> bool:
        """False for nano-vlm, which was trained to answer yes or no only."""
        return self._name != "nano-vlm"

    def score(
        self, query: str, images: Sequence[Image.Image], keys: Sequence[str] | None = None
    ) -> npt.NDArray[np.float32]:
        """How well each picture matches the query: float32 (len(images),) in 0..1.

        Pictures may have any size and mode. With `keys`, which identify their content, the
        features of recent pictures are reused. The query is plain text: paths, addresses and the
        model's special tokens in it have no effect. Raises ModelError.
        """
        if not images:
            return np.zeros(0, np.float32)
        loaded = self._lazy.get()
        prompt = self._prompt(loaded, query, self._question)
        parts = [
            self._score(
                loaded,
                prompt,
                [self._fit(image) for image in images[i:stop]],
                None if keys is None else keys[i:stop],
            )
            for i in range(0, len(images), self._batch_size)
            for stop in [i + self._batch_size]
        ]
        return np.concatenate(parts)

    def in_domain(self, image: Image.Image) -> bool:
        """Whether the picture resembles the model's training data; its scores of other pictures
        are meaningless. True for models without a detector in their folder."""
        detector = self._lazy.get().detector
        return detector is None or detector.score(self._fit(image)) > 0

    def explain(self, query: str, image: Image.Image) -> str:
        """The model's reason for its answer, decoded greedily."""
        return self._generate(query, REASON, image, _REASON_TOKENS)

    def answer(self, instruction: str, image: Image.Image, tokens: int) -> str:
        """The model's answer to an instruction about a picture, decoded greedily."""
        return self._generate("", instruction.replace("{}", ""), image, tokens)

    def _generate(self, query: str, question: str, image: Image.Image, tokens: int) -> str:
        import torch

        loaded = self._lazy.get()
        inputs = self._inputs(loaded, self._prompt(loaded, query, question), [self._fit(image)])
        with torch.inference_mode():
            output = loaded.model.generate(
                **inputs, max_new_tokens=tokens, do_sample=False, num_beams=1
            )
        new = output[0, inputs["input_ids"].shape[1] :]
        return str(loaded.processor.tokenizer.decode(new, skip_special_tokens=True)).strip()

    def release(self) -> None:
        """Free the weights; the next call loads them again."""
        self._lazy.release()

    # -------------------------------------------------------------- one batch

    def _prompt(self, loaded: _Loaded, query: str, question: str) -> str:
        def user_turn(about: str) -> dict[str, Any]:
            text = question.replace("{}", plain(about, loaded.special_tokens))
            return {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": text}]}

        turns: list[dict[str, Any]] = []
        for example in self._examples:
            answer = [{"type": "text", "text": "Yes" if example.answer else "No"}]
            turns += [user_turn(example.query), {"role": "assistant", "content": answer}]
        prompt: str = loaded.processor.apply_chat_template(
            [*turns, user_turn(query)], add_generation_prompt=True, tokenize=False
        )
        return prompt

    def _fit(self, image: Image.Image) -> Image.Image:
        """RGB, at most about `max_pixels`, no side shorter than a patch."""
        if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
            transparent = image.convert("RGBA")
            white = Image.new("RGBA", transparent.size, (255, 255, 255, 255))
            image = Image.alpha_composite(white, transparent)
        rgb = image.convert("RGB")
        shrink = min(1.0, math.sqrt(self._max_pixels / (rgb.width * rgb.height)))
        size = (
            max(_MIN_SIDE, round(rgb.width * shrink)),
            max(_MIN_SIDE, round(rgb.height * shrink)),
        )
        # A very narrow picture would exceed the cap with its short side enlarged: squash it.
        if size[0] * size[1] > 2 * self._max_pixels:
            side = math.isqrt(self._max_pixels)
            size = (min(size[0], side), min(size[1], side))
        return rgb if size == rgb.size else rgb.resize(size, Image.Resampling.BICUBIC)

    def _inputs(self, loaded: _Loaded, prompt: str, images: list[Image.Image]) -> Any:
        with self._preparing:
            inputs = loaded.processor(
                text=[prompt] * len(images),
                images=[[*self._example_images, image] for image in images],
                return_tensors="pt",
                padding=True,
            )
        return inputs.to(loaded.model.device)

    def _score(
        self,
        loaded: _Loaded,
        prompt: str,
        images: list[Image.Image],
        keys: Sequence[str] | None,
    ) -> npt.NDArray[np.float32]:
        import torch

        self._runtime.limit_torch_threads()
        inputs = self._inputs(loaded, prompt, images)
        extra = {"logits_to_keep": 1} if loaded.last_logits_only else {}
        with torch.inference_mode():
            if keys is None:
                logits = loaded.model(**inputs, **extra).logits
            else:
                examples = [f"example {i}" for i in range(len(self._example_images))]
                image_keys = [name for key in keys for name in (*examples, key)]
                logits = loaded.features.logits(inputs, image_keys, **extra)
            logits = logits[:, -1].float()
        margin = logits[:, loaded.yes].logsumexp(-1) - logits[:, loaded.no].logsumexp(-1)
        scores: npt.NDArray[np.float32] = torch.sigmoid(margin).cpu().numpy()
        return scores

    # -------------------------------------------------------------- loading

    def _load(self) -> _Loaded:
        import torch
        from transformers import AutoModelForImageTextToText, AutoProcessor
        from transformers.utils.logging import disable_progress_bar

        folder = self._folder(self._runtime)
        weights = loading.folder_digest(folder, _SUFFIXES)
        device = self._runtime.torch_device()
        disable_progress_bar()
        try:
            processor = AutoProcessor.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False
            )
            model = AutoModelForImageTextToText.from_pretrained(
                folder,
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
                dtype=torch.bfloat16 if self._runtime.use_bf16(device) else torch.float32,
            )
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, AttributeError) as error:
            raise loading.unreadable(self._name, folder, error) from error
        tokenizer = processor.tokenizer
        if not (getattr(processor, "chat_template", None) or tokenizer.chat_template):
            raise ConfigurationError(
                f"'{self._name}' has no chat template, so it takes no questions. "
                "Use an instruction-tuned model."
            )
        # The answer is read at the last position, so short prompts are padded on the left.
        tokenizer.padding_side = "left"
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token
        model = model.eval().to(device)
        return _Loaded(
            model=model,
            processor=processor,
            yes=_single_tokens(tokenizer, _YES, self._name),
            no=_single_tokens(tokenizer, _NO, self._name),
            special_tokens=_special_tokens(processor),
            last_logits_only="logits_to_keep" in inspect.signature(model.forward).parameters,
            weights=weights,
            fingerprint=loading.fingerprint(
                model=self._name,
                weights=weights,
                question=self._question,
                max_pixels=self._max_pixels,
                examples=[
                    [example.query, example.answer, hashlib.sha256(image.tobytes()).hexdigest()]
                    for example, image in zip(self._examples, self._example_images, strict=True)
                ],
            ),
            features=PictureFeatures(model),
            detector=loading.described(self._name, folder, _detector),
        )

    def _folder(self, runtime: Runtime) -> Path:
        if self._name == "nano-vlm":
            return loading.nano_folder("vlm")
        return runtime.find_model(
            self._name,
            repo=self._name if "/" in self._name else None,
            patterns=_PATTERNS,
            needs=_NEEDS,
            ignored=_SKIPPED,
        )


def plain(query: str, special_tokens: Sequence[str]) -> str:
    """The query on one line, without a final stop and without the model's special tokens."""
    text = " ".join(query.split())[:_MAX_QUERY]
    # Removing a token may create another one, so this is repeated until nothing changes.
    before = None
    while before != text:
        before = text
        for token in special_tokens:
            text = text.replace(token, " ")
    return " ".join(text.split()).rstrip("?!. ") or "anything"


def _detector(description: dict[str, Any]) -> InDomainDetector | None:
    """The detector in {"familiar": {...}}, which is optional."""
    rule = description.get("familiar")
    return InDomainDetector.from_json(rule) if rule else None


def _single_tokens(tokenizer: Any, words: Sequence[str], model: str) -> list[int]:
    """The ids of the spellings of a word that are a single token."""
    single = set()
    for word in words:
        ids = tokenizer(word, add_special_tokens=False)["input_ids"]
        if len(ids) == 1 and ids[0] != tokenizer.unk_token_id:
            single.add(int(ids[0]))
    if not single:
        raise ConfigurationError(
            f"'{model}' has no single token for '{words[0]}', so its answer cannot be read."
        )
    return sorted(single)


def _special_tokens(processor: Any) -> tuple[str, ...]:
    tokenizer = processor.tokenizer
    special = {str(token) for token in tokenizer.all_special_tokens}
    special |= {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
    for name in ("image_token", "video_token", "audio_token"):
        token = getattr(processor, name, None)
        if isinstance(token, str):
            special.add(token)
    return tuple(sorted((token for token in special if token.strip()), key=len, reverse=True))
