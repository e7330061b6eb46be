"""The open_clip adapter gives open_clip's own vectors, whatever the architecture."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image, ImageOps
from safetensors.torch import load_file, save_file

from mmsearch.errors import ConfigurationError, DamagedModelError, WeightsNotFoundError
from mmsearch.media.formats.image import to_rgb
from mmsearch.models.clip import source as openclip_source
from mmsearch.models.clip.openclip import OpenClipEmbedder
from mmsearch.models.runtime import Runtime
from mmsearch.protocols import ImageTextEmbedder
from mmsearch.types import Vectors
from tests.support.model_folders import ARCHITECTURES, write_open_clip

TEXTS = [
    "a dog",
    "the red boat on the sea and two cats",
    "",
    "ÄÖÜ 日本語 🙂 http://example.org/picture.png",
    "a photo of the dog that runs",
]


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("open_clip")
    return {name: write_open_clip(root / name, name) for name in ARCHITECTURES}


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def photo(width: int = 150, height: int = 110, seed: int = 0) -> Image.Image:
    """Smooth colour with some sharp edges, different for each seed."""
    random = np.random.default_rng(seed)
    small = random.integers(0, 256, (5, 7, 3), dtype=np.uint8)
    image = Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)
    left, top = random.integers(5, 60, 2)
    image.paste((250, 240, 20), (int(left), int(top), int(left) + 30, int(top) + 25))
    return image


def pictures() -> dict[str, Image.Image]:
    """One picture in every mode that Pillow may hand over."""
    rgb = photo()
    transparent = rgb.copy()
    transparent.putalpha(Image.linear_gradient("L").resize(rgb.size))
    palette = rgb.quantize(32)
    palette.info["transparency"] = 3
    grey = np.asarray(rgb.convert("L"))
    turned = photo(seed=3)
    turned.getexif()[0x0112] = 6
    return {
        "1": rgb.convert("1"),
        "L": rgb.convert("L"),
        "LA": transparent.convert("LA"),
        "P": palette,
        "RGB": rgb,
        "RGBA": transparent,
        "CMYK": rgb.convert("CMYK"),
        "I;16": Image.fromarray(grey.astype(np.uint16)),
        "F": Image.fromarray(grey.astype(np.float32)),
        "EXIF": turned,
        "tall": photo(40, 300, seed=4),
        "wide": photo(301, 33, seed=5),
        "tiny": photo(9, 7, seed=6),
    }


def as_seen(image: Image.Image) -> Image.Image:
    """The picture upright. With transparency or more than 8 bits, which open_clip would drop or
    clip, the copy that a person sees."""
    if image.has_transparency_data or image.mode in ("F", "I;16"):
        return to_rgb(image)
    return ImageOps.exif_transpose(image)


def reference(name: str) -> tuple[Any, Any, Any]:
    model, _, transform = open_clip.create_model_and_transforms(name)
    return model.eval(), transform, open_clip.get_tokenizer(name)


def assert_same(vectors: Vectors, expected: Vectors) -> None:
    """Cosine of 0.999 and more, also of what distinguishes the rows from their mean."""
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert (vectors * expected).sum(axis=1).min() >= 0.999
    ours, theirs = vectors - expected.mean(axis=0), expected - expected.mean(axis=0)
    lengths = np.linalg.norm(theirs, axis=1)
    assert lengths.max() > 0.003, "the model says the same about everything: nothing is tested"
    assert np.linalg.norm(ours - theirs, axis=1).max() <= 0.1 * lengths.max()


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_vectors_equal_open_clips_own(name: str, folders: dict[str, Path]) -> None:
    """Images of every mode and orientation, and texts, against open_clip's own pipeline."""
    model, transform, tokenize = reference(f"local-dir:{folders[name]}")
    embedder: ImageTextEmbedder = OpenClipEmbedder(str(folders[name]), runtime=Runtime(threads=1))
    images = list(pictures().values())
    with torch.inference_mode():
        seen = torch.stack([transform(as_seen(image)) for image in images])
        expected = model.encode_image(seen, normalize=True).numpy()
        expected_texts = model.encode_text(tokenize(TEXTS), normalize=True).numpy()
    assert embedder.space.dimension == expected.shape[1]
    assert_same(embedder.encode_images(images), expected)
    assert_same(embedder.encode_texts(TEXTS, "query"), expected_texts)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8"])
def test_every_precision_keeps_the_bound(precision: Any, folders: dict[str, Path]) -> None:
    """Whatever is asked for, what comes back is within the bound, on photographs too."""
    model, transform, _ = reference(f"local-dir:{folders['ViT']}")
    embedder = OpenClipEmbedder(
        str(folders["ViT"]), runtime=Runtime(precision=precision, threads=1)
    )
    images = [photo(seed=seed) for seed in range(12)]
    with torch.inference_mode():
        expected = model.encode_image(torch.stack([transform(i) for i in images]), normalize=True)
    assert_same(embedder.encode_images(images), expected.numpy())
    assert embedder.arithmetic[0] in (precision, "fp32")


