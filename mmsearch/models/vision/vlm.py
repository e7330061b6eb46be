"""How well a picture fits a description, scored by a vision-language model (transformers).

The model is asked one question per picture, "Does this picture show ...? Answer yes or no.",
and its score is sigmoid(logit(yes) - logit(no)) at the last position, the pointwise reranking
of Qwen3-VL-Reranker. Any model that `AutoModelForImageTextToText` loads and that has a chat
template will do; how much its scores are worth is a matter of measuring.
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

from mmsearch.errors import ConfigurationError
from mmsearch.models import loading
from mmsearch.models.vision.in_domain import PictureFamiliarity
from mmsearch.models.vision.picture_features import PictureFeatures

_NEEDS = ("config.json",)
_PATTERNS = ("*.json", "*.txt", "*.model", "*.jinja", "*.safetensors")
_SKIPPED = ("onnx/*", "openvino/*")
_YES = ("yes", "Yes", " yes", " Yes", "YES")
_NO = ("no", "No", " no", " No", "NO")
_MAX_QUERY = 400
"""Characters of a query that are read; a description is a sentence, not a page."""
_MIN_SIDE = 32
"""Smaller sides are stretched: several image processors refuse pictures below one patch."""
_NANO_PIXELS = 256 * 256
"""nano-vlm looks at 112 x 112."""

QUESTION = "Does this picture show {}? Answer yes or no."
REASON = "Does this picture show {}? Say yes or no and why, in one short sentence."
_REASON_TOKENS = 48


@dataclass(frozen=True, slots=True)
class _Loaded:
    model: Any
    processor: Any
    yes: list[int]
    no: list[int]
    marks: tuple[str, ...]
    """Tokens with a meaning of their own, which a query must not contain."""
    keeps_last: bool
    """Whether the model can be told to compute the last position's logits only."""
    fingerprint: str
    features: PictureFeatures
    familiarity: PictureFamiliarity | None = None
    """None: the model may be shown anything."""


@dataclass(frozen=True, slots=True)
class ShownExample:
    """A worked example, shown to the model before each question."""

    query: str
    image: Image.Image
    answer: bool


