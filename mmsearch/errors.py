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
    │   ├── CaptionError            captions are enabled, and the captioner failed
    │   └── RerankError             a reranker gave no usable answer (the first-stage order stands)
    ├── LibraryError
    │   ├── LibraryNotFoundError
    │   ├── LibraryDamagedError     its database is damaged, or empty beside existing indexes
    │   ├── LibraryVersionError     written by a newer mmsearch
    │   ├── LibraryBusyError        another indexing run holds the write lock
    │   ├── SpaceMismatchError      settings name other models than the library was made with
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
    ├── SnapshotError               a saved vector index is damaged or foreign (it is rebuilt)
    └── MediaError                  one file could not be indexed; has a `code` of its own

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
    """The weights of a model are not on this machine and cannot be fetched."""

    code = "weights_not_found"

    def __init__(self, model: str, folder: str, detail: str) -> None:
        super().__init__(
            f"The weights of '{model}' cannot be loaded ({detail}). "
            f"Put the model's files into {folder}, or allow the download, "
            "or use --profile nano, whose small models come with mmsearch."
        )
        self.model = model
        self.folder = folder


class DamagedModelError(ModelError):
    """A model file does not match its checksum, or cannot be read."""

    code = "damaged_model"


class CaptionError(ModelError):
    """Captions are enabled, and the captioner failed or cannot be reached."""

    code = "captions_failed"


class RerankError(ModelError):
    """A reranker gave no usable answer. The first-stage order stands."""

    code = "rerank"


class LibraryError(MMSearchError):
    """The library cannot be used in this way."""

    code = "library"


class LibraryNotFoundError(LibraryError):
    """There is no library in this folder."""

    code = "library_not_found"


class LibraryDamagedError(LibraryError):
    """The library's database is damaged, or empty although indexes or media exist."""

    code = "library_damaged"


class LibraryVersionError(LibraryError):
    """The library was written by a newer mmsearch."""

    code = "library_version"


class LibraryBusyError(LibraryError):
    """Another process is writing."""

    code = "library_busy"


class SpaceMismatchError(LibraryError):
    """The settings name other models than those that made the vectors."""

    code = "space_mismatch"


class StorageError(LibraryError):
    """The disk is full, read-only or failing."""

    code = "storage"


class QueryError(MMSearchError):
    """The query is invalid. `param` names the field."""

    code = "invalid_query"


class EmptyQueryError(QueryError):
    """The query has no content."""

    code = "empty_query"


class FilterError(QueryError):
    """The filter is invalid. The message lists the known fields."""

    code = "invalid_filter"

    def __init__(self, message: str, fields: Sequence[str] = ()) -> None:
        known = f" Known fields: {', '.join(fields)}." if fields else ""
        super().__init__(message + known, param="filter")
        self.fields = tuple(fields)


class DimensionError(QueryError):
    """A vector has the wrong dimension, or its length is zero or not finite."""

    code = "wrong_dimension"


class CursorError(QueryError):
    """A cursor is damaged, or belongs to another query or library."""

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
    """The operation is not allowed in the present state."""

    code = "conflict"


class LeaseLostError(MMSearchError):
    """The lease of a job expired, and another worker has taken the job over."""

    code = "lease_lost"

    def __init__(self, job: int) -> None:
        super().__init__(f"the lease of job {job} expired; another worker has taken it over")
        self.job = job


class SnapshotError(MMSearchError):
    """An index snapshot is damaged or belongs to another library or space. It is not searched."""

    code = "snapshot"


FAILURES: Mapping[str, str] = {
    "unsupported": "This kind of file is not read. Convert it, or leave it out with --exclude.",
    "corrupt": "The file is damaged. Restore it from a copy, or save it again.",
    "empty": "The file holds nothing that could be searched.",
    "too_large": "The file is over a limit. The settings max_… raise it.",
    "timeout": "Reading took too long. The settings decode_seconds and fetch_seconds allow more.",
    "memory": "Reading needed too much memory. The setting decode_memory_mb allows more.",
    "crashed": "The file crashed its reader. Nothing else was affected.",
    "encrypted": "The file is protected by a password. Save it without one.",
    "unreadable": "The file cannot be opened. Check its permissions.",
    "missing": "The file was gone when its turn came. `mmsearch index --prune` removes it.",
    "changed": "The file has changed since it was indexed. Index it again.",
    "model": "A model failed on the file.",
    "refused": "The address or path must not be read. The setting "
    "fetch_private_addresses allows your own servers.",
    "network": "The address could not be reached. `mmsearch index --retry-failed` tries again.",
}
"""The meaning of each failure code, and the remedy."""


class MediaError(MMSearchError):
    """One file could not be indexed. The run goes on, and the file is recorded as failed.

    `code` is one of FAILURES.
    """

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
