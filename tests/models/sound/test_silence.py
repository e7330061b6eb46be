"""Silence is the same for indexing and for queries."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from indexer.runs import index_into
from mmsearch.models.sound.silence import is_silent
from mmsearch.types import SOUND_RATE, Modality, Samples
from tests.support.audio import LOW, silence, tone, wav
from tests.support.fakes import open_fake


def test_level_of_the_loudest_half_second() -> None:
    assert is_silent(np.empty(0, np.float32))
    assert is_silent(silence(3))
    assert is_silent(tone(3, LOW, level=1e-3))
    assert not is_silent(tone(3, LOW, level=2e-3))


BRIEF: Samples = np.concatenate([silence(4), tone(0.3, LOW, level=0.003), silence(5.5)])
"""A quiet sound: its loudest half second is above -60 dB, the RMS of all of it below."""


def test_a_sound_that_is_indexed_can_be_a_query(tmp_path: Path) -> None:
    assert float(np.sqrt(np.mean(np.square(BRIEF)))) < 1e-3
    assert len(BRIEF) < 10 * SOUND_RATE
    files = tmp_path / "files"
    files.mkdir()
    (files / "brief.wav").write_bytes(wav(BRIEF))
    with open_fake(tmp_path / "library", sounds=True) as engine:
        index_into(engine.library, [files])
        result = engine.search(audio=wav(BRIEF))
        (hit,) = [hit for hit in result.hits if hit.segment.modality is Modality.SOUND]
        assert hit.scores["sound:sound"] == pytest.approx(1, abs=1e-3)
