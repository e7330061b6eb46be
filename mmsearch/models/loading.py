"""Finding a model's files, checking them, and naming their content.

Shared by the adapters: the order in which a model's files are searched for (an explicit path,
the user's model folder, the hub's cache, the hub), the checksums of the models that ship with
mmsearch, fingerprints, and thread-safe loading on first use. Nothing here imports torch.
"""

from __future__ import annotations

import hashlib
import importlib.resources
import json
import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

from mmsearch.errors import DamagedModelError, WeightsNotFoundError

T = TypeVar("T")

MANIFEST = "manifest.json"
DESCRIPTION = "mmsearch.json"
"""Optional file in a model's folder: properties of the model that its own files do not state."""
HUB_SECONDS = 8.0
"""Timeout for a hub's answer to whether it has a model."""

_FULL_HASH_BYTES = 64 * 2**20
_HEAD_BYTES = 4 * 2**20
_SAMPLES, _SAMPLE_BYTES = 64, 64 * 2**10


class Lazy(Generic[T]):
    """A value that is made once, on first use. Thread-safe."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._value: T | None = None

    def get(self) -> T:
        """The value. If making it raises, the next call tries again."""
        value = self._value
        if value is None:
            with self._lock:
                if self._value is None:
                    self._value = self._make()
                value = self._value
        return value

    def release(self) -> None:
        """Drop the value. Calls in progress finish with the one that they hold."""
        with self._lock:
            self._value = None

    @property
    def loaded(self) -> bool:
        """Whether the value has been made and not released."""
        return self._value is not None


# ------------------------------------------------------------------ finding files


def local_model(name: str, model_folder: Path, needs: Sequence[str]) -> Path | None:
    """A folder on this machine that holds the model `name`, or None.

    `name` is a path or a hub id. In `model_folder` the hub id `org/model` may be stored as
    `org--model`, `org/model` or `model`. Only a folder that holds one of `needs` counts.
    """
    path = Path(name).expanduser()
    folders = [path] if looks_like_path(name) else places_in(model_folder, name)
    return next((folder for folder in folders if _holds(folder, needs)), None)


def places_in(model_folder: Path, name: str) -> list[Path]:
    """The folders that may hold the model `name` in the model folder, the preferred one first."""
    root = model_folder.expanduser()
    names = dict.fromkeys([name.replace("/", "--"), name, name.rsplit("/", 1)[-1]])
    return [root / candidate for candidate in names]


def looks_like_path(name: str) -> bool:
    """Whether a model's name is a path: absolute, or beginning with . or ~."""
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
    """The folder of a hub repository's files: from the local cache, else downloaded if allowed.

    The cache comes first, so that a cached model never waits for the network.
    Raises LookupError with a short reason. (`hf_hub_download` retries an unreachable hub
    for half a minute; `snapshot_download` tries once.)
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

    `repo` is its hub id, None if it has none. A folder must hold one of `needs`; of the hub's
    files only those that match `patterns` and not `ignored` are downloaded.
    Raises WeightsNotFoundError.
    """
    local = local_model(name, model_folder, needs)
    if local is not None:
        return local
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


# ------------------------------------------------------------------ checking files

_verified: set[Path] = set()


def verify_manifest(folder: Path) -> None:
    """Compare a model folder with its `manifest.json`, once per process.

    A folder without a manifest passes: public checkpoints have none.
    Raises DamagedModelError, which names the file and the remedy.
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
    """The error for a model whose files exist but cannot be loaded."""
    return DamagedModelError(
        f"The model '{model}' in {folder} cannot be loaded: {_first_line(error)}. "
        "Its files are incomplete or damaged: fetch them again."
    )


def described(model: str, folder: Path, parse: Callable[[dict[str, Any]], T]) -> T:
    """The result of `parse` for the JSON of the folder's `DESCRIPTION`, or for {} without one.

    Raises DamagedModelError if the file is not JSON or `parse` rejects it.
    """
    path = folder / DESCRIPTION
    try:
        return parse(json.loads(path.read_text("utf-8")) if path.is_file() else {})
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise unreadable(model, path, error) from error


# ------------------------------------------------------------------ naming content


def sha256_of(path: Path) -> str:
    """Hex digest of the whole file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def folder_digest(
    folder: Path,
    suffixes: Collection[str],
    *,
    recursive: bool = False,
    skipped: Collection[str] = ("onnx", "openvino"),
) -> str:
    """`weights_digest` of a model folder's files with these suffixes, without its manifest.

    `recursive` includes sub-folders other than `skipped`.
    """
    paths = sorted(folder.rglob("*") if recursive else folder.iterdir())
    return weights_digest(
        path
        for path in paths
        if path.suffix in suffixes
        and path.name != MANIFEST
        and not set(skipped).intersection(path.relative_to(folder).parts)
    )


def weights_digest(paths: Iterable[Path]) -> str:
    """Identifies the content of weight files, in seconds even for many gigabytes.

    Files up to 64 MiB are hashed whole. Of larger ones, the size, the first 4 MiB (a
    safetensors header with every tensor's name, shape and offset) and 64 blocks of 64 KiB
    spread evenly to the end are hashed. This distinguishes any two trained checkpoints. It
    does not detect a few bytes changed on purpose.

    A process hashes the same files once: the result is cached by path, size, modification time
    and inode.
    """
    return _weights_digest(tuple(map(_identity, sorted(paths, key=lambda path: path.name))))


def _identity(path: Path) -> tuple[Path, int, int, int]:
    status = path.stat()
    return path, status.st_size, status.st_mtime_ns, status.st_ino


@lru_cache(maxsize=256)
def _weights_digest(files: tuple[tuple[Path, int, int, int], ...]) -> str:
    digest = hashlib.sha256()
    for path, size, _, _ in files:
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


def revision_of(folder: Path, weights: str) -> str:
    """Short name of a model's version: the hub's commit, else the beginning of its digest."""
    return (folder.name if folder.parent.name == "snapshots" else weights)[:12]


def fingerprint(**parts: Any) -> str:
    """A short name (24 hex digits) for JSON-able `parts`. Equal parts have equal names."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]
