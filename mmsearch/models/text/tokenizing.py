"""Thread-safe tokenising in the models of sentence-transformers."""

from __future__ import annotations

import threading
from typing import Any


def lock_preprocessing(model: Any, lock: threading.Lock) -> None:
    """Make `model.preprocess`, which tokenises, hold `lock`; the forward pass does not.

    Hugging Face's tokenizers change their own state (padding, truncation) in each call, so two
    threads must not tokenise at once ("Already borrowed"). Forward passes may run at once.
    """
    preprocess = model.preprocess

    def locked(*args: Any, **options: Any) -> Any:
        with lock:
            return preprocess(*args, **options)

    model.preprocess = locked
