"""The shipped fakes keep the protocols, and find what a test would look for."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
from PIL import Image

from mmsearch.protocols import ImageTextEmbedder, TextEmbedder, Transcriber
from mmsearch.testing import FakeImageTextEmbedder, FakeTextEmbedder, FakeTranscriber


def test_colours_are_found_by_name() -> None:
    embedder: ImageTextEmbedder = FakeImageTextEmbedder()
    names = ["red", "green", "blue", "yellow", "white", "black"]
    images = [Image.new("RGB", (40, 30), name) for name in names]
    scores = (
        embedder.encode_texts([f"a {name} thing" for name in names], "query")
        @ embedder.encode_images(images).T
    )
    assert scores.argmax(axis=1).tolist() == list(range(len(names)))
    pixels = np.stack([np.asarray(image.resize((32, 32))) for image in images])
    np.testing.assert_array_equal(embedder.encode_pixels(pixels), embedder.encode_images(images))


def test_pictures_of_one_colour_differ_by_their_details() -> None:
    embedder = FakeImageTextEmbedder()
    left, right = Image.new("RGB", (64, 64), "red"), Image.new("RGB", (64, 64), "red")
    left.paste("blue", (0, 0, 20, 20))
    right.paste("blue", (40, 40, 60, 60))
    one, other = embedder.encode_images([left, right])
    assert 0.5 < float(one @ other) < 0.999


def test_shared_words_are_near() -> None:
    embedder: TextEmbedder = FakeTextEmbedder()
    query = embedder.encode_texts(["budget of the meeting"], "query")[0]
    near, far, empty = embedder.encode_texts(
        ["the meeting about the budget", "a cat sleeps", ""], "document"
    )
    assert query @ near > query @ far + 0.2
    np.testing.assert_allclose(np.linalg.norm([near, far, empty], axis=1), 1, atol=1e-6)


def test_revisions_are_different_spaces() -> None:
    assert FakeImageTextEmbedder().space == FakeImageTextEmbedder().space
    assert (
        FakeImageTextEmbedder().space.fingerprint
        != FakeImageTextEmbedder(revision="2").space.fingerprint
    )
    assert FakeTextEmbedder().space.fingerprint != FakeTextEmbedder(32).space.fingerprint


def test_loud_stretches_are_heard_in_turn() -> None:
    transcriber: Transcriber = FakeTranscriber(["one two", "three"])
    samples = np.zeros(4 * 16_000, np.float32)
    samples[8_000:16_000] = 0.5
    samples[40_000:] = 0.2
    heard = transcriber.transcribe(samples)
    assert [(u.start, u.end, u.text) for u in heard.utterances] == [
        (0.5, 1.0, "one two"),
        (2.5, 4.0, "three"),
    ]
    silent = transcriber.transcribe(np.zeros(16_000, np.float32))
    assert (silent.language, silent.utterances) == (None, ())


def test_fakes_load_no_heavy_library() -> None:
    code = (
        "import sys, mmsearch.testing; "
        "print({'torch', 'open_clip', 'transformers', 'faiss', 'av'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
