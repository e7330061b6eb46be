"""Rerankers that run here, on small folders at random weights."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoProcessor, Blip2ForImageTextRetrieval

from mmsearch.errors import ConfigurationError, DamagedModelError, SettingsError
from mmsearch.models import profiles
from mmsearch.models.loading import Lazy
from mmsearch.models.rerankers import prompts
from mmsearch.models.rerankers.blip2 import Blip2Reranker
from mmsearch.models.rerankers.choice import rerankers_of
from mmsearch.models.rerankers.cross_encoder import CrossEncoderReranker
from mmsearch.models.rerankers.local_vlm import LocalVlmReranker
from mmsearch.models.runtime import Runtime
from mmsearch.models.vision.in_domain import FEATURES, InDomainDetector
from mmsearch.models.vision.vlm import ShownExample, VisionLanguageScorer
from mmsearch.protocols import Reranker
from mmsearch.settings_loading import load_settings
from mmsearch.types import Modality, RerankCandidate, RerankScores
from tests.models.rerankers.folders import write_blip2, write_cross_encoder, write_vlm


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def vlm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_vlm(tmp_path_factory.mktemp("vlm"))


def pictures(count: int = 4) -> list[Image.Image]:
    random = np.random.default_rng(0)
    return [
        Image.fromarray(random.integers(0, 256, (40, 56, 3), dtype=np.uint8)) for _ in range(count)
    ]


def candidates(images: list[Image.Image | None]) -> list[RerankCandidate]:
    made = []
    for i, image in enumerate(images):
        buffer = io.BytesIO()
        if image is not None:
            image.save(buffer, "JPEG", quality=95)
        load = partial(_content, buffer.getvalue())
        made.append(RerankCandidate(i, Modality.IMAGE, f"c{i}", load_picture=load))
    return made


def _counted(candidate: RerankCandidate, opened: list[int]) -> Callable[[int | None], bytes | None]:
    def load(most: int | None) -> bytes | None:
        opened.append(candidate.segment)
        return candidate.picture(most)

    return load


def _content(content: bytes, _most: int | None) -> bytes | None:
    return content or None


def scores(scored: RerankScores) -> list[float | None]:
    return [None if one is None else one.score for one in scored.each]


def scorer(folder: Path, **options: object) -> VisionLanguageScorer:
    return VisionLanguageScorer(str(folder), runtime=Runtime(device="cpu", threads=1), **options)  # type: ignore[arg-type]


def test_a_vlm_scores_pictures_by_yes_and_no(vlm: Path) -> None:
    reranker: Reranker = LocalVlmReranker(scorer(vlm))
    assert reranker.accepts(Modality.PAGE)
    assert not reranker.accepts(Modality.SPEECH)
    scored = reranker.score("a red boat", candidates([*pictures(2), None]), seconds=5)
    given = scores(scored)
    assert given[2] is None
    assert scored.problems == ("the picture cannot be read",)
    assert given[0] != given[1]
    with_reasons = reranker.score("a red boat", candidates([*pictures(1)]), seconds=5, reasons=True)
    assert with_reasons.each[0] is not None
    assert with_reasons.each[0].score == pytest.approx(given[0], abs=1e-4)
    assert set((with_reasons.each[0].reason or "").split()) <= {"yes", "no"}


def test_pictures_that_a_model_has_not_learnt_from_are_left_to_the_first_stage(vlm: Path) -> None:
    """By the rule in its folder; the answer says why."""
    model = scorer(vlm)
    loaded = model._lazy.get()
    # Told by how much of a picture is bright.
    weights = np.zeros(FEATURES)
    weights[-1] = 1.0
    rule = InDomainDetector(weights, -0.2)
    model._lazy = Lazy(lambda: replace(loaded, detector=rule))
    grey = Image.new("RGB", (40, 56), "grey")
    noisy = pictures(1)[0]
    assert (model.in_domain(noisy), model.in_domain(grey)) == (True, False)
    reranker = LocalVlmReranker(model)
    said = ("the picture cannot be read", f"{vlm} was not trained on pictures like these")
    opened: list[int] = []
    for expected in ([0, 1, 2], [1, 2]):  # what it cannot be asked about is not opened again
        offered = [
            replace(one, load_picture=_counted(one, opened))
            for one in candidates([grey, noisy, None])
        ]
        opened.clear()
        scored = reranker.score("tea", offered, seconds=5)
        assert opened == expected
        assert [score is None for score in scores(scored)] == [True, False, True]
        assert scored.problems == tuple(sorted(said))


def test_a_picture_is_encoded_once(vlm: Path) -> None:
    """For every later question its features are there already, and the scores are the same."""
    model = scorer(vlm)
    images, keys = pictures(), ["a", "b", "c", "d"]
    plain = {text: model.score(text, images) for text in ("a red boat", "tea", "a house")}
    features = model._lazy.get().features
    for text, expected in plain.items():
        np.testing.assert_allclose(model.score(text, images, keys), expected, atol=1e-5)
    assert features.works is True
    assert features.encoded == 8, "once for the comparison, once to be kept"
    again = model.score("tea", [images[3], images[0], images[0]], ["d", "a", "new"])
    np.testing.assert_allclose(again, plain["tea"][[3, 0, 0]], atol=1e-5)
    assert features.encoded == 9


def test_what_is_kept_of_pictures_is_bounded(vlm: Path) -> None:
    model = scorer(vlm)
    features = model._lazy.get().features
    features._max_bytes = 3 * 4 * 32 * 4  # three pictures of four tokens of 32 floats
    for i, image in enumerate(pictures(6)):
        model.score("tea", [image], [str(i)])
    assert list(features._cached) == ["3", "4", "5"]


def test_examples_change_the_prompt_and_the_fingerprint(vlm: Path) -> None:
    shown = [ShownExample("tea", pictures(1)[0], True), ShownExample("tea", pictures(2)[1], False)]
    plain, taught = scorer(vlm), scorer(vlm, examples=shown)
    images = pictures(3)
    assert plain.fingerprint != taught.fingerprint
    expected = taught.score("a boat", images)
    assert np.abs(expected - plain.score("a boat", images)).max() > 1e-4
    for _ in range(2):
        np.testing.assert_allclose(
            taught.score("a boat", images, ["a", "b", "c"]), expected, atol=1e-5
        )


def test_a_cross_encoder_reads_both_texts(tmp_path: Path) -> None:
    reranker: Reranker = CrossEncoderReranker(
        str(write_cross_encoder(tmp_path / "model")), runtime=Runtime(device="cpu", threads=1)
    )
    assert reranker.accepts(Modality.SPEECH)
    assert not reranker.accepts(Modality.IMAGE)
    texts = ["boil water", "a red boat", "http://127.0.0.1:9/cat.png", "/etc/passwd", ""]
    given = [RerankCandidate(i, Modality.TEXT, str(i), text=text) for i, text in enumerate(texts)]
    one = scores(reranker.score("red boat", given, seconds=5))
    assert all(score is not None and 0 < score < 1 for score in one)
    assert one[0] != one[1]
    assert scores(reranker.score("tea", given, seconds=5))[0] != one[0]
    single = [scores(reranker.score("red boat", [each], seconds=5))[0] for each in given]
    assert single == pytest.approx(one, abs=1e-5)


def test_two_threads_share_a_cross_encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only tokenising is exclusive: both are in a forward pass at the same time."""
    reranker = CrossEncoderReranker(
        str(write_cross_encoder(tmp_path / "model")), runtime=Runtime(device="cpu", threads=1)
    )
    model = reranker._lazy.get().model
    forward, both = model.forward, threading.Barrier(2)

    def meeting(*args: Any, **options: Any) -> Any:
        both.wait(10)
        return forward(*args, **options)

    monkeypatch.setattr(model, "forward", meeting)
    candidate = RerankCandidate(0, Modality.TEXT, "0", text="a red boat")
    results: list[float | None] = []

    def work() -> None:
        results.extend(scores(reranker.score("boat", [candidate], seconds=5)))

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 2
    assert results[0] == results[1]


