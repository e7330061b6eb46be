"""Every error that mmsearch raises on purpose, under one base.

::

    MMSearchError
    ├── ConfigurationError          something must be installed, set or chosen differently
    │   ├── MissingDependencyError  an optional package; names the extra to install
    │   ├── SettingsError           an unknown or invalid setting
    │   └── ProfileError            an unknown model profile
    ├── ModelError
    │   ├── WeightsNotFoundError    names the model, the local folder and the nano profile
    │   ├── DamagedModelError       a file does not match its checksum, or cannot be read
    │   ├── CaptionError            captions were asked for, and cannot be had
    │   └── RerankError             a reranker gave no usable answer (search goes on without it)
    ├── LibraryError
    │   ├── LibraryNotFoundError
    │   ├── LibraryVersionError     written by a newer mmsearch
    │   ├── LibraryBusyError        another indexing run holds the write lock
    │   ├── SpaceMismatchError      asked to use another model than the library was made with
    │   └── StorageError            the disk is full, read-only or failing
    ├── QueryError
    │   ├── EmptyQueryError
    │   ├── FilterError             lists the fields that exist
    │   ├── DimensionError          a vector of the wrong dimension, or without direction
    │   ├── CursorError             a cursor is damaged, or of another query or library
    │   └── LimitError              a number outside its allowed range
    ├── ConflictError               a job's state does not allow it
    ├── LeaseLostError              another worker has taken over the job
    ├── NotFoundError               no such collection, source, segment or job
    ├── SnapshotError               a saved vector index is damaged or foreign (it is then rebuilt)
    └── MediaError                  one file could not be taken in; has a `code` of its own

The service maps them to HTTP in one place (`mmsearch.service.errors`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence


class MMSearchError(Exception):
    """Base of every deliberate error. `code` is stable and meant for programs."""

    code = "error"

    def __init__(self, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        """The setting, option or request field at fault, where there is one."""


class ConfigurationError(MMSearchError):
    """Something must be installed, set or chosen differently."""

    code = "configuration"


class MissingDependencyError(ConfigurationError):
    """An optional package is not installed."""

    code = "missing_dependency"

    def __init__(self, package: str, extra: str, why: str) -> None:
        super().__init__(
            f"{why} needs the package '{package}', which is not installed. "
            f"Install it with: pip install 'mmsearch[{extra}]'"
        )
        self.package = package
        self.extra = extra


class SettingsError(ConfigurationError):
    """A setting is unknown or has an impossible value."""

    code = "invalid_setting"


class ProfileError(ConfigurationError):
    """There is no model profile of this name."""

    code = "unknown_profile"


class ModelError(MMSearchError):
    """A model cannot be used."""

    code = "model"


class WeightsNotFoundError(ModelError):
    """The weights of a model are not here and cannot be fetched."""

    code = "weights_not_found"

    def __init__(self, model: str, folder: str, detail: str) -> None:
        super().__init__(
            f"The weights of '{model}' could not be had ({detail}). "
            f"Put the model's files into {folder}, or allow the download, "
            "or use --profile nano, whose small models come with mmsearch."
        )
        self.model = model
        self.folder = folder


class DamagedModelError(ModelError):
    """A model file does not match its checksum, or cannot be read."""

    code = "damaged_model"


class CaptionError(ModelError):
    """Captions were asked for, and cannot be had: the server is away, or refuses."""

    code = "captions_failed"


class RerankError(ModelError):
    """A reranker gave no usable answer; the first stage's order stands."""

    code = "rerank"


class LibraryError(MMSearchError):
    """The library cannot be used as asked."""

    code = "library"


class LibraryNotFoundError(LibraryError):
    """There is no library in this folder."""

    code = "library_not_found"


class LibraryVersionError(LibraryError):
    """The library was written by a newer mmsearch."""

    code = "library_version"


class LibraryBusyError(LibraryError):
    """Another process is writing."""

    code = "library_busy"


class SpaceMismatchError(LibraryError):
    """Other models were asked for than the vectors were made with."""

    code = "space_mismatch"


class StorageError(LibraryError):
    """The disk is full, read-only or failing."""

    code = "storage"


class QueryError(MMSearchError):
    """The query is wrong; `param` says where."""

    code = "invalid_query"


class EmptyQueryError(QueryError):
    """There is nothing to look for."""

    code = "empty_query"


class FilterError(QueryError):
    """The filter is wrong; the message lists the fields."""

    code = "invalid_filter"

    def __init__(self, message: str, fields: Sequence[str] = ()) -> None:
        known = f" Known fields: {', '.join(fields)}." if fields else ""
        super().__init__(message + known, param="filter")
        self.fields = tuple(fields)


class DimensionError(QueryError):
    """A vector of the wrong dimension, or without direction (zeros, NaN, infinite)."""

    code = "wrong_dimension"


class CursorError(QueryError):
    """A cursor cannot be followed."""

    code = "invalid_cursor"

    def __init__(self, message: str) -> None:
        super().__init__(message, param="cursor")


class LimitError(QueryError):
    """A number outside its allowed range."""

    code = "out_of_range"


class NotFoundError(MMSearchError):
    """No such collection, source, segment or job."""

    code = "not_found"


class ConflictError(MMSearchError):
    """What is asked for does not go together with the state that something is in."""

    code = "conflict"


class LeaseLostError(MMSearchError):
    """A worker has been too silent for too long: its job is somebody else's now."""

    code = "lease_lost"

    def __init__(self, job: int) -> None:
        super().__init__(f"job {job} was taken from this worker, which did not report in time")
        self.job = job


class SnapshotError(MMSearchError):
    """A saved vector index is damaged or foreign; it is never searched."""

    code = "snapshot"


FAILURES: Mapping[str, str] = {
    "unsupported": "This kind of file is not read. Convert it, or leave it out with --exclude.",
    "corrupt": "The file is damaged. Bring it back from a copy, or save it anew.",
    "empty": "There is nothing in the file that could be found.",
    "too_large": "The file is over a limit. The settings max_… raise it.",
    "timeout": "It took too long. The settings decode_seconds and fetch_seconds allow more.",
    "memory": "It needed too much memory. The setting decode_memory_mb allows more.",
    "crashed": "The file broke the program that reads such files; nothing else was harmed.",
    "encrypted": "The file is protected by a password. Save it without one.",
    "unreadable": "The file may not be read. Look at its permissions.",
    "missing": "The file was gone when its turn came. `mmsearch index --prune` lets it go.",
    "changed": "The file has changed since it was indexed. Index it again.",
    "model": "A model could not make anything of it.",
    "refused": "The address or path leads where nothing may be fetched from. The setting "
    "fetch_private_addresses allows one's own servers.",
    "network": "The address could not be reached. `mmsearch index --retry-failed` tries again.",
}
"""What each code of a failed file means, and what can be done, in a sentence or two."""


class MediaError(MMSearchError):
    """One file could not be taken in. The run goes on; the file is marked failed.

    `code` is one of FAILURES.
    """

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
