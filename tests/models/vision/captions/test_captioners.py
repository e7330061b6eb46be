"""Captions: what of an answer is kept, whatever a server sends."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mmsearch.errors import CaptionError, ConfigurationError, SettingsError
from mmsearch.models.runtime import Runtime
from mmsearch.models.vision.captions.answers import MAX_CHARACTERS, caption_of
from mmsearch.models.vision.captions.local import LocalCaptioner
from mmsearch.models.vision.captions.openai import OpenAICaptioner
from mmsearch.protocols import Captioner
from tests.models.rerankers.stub import serving


def jpeg(colour: str = "red") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (32, 24), colour).save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("answer", "caption"),
    [
        ("A dog runs on the beach.", "A dog runs on the beach."),
        ('  "A dog runs\n\n on the beach."  ', "A dog runs on the beach."),
        ("Sure! Here is a description of the picture: A dog runs.", "A dog runs."),
        ("**Caption:** A _dog_ runs.", "A dog runs."),
        ("<think>It might be a cat.</think>A dog runs.", "A dog runs."),
        ("<think>It goes on and on", None),
        ("```\nA dog runs.\n```", "A dog runs."),
        ("<b>A dog</b> runs <script>alert(1)</script>", "A dog runs alert(1)"),
        ("A dog\x00\x1b[31m runs\u202e.", "A dog [31m runs ."),
        ("Ein Hund läuft am Strand.", "Ein Hund läuft am Strand."),
        ("一只狗在海滩上奔跑。", "一只狗在海滩上奔跑。"),
        ("", None),
        ("   \n ", None),
        ("...", None),
        ("I'm sorry, but I can't assist with that.", None),
        ("As an AI, I do not describe people.", None),
        ("No image was provided. Please upload the picture.", None),
        ("dog dog dog dog dog dog dog dog dog dog", None),
        ("yes no no yes no yes yes no no yes yes yes no no no yes no", None),
        ("A sign says that you cannot park here.", "A sign says that you cannot park here."),
    ],
)
def test_what_of_an_answer_is_a_caption(answer: str, caption: str | None) -> None:
    assert caption_of(answer) == caption


def test_a_novel_is_cut_at_a_sentence() -> None:
    told = " ".join(f"Sentence number {i} tells of dog{i * i} and dog." for i in range(200))
    caption = caption_of(told)
    assert caption is not None
    assert len(caption) <= MAX_CHARACTERS
    assert caption.endswith("dog.")
    letters = np.random.default_rng(1).integers(97, 123, 3000)
    endless = caption_of("".join(map(chr, letters.tolist())))
    assert endless is not None
    assert len(endless) <= MAX_CHARACTERS
    assert caption_of("a " + "b" * 10_000_000) is not None


# ------------------------------------------------------------------ on this machine


def test_a_local_model_is_asked_for_a_description(tmp_path: Path) -> None:
    """The model of this test can say yes and no: that is an answer, and no caption."""
    from mmsearch.models.vision.vlm import VisionLanguageScorer
    from tests.models.rerankers.folders import write_vlm

    model = VisionLanguageScorer(str(write_vlm(tmp_path / "vlm")), runtime=Runtime(threads=1))
    with Image.open(io.BytesIO(jpeg())) as image:
        said = model.answer("Describe {} this.", image, 6)
    assert set(said.split()) <= {"yes", "no"}
    assert len(said.split()) >= 1
    captioner = LocalCaptioner(model)
    assert isinstance(captioner, Captioner)
    assert captioner.caption([jpeg()]) == [None]
    other = LocalCaptioner(model, instruction="What is it?")
    assert captioner.fingerprint != other.fingerprint
    captioner.release()


def test_a_local_models_words_become_a_caption() -> None:
    class Model:
        name = "vlm"

        def answer(self, instruction: str, image: Image.Image, tokens: int) -> str:
            assert "cannot see it" in instruction
            assert image.mode == "RGB"
            return f"Caption: a picture of {image.width} pixels."

    captioner = LocalCaptioner(Model())  # type: ignore[arg-type]
    assert captioner.caption([jpeg(), jpeg()]) == ["a picture of 32 pixels."] * 2


# ------------------------------------------------------------------ a server


@contextmanager
def asking(url: str, **options: Any) -> Iterator[OpenAICaptioner]:
    """A captioner whose connections are closed at the end."""
    captioner = OpenAICaptioner(url, "vlm-7b", **options)
    try:
        yield captioner
    finally:
        captioner.release()


def saying(text: Any) -> Callable[[dict[str, Any], str], tuple[int, Any]]:
    return lambda body, path: (200, {"choices": [{"message": {"content": text}}]})


def test_a_picture_is_sent_and_described() -> None:
    with serving(saying("A red field.")) as stub, asking(stub.url, key="secret") as captioner:
        assert isinstance(captioner, Captioner)
        assert captioner.caption([jpeg(), jpeg("blue")]) == ["A red field.", "A red field."]
        assert captioner.name.startswith("vlm-7b at 127.0.0.1")
    assert stub.paths[0] == "/v1/chat/completions"
    assert stub.headers[0]["authorization"] == "Bearer secret"
    picture, asked = stub.requests[0]["messages"][0]["content"]
    assert picture["image_url"]["url"].startswith("data:image/jpeg;base64,")
    assert "cannot see it" in asked["text"]
    assert stub.requests[0]["max_tokens"] > 0


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        b"no json",
        {"choices": []},
        {"choices": [{"message": {"content": None}}]},
        {"choices": [{"message": None}]},
        {"choices": "A dog."},
        {"choices": [{"message": {"content": {"text": "A dog."}}}]},
        {"choices": [{"message": {"content": "I'm unable to view pictures."}}]},
    ],
)
def test_an_odd_answer_is_no_caption(body: Any) -> None:
    with serving(lambda asked, path: (200, body)) as stub, asking(stub.url) as captioner:
        assert captioner.caption([jpeg()]) == [None]


def test_an_answer_in_parts_is_read() -> None:
    parts = [{"type": "text", "text": "A dog"}, {"type": "text", "text": "runs."}]
    with serving(saying(parts)) as stub, asking(stub.url) as captioner:
        assert captioner.caption([jpeg()]) == ["A dog runs."]


def test_parameters_are_changed_until_the_server_takes_them() -> None:
    def reply(body: dict[str, Any], path: str) -> tuple[int, Any]:
        if "max_tokens" in body:
            return 400, {"error": {"message": "Use max_completion_tokens, not max_tokens."}}
        if "temperature" in body:
            return 400, {"error": {"message": "temperature is not supported"}}
        return 200, {"choices": [{"message": {"content": "A dog."}}]}

    with serving(reply) as stub, asking(stub.url) as captioner:
        assert captioner.caption([jpeg()]) == ["A dog."]
        assert captioner.caption([jpeg()]) == ["A dog."]
        assert len(stub.requests) == 4


def test_a_picture_that_a_server_refuses_has_no_caption() -> None:
    refusing = serving(lambda body, path: (400, {"error": "too small"}))
    with refusing as stub, asking(stub.url) as captioner:
        assert captioner.caption([jpeg()]) == [None]


@pytest.mark.parametrize(("status", "told"), [(401, "HTTP 401"), (404, "HTTP 404: no such model")])
def test_a_server_that_will_never_answer_ends_it(status: int, told: str) -> None:
    """Not every single picture without a word: whoever asked for captions is told."""
    message = {"error": {"message": "no such model" if status == 404 else ""}}
    with serving(lambda body, path: (status, message)) as stub, asking(stub.url) as captioner:
        with pytest.raises(CaptionError, match=told):
            captioner.caption([jpeg()])
        assert len(stub.requests) == 1


def test_a_server_that_is_away_ends_it() -> None:
    with serving(saying("x")) as stub:
        url = stub.url
    with asking(url) as captioner, pytest.raises(CaptionError, match="cannot be reached"):
        captioner.caption([jpeg()])


def test_a_busy_server_is_asked_again() -> None:
    answers = [(503, {}), (200, {"choices": [{"message": {"content": "A dog."}}]})]
    with serving(lambda body, path: answers.pop(0)) as stub, asking(stub.url) as captioner:
        assert captioner.caption([jpeg()]) == ["A dog."]


def test_wrong_settings_are_named() -> None:
    with pytest.raises(SettingsError, match="caption_url"):
        OpenAICaptioner("ftp://host", "vlm")
    with pytest.raises(ConfigurationError, match="caption_model"):
        OpenAICaptioner("http://host", "")