def test_a_classifier_is_no_cross_encoder(tmp_path: Path) -> None:
    folder = write_cross_encoder(tmp_path / "model", labels=3)
    with pytest.raises(ConfigurationError, match="3 outputs"):
        _ = CrossEncoderReranker(str(folder), runtime=Runtime(device="cpu")).fingerprint


def test_blip2_matches_pictures_with_words(tmp_path: Path) -> None:
    """Its scores are those of transformers' own processor and model."""
    folder = write_blip2(tmp_path / "model")
    reranker: Reranker = Blip2Reranker(str(folder), runtime=Runtime(device="cpu", threads=1))
    shown = candidates([*pictures(2), None])
    given = scores(reranker.score("a red boat", shown, seconds=5))
    assert given[2] is None
    processor = AutoProcessor.from_pretrained(folder)
    model = Blip2ForImageTextRetrieval.from_pretrained(folder).eval()
    for candidate, score in zip(shown[:2], given[:2], strict=True):
        with Image.open(io.BytesIO(candidate.picture() or b"")) as image:
            inputs = processor(images=image.convert("RGB"), text="a red boat", return_tensors="pt")
        with torch.no_grad():
            out = model(**inputs, use_image_text_matching_head=True).logits_per_image
        assert score == pytest.approx(out.softmax(dim=1)[0, 1].item(), abs=1e-5)
    assert given[0] != given[1]