class VisionLanguageScorer:
    """Scores pictures against a description: a hub id, a folder, or "nano-vlm", which ships
    with mmsearch.

    Loads on first use and may be called from several threads. `max_pixels` bounds what a picture
    costs (512 x 512 is 256 tokens in a Qwen-VL). `question` holds one `{}` for the description.
    `examples` ride in every prompt.
    """

    def __init__(
        self,
        model: str = "nano-vlm",
        *,
        model_folder: Path = Path("~/.cache/mmsearch/models"),
        allow_download: bool = False,
        device: str = "auto",
        precision: str = "auto",
        threads: int = 0,
        batch_size: int = 8,
        max_pixels: int = 512 * 512,
        question: str = QUESTION,
        examples: Sequence[ShownExample] = (),
    ) -> None:
        if question.count("{}") != 1:
            raise ConfigurationError("the question needs exactly one {}", param="question")
        self._name = model
        self._model_folder = model_folder
        self._allow_download = allow_download
        self._device = device
        self._precision = precision
        self._threads = loading.arithmetic_threads(threads)
        self._batch_size = max(1, batch_size)
        if model == "nano-vlm":
            max_pixels = min(max_pixels, _NANO_PIXELS)
        self._max_pixels = max(_MIN_SIDE * _MIN_SIDE, max_pixels)
        self._question = question
        self._examples = tuple(examples)
        self._shown = [self._fit(example.image) for example in self._examples]
        self._lazy = loading.Lazy(self._load)
        # Tokenizers with padding change their state with each call.
        self._preparing = threading.Lock()

    @property
    def name(self) -> str:
        """What the model is called."""
        return self._name

    @property
    def fingerprint(self) -> str:
        """Names everything that changes a score: weights, question and picture size."""
        return self._lazy.get().fingerprint

    @property
    def batch_size(self) -> int:
        """Pictures of one forward pass."""
        return self._batch_size

    @property
    def max_pixels(self) -> int:
        """More of a picture than this would be thrown away."""
        return self._max_pixels

    @property
    def can_explain(self) -> bool:
        """nano-vlm was never taught to say more than yes or no."""
        return self._name != "nano-vlm"

    def score(
        self, query: str, images: Sequence[Image.Image], keys: Sequence[str] | None = None
    ) -> npt.NDArray[np.float32]:
        """How well each picture shows what the query says: float32 (len(images),) in 0..1.

        Pictures may have any size and mode. With `keys`, which name their content, pictures that
        were seen lately are not encoded again. The query is only ever text: what looks like a
        path, an address or one of the model's own marks is not taken for one. Raises ModelError.
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

    def familiar(self, image: Image.Image) -> bool:
        """Whether the model has learnt from pictures like this one; its answers about others
        would mean nothing. Models say so in their folder; most may be shown anything."""
        rule = self._lazy.get().familiarity
        return rule is None or rule.score(self._fit(image)) > 0

    def explain(self, query: str, image: Image.Image) -> str:
        """What the model says when it is asked why, decoded greedily."""
        return self._generate(query, REASON, image, _REASON_TOKENS)

    def say(self, instruction: str, image: Image.Image, tokens: int) -> str:
        """What the model answers to an instruction about a picture, decoded greedily."""
        return self._generate("", instruction.replace("{}", ""), image, tokens)

    def _generate(self, query: str, question: str, image: Image.Image, tokens: int) -> str:
        import torch

        loaded = self._lazy.get()
        inputs = self._inputs(loaded, self._prompt(loaded, query, question), [self._fit(image)])
        with torch.inference_mode():
            said = loaded.model.generate(
                **inputs, max_new_tokens=tokens, do_sample=False, num_beams=1
            )
        new = said[0, inputs["input_ids"].shape[1] :]
        return str(loaded.processor.tokenizer.decode(new, skip_special_tokens=True)).strip()

    def release(self) -> None:
        """Free the weights; the next call loads them again."""
        self._lazy.release()

    # -------------------------------------------------------------- one batch

    def _prompt(self, loaded: _Loaded, query: str, question: str) -> str:
        def asked(about: str) -> dict[str, Any]:
            text = question.replace("{}", plain(about, loaded.marks))
            return {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": text}]}

        turns: list[dict[str, Any]] = []
        for example in self._examples:
            said = [{"type": "text", "text": "Yes" if example.answer else "No"}]
            turns += [asked(example.query), {"role": "assistant", "content": said}]
        prompt: str = loaded.processor.apply_chat_template(
            [*turns, asked(query)], add_generation_prompt=True, tokenize=False
        )
        return prompt

    def _fit(self, image: Image.Image) -> Image.Image:
        """RGB, within the pixel cap, no side too short for a patch."""
        if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
            shown = image.convert("RGBA")
            white = Image.new("RGBA", shown.size, (255, 255, 255, 255))
            image = Image.alpha_composite(white, shown)
        rgb = image.convert("RGB")
        shrink = min(1.0, math.sqrt(self._max_pixels / (rgb.width * rgb.height)))
        size = (
            max(_MIN_SIDE, round(rgb.width * shrink)),
            max(_MIN_SIDE, round(rgb.height * shrink)),
        )
        # A thread of a picture would be stretched beyond the cap: it is squeezed instead.
        if size[0] * size[1] > 2 * self._max_pixels:
            side = math.isqrt(self._max_pixels)
            size = (min(size[0], side), min(size[1], side))
        return rgb if size == rgb.size else rgb.resize(size, Image.Resampling.BICUBIC)

    def _inputs(self, loaded: _Loaded, prompt: str, images: list[Image.Image]) -> Any:
        with self._preparing:
            inputs = loaded.processor(
                text=[prompt] * len(images),
                images=[[*self._shown, image] for image in images],
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

        if torch.get_num_threads() != self._threads:
            torch.set_num_threads(self._threads)
        inputs = self._inputs(loaded, prompt, images)
        extra = {"logits_to_keep": 1} if loaded.keeps_last else {}
        with torch.inference_mode():
            if keys is None:
                every = loaded.model(**inputs, **extra).logits
            else:
                shown = [f"example {i}" for i in range(len(self._shown))]
                called = [name for key in keys for name in (*shown, key)]
                every = loaded.features.logits(inputs, called, **extra)
            logits = every[:, -1].float()
        margin = logits[:, loaded.yes].logsumexp(-1) - logits[:, loaded.no].logsumexp(-1)
        scores: npt.NDArray[np.float32] = torch.sigmoid(margin).cpu().numpy()
        return scores

    # -------------------------------------------------------------- loading

    def _load(self) -> _Loaded:
        import torch
        from transformers import AutoModelForImageTextToText, AutoProcessor
        from transformers.utils.logging import disable_progress_bar

        from mmsearch.models.devices import native_bf16, resolve_device

        folder = self._folder()
        device = resolve_device(self._device)
        half = self._precision == "bf16" or (
            self._precision == "auto" and device.type == "cuda" and native_bf16(device)
        )
        # Its bar for reading a file from the disk tells nobody anything.
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
                dtype=torch.bfloat16 if half else torch.float32,
            )
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, AttributeError) as error:
            raise loading.unreadable(self._name, folder, error) from error
        tokenizer = processor.tokenizer
        if not (getattr(processor, "chat_template", None) or tokenizer.chat_template):
            raise ConfigurationError(
                f"'{self._name}' has no chat template, so it cannot be asked a question. "
                "Use an instruction-tuned model."
            )
        # The answer is read at the last position, so short prompts are filled up at the front.
        tokenizer.padding_side = "left"
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token
        model = model.eval().to(device)
        return _Loaded(
            model=model,
            processor=processor,
            yes=_single_tokens(tokenizer, _YES, self._name),
            no=_single_tokens(tokenizer, _NO, self._name),
            marks=_marks(processor),
            keeps_last="logits_to_keep" in inspect.signature(model.forward).parameters,
            fingerprint=loading.fingerprint(
                model=self._name,
                weights=loading.weights_digest(
                    path for path in folder.iterdir() if path.suffix in (".safetensors", ".json")
                ),
                question=self._question,
                max_pixels=self._max_pixels,
                examples=[
                    [example.query, example.answer, hashlib.sha256(shown.tobytes()).hexdigest()]
                    for example, shown in zip(self._examples, self._shown, strict=True)
                ],
            ),
            features=PictureFeatures(model),
            familiarity=loading.described(self._name, folder, _familiarity),
        )

    def _folder(self) -> Path:
        if self._name == "nano-vlm":
            return loading.nano_folder("vlm")
        folder = loading.find_model(
            self._name,
            model_folder=self._model_folder,
            repo=self._name if "/" in self._name else None,
            patterns=_PATTERNS,
            needs=_NEEDS,
            allow_download=self._allow_download,
            ignored=_SKIPPED,
        )
        loading.verify_manifest(folder)
        return folder


def plain(query: str, marks: Sequence[str]) -> str:
    """The query as one plain phrase: no line breaks, no final stop, none of the model's marks."""
    text = " ".join(query.split())[:_MAX_QUERY]
    # Taking a mark out may put another one together, so it is repeated until nothing changes.
    before = None
    while before != text:
        before = text
        for mark in marks:
            text = text.replace(mark, " ")
    return " ".join(text.split()).rstrip("?!. ") or "anything"


def _familiarity(told: dict[str, Any]) -> PictureFamiliarity | None:
    """{"familiar": {...}}, optional: the pictures that the model can be asked about."""
    familiar = told.get("familiar")
    return PictureFamiliarity.from_json(familiar) if familiar else None


def _single_tokens(tokenizer: Any, words: Sequence[str], model: str) -> list[int]:
    """The ids of those spellings of a word that are one token."""
    found = set()
    for word in words:
        ids = tokenizer(word, add_special_tokens=False)["input_ids"]
        if len(ids) == 1 and ids[0] != tokenizer.unk_token_id:
            found.add(int(ids[0]))
    if not found:
        raise ConfigurationError(
            f"'{model}' has no single token for '{words[0]}', so its answer cannot be read."
        )
    return sorted(found)


def _marks(processor: Any) -> tuple[str, ...]:
    tokenizer = processor.tokenizer
    special = {str(token) for token in tokenizer.all_special_tokens}
    special |= {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
    for name in ("image_token", "video_token", "audio_token"):
        token = getattr(processor, name, None)
        if isinstance(token, str):
            special.add(token)
    return tuple(sorted((token for token in special if token.strip()), key=len, reverse=True))
