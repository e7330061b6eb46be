"""What a worker sends is what its parent gets; what no worker should send is refused."""

from __future__ import annotations

import json
import os
import threading
from dataclasses import fields
from typing import Any

import numpy as np
import pytest

from mmsearch.media.parts import (
    AudioPart,
    Cue,
    DecodeRequest,
    FramePart,
    ImagePart,
    PagePart,
    Part,
    SoundPart,
    SubtitlePart,
    TextLine,
    TextPart,
)
from mmsearch.media.sandbox import wire
from mmsearch.types import Preprocess

PIXELS = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
PICTURE = np.full((4, 5, 3), 7, np.uint8)

PARTS: list[Part] = [
    ImagePart("image/png", {"a": 1}, PIXELS, b"jpeg", PICTURE),
    ImagePart("image/png", {}, None, None, PICTURE),
    PagePart(
        "application/pdf", {"pages": 9}, 3, "über\nzwei", "Titel",
        (TextLine(0, 4, (0.1, 0.2, 0.3, 0.4)), TextLine(5, 9, (0.0, 0.5, 1.0, 0.75))),
        PIXELS, b"jpeg", None,
    ),
    PagePart("application/pdf", {}, 1),
    FramePart("video/mp4", {"width": 3}, 1.5, 2.25, 1.75, PIXELS, b"jpeg", PICTURE),
    SubtitlePart("video/mp4", {}, (Cue(0.5, 1.0, "Ça va?"),)),
    SubtitlePart("video/mp4", {"warning": "damaged"}),
]  # fmt: skip


NOTE = DecodeRequest(content=b"A note.")


def sent(part: Part) -> tuple[dict[str, Any], list[bytearray]]:
    header, buffers = wire.encode_part(part)
    # As `send` and `receive` do: empty buffers do not travel.
    return json.loads(json.dumps(header)), [bytearray(b) for b in buffers if len(b)]


@pytest.mark.parametrize("part", PARTS, ids=lambda part: type(part).__name__)
def test_there_and_back(part: Part) -> None:
    back = wire.decode_part(*sent(part))
    assert type(back) is type(part)
    for field in fields(part):
        have, want = getattr(back, field.name), getattr(part, field.name)
        if isinstance(want, np.ndarray):
            assert np.array_equal(have, want)
        else:
            assert have == want


@pytest.mark.parametrize("part", PARTS, ids=lambda part: type(part).__name__)
def test_what_does_not_fit_is_refused(part: Part) -> None:
    header, buffers = sent(part)
    for name in header.keys() - {"mime", "metadata", "title"}:
        broken = {key: value for key, value in header.items() if key != name}
        with pytest.raises(wire.WireError):
            wire.decode_part(broken, list(buffers))
    if buffers:
        with pytest.raises(wire.WireError):
            wire.decode_part(header, [])


def through_a_pipe(part: Part) -> Part:
    reader, writer = os.pipe()
    try:
        thread = threading.Thread(target=wire.send, args=(writer, *wire.encode_part(part)))
        thread.start()
        received = wire.decode_part(*wire.receive(reader))
        thread.join()
    finally:
        os.close(reader)
        os.close(writer)
    return received


def test_parts_survive_the_pipe() -> None:
    pixels = np.arange(12 * 500 * 3, dtype=np.uint8).reshape(12, 500, 3)
    picture = through_a_pipe(ImagePart("image/png", {"width": 5}, pixels, b"small"))
    assert isinstance(picture, ImagePart)
    assert picture.pixels is not None
    assert np.array_equal(picture.pixels, pixels)
    assert (picture.mime, picture.thumbnail) == ("image/png", b"small")
    assert through_a_pipe(ImagePart("image/png", {})) == ImagePart("image/png", {})
    text = TextPart("text/plain", {"title": "é"}, "grün 🌍\n" * 100_000)
    assert through_a_pipe(text) == text
    sound = through_a_pipe(AudioPart("audio/wav", {}, np.linspace(-1, 1, 9, dtype=np.float32), 2.5))
    assert isinstance(sound, AudioPart)
    assert sound.samples.tolist() == np.linspace(-1, 1, 9, dtype=np.float32).tolist()
    heard = through_a_pipe(SoundPart("audio/wav", {}, np.zeros(3, np.float32), 60.0, last=False))
    assert isinstance(heard, SoundPart)
    assert (heard.start, heard.last, len(heard.samples)) == (60.0, False, 3)
    empty = through_a_pipe(AudioPart("audio/wav", {}))
    assert isinstance(empty, AudioPart)
    assert len(empty.samples) == 0


@pytest.mark.parametrize(
    "message",
    [
        b"\xff\xff\xff\xff",
        b"\x02\0\0\0{}",
        b"\x02\0\0\0[]",
        b"\x10\0\0\0" + b'{"buffers":[-1]}',
        b"\x18\0\0\0" + b'{"buffers":[9999999999]}',
        b"\x05\0\0\0nojso",
        b"\x05\0\0\0no",
    ],
)
def test_malformed_messages_are_refused(message: bytes) -> None:
    reader, writer = os.pipe()
    os.write(writer, message)
    os.close(writer)
    with pytest.raises(wire.WireError):
        wire.receive(reader)
    os.close(reader)


@pytest.mark.parametrize(
    "header",
    [
        {"part": "image", "mime": "x", "metadata": {}, "pixels": [9, 9, 3], "thumbnail": False},
        {"part": "image", "mime": "x", "metadata": {}, "pixels": None, "thumbnail": True},
        {"part": "pickle", "mime": "x", "metadata": {}},
        {"part": "text", "mime": "x", "metadata": []},
    ],
)
def test_parts_that_do_not_fit_are_refused(header: dict[str, object]) -> None:
    with pytest.raises(wire.WireError):
        wire.decode_part(header, [])


def test_requests_survive_the_pipe(spec: Preprocess) -> None:
    for request in (
        DecodeRequest(path="/a/caf\udce9", preprocess=spec, thumbnail=9, kinds=("image",)),
        DecodeRequest(content=b"abc", name="a.md"),
        DecodeRequest(content=b""),
    ):
        header, buffers = wire.encode_request(request)
        header = json.loads(json.dumps(header | {"buffers": []}))
        assert wire.decode_request(header, [bytearray(b) for b in buffers]) == request