def test_damaged_folders_are_told(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text('{"model_type": "blip-2"}')
    with pytest.raises(DamagedModelError):
        _ = Blip2Reranker(str(tmp_path / "a")).fingerprint
    with pytest.raises(DamagedModelError):
        _ = CrossEncoderReranker(str(tmp_path / "b")).fingerprint


def test_every_profile_names_what_it_reranks_with(tmp_path: Path) -> None:
    """Nothing loads until something is scored."""
    rerankers = rerankers_of(load_settings(tmp_path))
    for name, profile in profiles.PROFILES.items():
        assert profile.vlm is not None
        assert profile.vlm.licence == "Apache-2.0"
        names = [reranker.name for reranker in rerankers(name, "auto")]
        expected = [profile.vlm.name]
        if profile.cross_encoder is not None:
            expected.append(profile.cross_encoder.name)
        assert names == expected
        assert rerankers(name, "vlm")[0] is rerankers(name, "auto")[0]
    assert rerankers("nano", "none") == ()
    assert [r.name for r in rerankers("base", "blip2")] == ["Salesforce/blip2-itm-vit-g"]
    with pytest.raises(SettingsError, match="rerank_text_model"):
        rerankers("nano", "cross-encoder")
    with pytest.raises(SettingsError, match="rerank_url"):
        rerankers("nano", "server")


def test_settings_choose(tmp_path: Path) -> None:
    picture = tmp_path / "boat.jpg"
    Image.new("RGB", (8, 8), "red").save(picture)
    examples = tmp_path / "examples.json"
    examples.write_text(json.dumps([{"query": "a boat", "image": "boat.jpg", "answer": True}]))
    settings = load_settings(
        tmp_path,
        rerank_url="http://127.0.0.1:1/v1",
        rerank_model="llava",
        rerank_text_model="somebody/cross",
        rerank_examples=examples,
    )
    rerankers = rerankers_of(settings)
    assert [r.name for r in rerankers("nano", "auto")] == ["llava at 127.0.0.1:1"]
    both = rerankers("nano", "server+cross-encoder")
    assert [r.name for r in both] == ["llava at 127.0.0.1:1", "somebody/cross"]
    assert rerankers("nano", "vlm")[0].name == "llava"


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "{}",
        '[{"query": "a"}]',
        '[{"query": "a", "answer": 1, "text": "b"}]',
        '[{"query": "a", "answer": true, "text": "b", "image": "c.jpg"}]',
        '[{"query": "a", "answer": true, "image": "missing.jpg"}]',
        '[{"query": "a", "answer": true, "image": "../../etc/passwd"}]',
    ],
)
def test_wrong_examples_are_told(content: str, tmp_path: Path) -> None:
    path = tmp_path / "examples.json"
    path.write_text(content)
    with pytest.raises(SettingsError, match=r"examples\.json"):
        prompts.read_examples(path)
