"""What a worker sends is what its parent gets; what no worker should send is refused."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

import numpy as np
import pytest

from mmsearch.media.parts import Cue, FramePart, ImagePart, PagePart, Part, SubtitlePart, TextLine
from mmsearch.media.sandbox import wire

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