def test_arithmetic_that_misses_the_bound_is_not_used(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    """A tower with a few huge weights cannot be rounded to 8 bits, and then it is not."""
    folder = write_open_clip(tmp_path / "outliers", "ViT")
    state = load_file(folder / "open_clip_model.safetensors")
    for name, value in state.items():
        if name.endswith(("ln_1.weight", "ln_2.weight")):
            value[::50] *= 400  # as the outlier channels of large models, only worse
    save_file(state, folder / "open_clip_model.safetensors")
    assert (
        OpenClipEmbedder(str(folders["ViT"]), runtime=Runtime(precision="int8")).arithmetic[0]
        == "int8"
    )
    assert OpenClipEmbedder(str(folder), runtime=Runtime(precision="int8")).arithmetic[0] == "fp32"


def test_a_causal_text_is_read_up_to_its_end_only(folders: dict[str, Path]) -> None:
    """The short forms give open_clip's padded vectors to float precision, in any batch."""
    for name in ("ViT", "ViT-quickgelu-scaled-custom", "PE-Core"):
        model, _, tokenize = reference(f"local-dir:{folders[name]}")
        embedder = OpenClipEmbedder(
            str(folders[name]), runtime=Runtime(precision="fp32", threads=1)
        )
        texts = [*TEXTS, "red " * 25, "ends <end_of_text> early"] * 2
        with torch.inference_mode():
            expected = model.encode_text(tokenize(texts), normalize=True).numpy()
        together = embedder.encode_texts(texts, "query")
        alone = np.concatenate([embedder.encode_texts([text], "query") for text in texts])
        np.testing.assert_allclose(together, expected, atol=2e-6)
        np.testing.assert_allclose(alone, expected, atol=2e-6)


def test_towers_that_read_both_ways_keep_their_padding(folders: dict[str, Path]) -> None:
    """For SigLIP and MobileCLIP the padding is part of the text; cutting would move vectors."""
    from mmsearch.models.clip.towers import text_parts

    for name, causal in (("SigLIP2", False), ("MobileCLIP", False), ("ViT", True)):
        parts = text_parts(reference(f"local-dir:{folders[name]}")[0])
        assert parts is not None
        assert parts.causal == causal


def test_long_texts_are_not_cut(folders: dict[str, Path]) -> None:
    """The end of a text longer than the tower reads still moves its vector."""
    for name in ("ViT", "SigLIP2"):
        embedder = OpenClipEmbedder(str(folders[name]), runtime=Runtime(threads=1))
        start = "a dog on the sea and the cat " * 20
        texts = [start, start + "two red boat photo " * 10]
        counts = embedder.count_tokens(texts)
        assert min(counts) > embedder.max_tokens
        one, other = embedder.encode_texts(texts, "query")
        assert float(one @ other) < 0.9999
        assert np.linalg.norm(one) == pytest.approx(1, abs=1e-5)
        with_short = embedder.encode_texts(["a dog", *texts], "document")
        np.testing.assert_allclose(with_short[1:], [one, other], atol=1e-3)


def test_a_word_of_a_hundred_thousand_letters_takes_no_time(folders: dict[str, Path]) -> None:
    """Byte-pair merging is quadratic in a word's length; a query must not use that."""
    embedder = OpenClipEmbedder(str(folders["ViT"]), runtime=Runtime(threads=1))
    assert embedder.count_tokens(["ab" * 50_000])[0] > 1000


def test_named_architecture_with_a_file(folders: dict[str, Path], tmp_path: Path) -> None:
    """An architecture by name and weights by file, as open_clip loads them; and a wrong file."""
    config = json.loads((folders["ViT"] / "open_clip_config.json").read_text())["model_cfg"]
    (tmp_path / "tiny-vit-of-this-test.json").write_text(json.dumps(config))
    open_clip.add_model_config(tmp_path)
    file = folders["ViT"] / "open_clip_model.safetensors"
    embedder = OpenClipEmbedder(
        "tiny-vit-of-this-test", weights=str(file), runtime=Runtime(threads=1)
    )
    same = OpenClipEmbedder(str(folders["ViT"]), runtime=Runtime(threads=1))
    np.testing.assert_array_equal(embedder.encode_images([photo()]), same.encode_images([photo()]))
    wrong = str(folders["ResNet"] / "open_clip_model.safetensors")
    with pytest.raises(DamagedModelError):
        OpenClipEmbedder("tiny-vit-of-this-test", weights=wrong).encode_images([photo()])


def test_missing_weights_never_become_random_ones(folders: dict[str, Path], tmp_path: Path) -> None:
    """open_clip by itself would return a random model here."""
    (tmp_path / "open_clip_config.json").write_bytes(
        (folders["ViT"] / "open_clip_config.json").read_bytes()
    )
    with pytest.raises(WeightsNotFoundError, match="nano"):
        _ = OpenClipEmbedder(f"local-dir:{tmp_path}").space
    (tmp_path / "open_clip_model.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0damaged")
    with pytest.raises(DamagedModelError, match="fetch them again"):
        _ = OpenClipEmbedder(f"local-dir:{tmp_path}").space


@pytest.mark.parametrize(
    ("name", "weights", "said"),
    [
        ("ViT-Q-99", "x", "knows no architecture"),
        ("ViT-B-32", "nonsense", "laion2b_s34b_b79k"),
        ("ViT-B-32", "openai", "ViT-B-32-quickgelu"),
        ("ViT-B-32", None, "name its weights"),
    ],
)
def test_wrong_names_are_told_with_the_right_ones(
    name: str, weights: str | None, said: str
) -> None:
    with pytest.raises(ConfigurationError, match=said):
        _ = OpenClipEmbedder(name, weights=weights).space


def test_fingerprint_follows_what_moves_a_vector(folders: dict[str, Path], tmp_path: Path) -> None:
    """Weights and preprocessing change it; threads, precision and folder names do not."""
    base = OpenClipEmbedder(
        str(folders["ViT"]), runtime=Runtime(precision="int8")
    ).space.fingerprint
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for file in folders["ViT"].iterdir():
        (moved / file.name).write_bytes(file.read_bytes())
    assert (
        OpenClipEmbedder(str(moved), runtime=Runtime(precision="fp32", threads=1)).space.fingerprint
        == base
    )
    described = json.loads((moved / "open_clip_config.json").read_text())
    described["preprocess_cfg"] = {"resize_mode": "squash"}
    (moved / "open_clip_config.json").write_text(json.dumps(described))
    assert OpenClipEmbedder(str(moved), runtime=Runtime(precision="fp32")).space.fingerprint != base
    other = write_open_clip(tmp_path / "other", "ViT", seed=6)
    assert OpenClipEmbedder(str(other), runtime=Runtime(precision="fp32")).space.fingerprint != base


def test_loads_once_and_again_after_release(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Eight threads that ask at once share one load and agree; release makes room."""
    loads: list[str] = []
    find_source = openclip_source.find_source

    def counted(name: str, *args: Any, **kwargs: Any) -> openclip_source.Source:
        loads.append(name)
        return find_source(name, *args, **kwargs)

    monkeypatch.setattr("mmsearch.models.clip.openclip.find_source", counted)
    embedder = OpenClipEmbedder(str(folders["ViT"]), runtime=Runtime(threads=1))
    assert loads == []
    results: list[Vectors] = []
    threads = [
        threading.Thread(target=lambda: results.append(embedder.encode_texts(["a dog"], "query")))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(loads) == 1
    assert len(results) == 8
    np.testing.assert_allclose(np.concatenate(results), results[0].repeat(8, axis=0), atol=1e-6)
    embedder.release()
    _ = embedder.space, embedder.preprocess, embedder.max_tokens
    assert len(loads) == 1
    np.testing.assert_array_equal(embedder.encode_texts(["a dog"], "query"), results[0])
    assert len(loads) == 2


def test_empty_and_malformed_input(folders: dict[str, Path]) -> None:
    embedder = OpenClipEmbedder(str(folders["ViT"]))
    assert embedder.encode_texts([], "query").shape == (0, 64)
    assert embedder.encode_images([]).shape == (0, 64)
    assert embedder.encode_pixels(np.zeros((0, 64, 64, 3), np.uint8)).shape == (0, 64)
    with pytest.raises(ValueError, match="uint8"):
        embedder.encode_pixels(np.zeros((1, 64, 64, 3), np.float32))
    with pytest.raises(ValueError, match="64, 64, 3"):
        embedder.encode_pixels(np.zeros((1, 32, 32, 3), np.uint8))
    readonly = np.zeros((1, 64, 64, 3), np.uint8)
    readonly.flags.writeable = False
    assert embedder.encode_pixels(readonly).shape == (1, 64)


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("ViT-B-32:laion2b_s34b_b79k", ("ViT-B-32", "laion2b_s34b_b79k", None)),
        ("ViT-B-32:/w/x.safetensors", ("ViT-B-32", "/w/x.safetensors", None)),
        ("ViT-B-32:random=7", ("ViT-B-32", None, 7)),
        ("hf-hub:org/model", ("hf-hub:org/model", None, None)),
        ("local-dir:/w", ("local-dir:/w", None, None)),
        ("/w/model", ("/w/model", None, None)),
    ],
)
def test_models_are_named_in_one_string(
    text: str, parsed: tuple[str, str | None, int | None]
) -> None:
    assert openclip_source.parse(text) == parsed


@pytest.mark.gpu
def test_on_a_gpu(folders: dict[str, Path]) -> None:
    """The same vectors from a GPU, within the bound."""
    if not torch.cuda.is_available():
        pytest.skip("torch sees no GPU")
    images = [photo(seed=seed) for seed in range(6)]
    for name in ARCHITECTURES:
        gpu = OpenClipEmbedder(str(folders[name]), runtime=Runtime(device="cuda"))
        cpu = OpenClipEmbedder(str(folders[name]), runtime=Runtime(device="cpu", precision="fp32"))
        assert_same(gpu.encode_images(images), cpu.encode_images(images))
        assert_same(gpu.encode_texts(TEXTS, "query"), cpu.encode_texts(TEXTS, "query"))
