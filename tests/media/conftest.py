"""One pool of decoding workers for all tests that do no harm to it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mmsearch.media.sandbox.pool import Sandbox
from mmsearch.types import Preprocess


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(2, seconds=60, memory_mb=3072) as made:
        yield made


@pytest.fixture(scope="session")
def spec() -> Preprocess:
    return Preprocess((224, 224), (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
