"""Where weights come from, whether they are whole, and what they are called.

Shared by the adapters: the search order for a model's files (an explicit path, the user's
model folder, the hub's cache, the hub), checksums of the models that ship with mmsearch,
fingerprints, and loading once under a lock. Nothing here imports torch.
"""

from __future__ import annotations

import hashlib
import importlib.resources
import json
import os
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

from mmsearch.errors import DamagedModelError, WeightsNotFoundError

T = TypeVar("T")

MANIFEST = "manifest.json"
DESCRIPTION = "mmsearch.json"
"""In a model's folder, optional: what an adapter has to know of this model and cannot see."""
HUB_SECONDS = 8.0
"""How long a hub may take to say whether it has a model, before we say that it has not."""

_FULL_HASH_BYTES = 64 * 2**20
_HEAD_BYTES = 4 * 2**20
_SAMPLES, _SAMPLE_BYTES = 64, 64 * 2**10


class Lazy(Generic[T]):
    """A value made on first use, once, even when several threads ask at the same time."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._value: T | None = None

    def get(self) -> T:
        """The value; made if need be. If making it raises, the next call tries again."""
        value = self._value
        if value is None:
            with self._lock:
                if self._value is None:
                    self._value = self._make()
                value = self._value
        return value

    def release(self) -> None:
        """Forget the value; calls in progress finish with the one they hold."""
        with self._lock:
            self._value = None

    @property
    def loaded(self) -> bool:
        """Whether the value is there now."""
        return self._value is not None


# ------------------------------------------------------------------ finding


def local_model(name: str, model_folder: Path, needs: Sequence[str]) -> Path | None:
    """A folder on this machine that holds the model `name`, or None.

    `name` may itself be a path. In `model_folder` a hub id `org/model` may lie as
    `org/model`, `org--model` or `model`. Only a folder holding one of `needs` counts.
    """
    given = Path(name).expanduser()
    places = [given] if looks_like_path(name) else places_in(model_folder, name)
    return next((place for place in places if _holds(place, needs)), None)


def places_in(model_folder: Path, name: str) -> list[Path]:
    """Where below the model folder `name` is looked for, the preferred place first."""
    root = model_folder.expanduser()
    names = dict.fromkeys([name.replace("/", "--"), name, name.rsplit("/", 1)[-1]])
    return [root / candidate for candidate in names]


def looks_like_path(name: str) -> bool:
    """Whether a model name is meant as a path: absolute, or beginning with . or ~."""
    return name.startswith(("/", "./", "../", "~", ".\\", "..\\")) or Path(name).is_absolute()


def _holds(folder: Path, needs: Sequence[str]) -> bool:
    return folder.is_dir() and any((folder / name).exists() for name in needs)


def hub_snapshot(
    repo: str,
    patterns: Sequence[str],
    needs: Sequence[str],
    *,
    allow_download: bool,
    ignored: Sequence[str] = (),
) -> Path:
    """The folder of a hub repository's files, from the local cache or, if allowed, fetched.

    The cache is asked first, so that a model that is there never waits for a network.
    Raises LookupError with a short reason. (`hf_hub_download` retries an unreachable hub
    for half a minute; `snapshot_download` asks once.)
    """
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError

    def fetch(*, local: bool) -> Path:
        return Path(
            huggingface_hub.snapshot_download(
                repo,
                allow_patterns=list(patterns),
                ignore_patterns=list(ignored),
                local_files_only=local,
                etag_timeout=HUB_SECONDS,
            )
        )

    try:
        cached = fetch(local=True)
    except (OSError, ValueError) as error:
        if not allow_download:
            reason = "not in the local cache, and downloading is not allowed"
            raise LookupError(reason) from error
    else:
        if any((cached / name).exists() for name in needs):
            return cached
        if not allow_download:
            raise LookupError("the cached copy is incomplete, and downloading is not allowed")
    try:
        fetched = fetch(local=False)
    except HfHubHTTPError as error:
        raise LookupError(f"the hub answered: {_first_line(error)}") from error
    except (OSError, ValueError, RuntimeError) as error:
        raise LookupError(f"the hub was not reached: {_first_line(error)}") from error
    if not any((fetched / name).exists() for name in needs):
        raise LookupError(f"'{repo}' on the hub holds none of {', '.join(needs)}")
    return fetched


def find_model(
    name: str,
    *,
    model_folder: Path,
    repo: str | None,
    patterns: Sequence[str],
    needs: Sequence[str],
    allow_download: bool,
    ignored: Sequence[str] = (),
) -> Path:
    """The folder of the model `name`: an explicit path, the model folder, then the hub.

    `repo` is its hub id, None if it has none. Raises WeightsNotFoundError.
    """
    found = local_model(name, model_folder, needs)
    if found is not None:
        return found
    if looks_like_path(name):
        raise WeightsNotFoundError(
            name, str(Path(name).expanduser()), f"no folder there with {' or '.join(needs)}"
        )
    folder = str(places_in(model_folder, name)[0])
    if repo is None:
        raise WeightsNotFoundError(name, folder, "no such folder, and it is on no hub")
    try:
        return hub_snapshot(repo, patterns, needs, allow_download=allow_download, ignored=ignored)
    except LookupError as error:
        raise WeightsNotFoundError(name, folder, str(error)) from error


def nano_folder(kind: Literal["clip", "text", "whisper", "vlm"]) -> Path:
    """The folder of a model that ships with mmsearch, checked against its manifest.

    Raises WeightsNotFoundError if this installation was made without it, DamagedModelError.
    """
    root = importlib.resources.files("mmsearch.models") / "nano" / kind
    folder = Path(str(root))
    if not (folder / MANIFEST).is_file():
        raise WeightsNotFoundError(
            f"nano-{kind}", str(folder), "this installation came without its nano models"
        )
    verify_manifest(folder)
    return folder


# ------------------------------------------------------------------ whole and unchanged

_verified: set[Path] = set()


def verify_manifest(folder: Path) -> None:
    """Compare a model folder with its `manifest.json`, once per process.

    Nothing is checked where there is no manifest: public checkpoints have none.
    Raises DamagedModelError, which names the file and what to do.
    """
    path = folder / MANIFEST
    if folder in _verified or not path.is_file():
        return
    try:
        files: Mapping[str, Mapping[str, Any]] = json.loads(path.read_text("utf-8"))["files"]
        expected = {name: (entry["sha256"], int(entry["bytes"])) for name, entry in files.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(path, f"cannot be read ({_first_line(error)})") from error
    for name, (sha256, size) in expected.items():
        file = folder / name
        if not file.is_file():
            raise _damaged(file, "is missing")
        if file.stat().st_size != size:
            raise _damaged(file, f"has {file.stat().st_size} bytes instead of {size}")
        if sha256_of(file) != sha256:
            raise _damaged(file, "does not match its checksum")
    _verified.add(folder)


def _damaged(path: Path, what: str) -> DamagedModelError:
    return DamagedModelError(
        f"The model file {path} {what}. Restore it from where the model came from; a model "
        "that ships with mmsearch comes back with: pip install --force-reinstall mmsearch"
    )


def unreadable(model: str, folder: Path | str, error: BaseException) -> DamagedModelError:
    """The error for files that are there but cannot be loaded."""
    return DamagedModelError(
        f"The model '{model}' in {folder} cannot be loaded: {_first_line(error)}. "
        "Its files are incomplete or damaged: fetch them again."
    )


def described(model: str, folder: Path, understand: Callable[[dict[str, Any]], T]) -> T:
    """What `understand` makes of the folder's `DESCRIPTION`, {} where there is none.

    Raises DamagedModelError where it is not JSON, or nothing that can be understood.
    """
    path = folder / DESCRIPTION
    try:
        return understand(json.loads(path.read_text("utf-8")) if path.is_file() else {})
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise unreadable(model, path, error) from error


# ------------------------------------------------------------------ names for what moves a vector


def sha256_of(path: Path) -> str:
    """Hex digest of the whole file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def weights_digest(paths: Iterable[Path]) -> str:
    """Names the content of weight files, in seconds even for many gigabytes.

    Files up to 64 MiB enter whole. Larger ones enter with their size, their first 4 MiB
    (a safetensors header with every tensor's name, shape and place) and 64 blocks of
    64 KiB spread evenly to the end. That tells any two trained checkpoints apart; it is
    no proof against a few bytes changed on purpose, which a fingerprint is not for.
    """
    digest = hashlib.sha256()
    for path in sorted(paths, key=lambda p: p.name):
        size = path.stat().st_size
        digest.update(f"{size}:".encode())
        with path.open("rb") as file:
            if size <= _FULL_HASH_BYTES:
                digest.update(hashlib.file_digest(file, "sha256").digest())
                continue
            digest.update(file.read(_HEAD_BYTES))
            for sample in range(_SAMPLES):
                file.seek((size - _SAMPLE_BYTES) * sample // (_SAMPLES - 1))
                digest.update(file.read(_SAMPLE_BYTES))
    return digest.hexdigest()


def fingerprint(**parts: Any) -> str:
    """A short name (24 hex digits) for JSON-able `parts`; equal parts, equal name."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def arithmetic_threads(threads: int) -> int:
    """The setting `threads` made definite: 0 is one per core this process may use."""
    if threads:
        return threads
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]
