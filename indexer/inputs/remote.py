"""Files elsewhere: web addresses through our own guarded fetcher, all other URLs through fsspec.

Object stores (s3:, gs:, az: ...) are reached with the credentials that their libraries find by
themselves. Hosts named in a URL (sftp:) pass the same address guard as web addresses.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlsplit

from indexer.inputs.addresses import vetted
from indexer.inputs.content import Broken, Item, Opened, Spool, WebFile, copied
from indexer.inputs.walk import is_left_out
from mmsearch.errors import (
    ConfigurationError,
    MediaError,
    MissingDependencyError,
    MMSearchError,
    QueryError,
)
from mmsearch.stores.places import display_path
from mmsearch.types import SourceFile

EXTRAS: Mapping[str, tuple[str, str]] = {
    "s3": ("s3fs", "s3"),
    "s3a": ("s3fs", "s3"),
    "gs": ("gcsfs", "gcs"),
    "gcs": ("gcsfs", "gcs"),
    "az": ("adlfs", "azure"),
    "abfs": ("adlfs", "azure"),
    "abfss": ("adlfs", "azure"),
    "sftp": ("paramiko", "sftp"),
    "ssh": ("paramiko", "sftp"),
    "memory": ("fsspec", "cpu"),
}
"""Protocols, the packages they need, and the extras that bring these. Chained fsspec URLs
(`simplecache::http://…`) would slip past the guard, and are not among them."""

HOSTED = frozenset({"sftp", "ssh"})
WEB = frozenset({"http", "https"})
OPENING_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class StoreFile:
    """A file of an fsspec file system."""

    filesystem: Any = field(repr=False)
    path: str
    name: str

    @contextmanager
    def opened(self, spool: Spool) -> Iterator[Opened]:
        limit = spool.fetcher.max_bytes
        with spool.file() as target:
            with translated(), self.filesystem.open(self.path, "rb") as source:
                timed = _Timed(source, spool.fetcher.seconds)
                digest = copied(timed, target, limit + 1)
            size = target.stat().st_size
            if size > limit:
                raise MediaError(
                    "too_large", f"The file is larger than the {limit >> 20} MiB allowed."
                )
            yield Opened(digest, size, path=os.fspath(target), name=self.name)


class _Timed:
    """A stream that raises MediaError, between two reads, when the time is over."""

    def __init__(self, source: Any, seconds: float) -> None:
        self._source = source
        self._seconds = seconds
        self._deadline = time.monotonic() + seconds

    def read(self, size: int) -> bytes:
        if time.monotonic() > self._deadline:
            raise MediaError("timeout", f"Fetching took longer than {self._seconds:g} seconds.")
        with translated():
            return bytes(self._source.read(size))


def check_url(url: str) -> None:
    """Raise QueryError or MissingDependencyError if such URLs cannot be read at all."""
    scheme = _scheme(url)
    if scheme in WEB:
        return
    if scheme not in EXTRAS:
        schemes = ", ".join([*sorted(WEB), *EXTRAS])
        raise QueryError(f"{url}: {scheme}: URLs are not supported (supported: {schemes})",
                         param="paths")  # fmt: skip
    package, extra = EXTRAS[scheme]
    from importlib.util import find_spec

    if find_spec(package) is None:
        raise MissingDependencyError(package, extra, f"Reading {scheme}: URLs")


def listed(
    url: str, spool: Spool, *, wants: Callable[[str], bool] = lambda _: True
) -> Iterator[Item]:
    """The items at and below a URL; `*`, `?` and `[` in the path of a store are a glob.

    `wants` is called with each path relative to the URL. Raises MediaError if nothing can be
    listed, ConfigurationError if the store refuses to be used.
    """
    check_url(url)
    if _scheme(url) in WEB:
        yield web_item(url, spool)
        return
    filesystem, path = _filesystem(url, allow_private=spool.fetcher.allow_private)
    with translated():
        entries = _entries(filesystem, path)
    root = path.rstrip("/")
    for name in sorted(entries):
        info = entries[name]
        relative = name.removeprefix(root).lstrip("/") or name.rpartition("/")[2]
        left_out = any(map(is_left_out, relative.split("/"))) and name != path
        if info.get("type") == "file" and not left_out and wants(relative):
            yield _store_item(url, filesystem, name, info, spool.fetcher.max_bytes)


def is_whole(url: str) -> bool:
    """Whether `listed` lists all that is below the URL."""
    return _scheme(url) not in WEB and not any(c in url for c in "*?[")


def web_item(url: str, spool: Spool) -> Item:
    """One web address. A change shows in the time, size or tag that the server gives."""
    try:
        headers = spool.fetcher.look(url)
    except MediaError as error:
        if error.code == "refused":
            return Item(SourceFile(url, url, 0, 0), Broken(error.code, error.reason))
        # Not every server answers HEAD. No file has this size, so it will be fetched.
        return Item(SourceFile(url, url, -1, 0), WebFile(url))
    # Without time and tag only the content shows whether it changed.
    size = headers.size if headers.mtime_ns or headers.etag else -1
    return Item(SourceFile(url, url, size, headers.mtime_ns), WebFile(url), revision=headers.etag)


def _scheme(url: str) -> str:
    return url.partition("://")[0].lower()


def _filesystem(url: str, *, allow_private: bool) -> tuple[Any, str]:
    import fsspec

    scheme = _scheme(url)
    parts = urlsplit(url)
    if scheme in HOSTED:
        if parts.password:
            raise QueryError("a password in a URL would be stored; use a key", param="paths")
        # The same guard, and the vetted address in place of the name.
        target = vetted(f"http://{parts.hostname}:8080/", allow_private=allow_private)
        with translated():
            filesystem = fsspec.filesystem(
                "sftp",
                host=target.addresses[0],
                port=parts.port or 22,
                timeout=OPENING_SECONDS,
                **({"username": parts.username} if parts.username else {}),
            )
        return filesystem, parts.path or "/"
    with translated():
        filesystem, path = fsspec.core.url_to_fs(url)
    return filesystem, str(path)


def _entries(filesystem: Any, path: str) -> dict[str, dict[str, Any]]:
    # fsspec keeps file systems, and their listings, as long as the process lives.
    filesystem.invalidate_cache()
    if any(c in path for c in "*?["):
        return dict(filesystem.glob(path, detail=True))
    info = filesystem.info(path)
    if info.get("type") == "file":
        return {path: info}
    return dict(filesystem.find(path, detail=True))


def _store_item(
    url: str, filesystem: Any, name: str, info: Mapping[str, Any], max_bytes: int
) -> Item:
    parts = urlsplit(url)
    scheme = _scheme(url)
    inside = quote(name.lstrip("/"), safe="/")
    uri = f"{scheme}://{parts.netloc}/{inside}" if scheme in HOSTED else f"{scheme}://{inside}"
    size = int(info.get("size") or 0)
    shown = f"{uri.partition('://')[0]}://{display_path(name.lstrip('/'))}"
    mtime_ns = _modified(info)
    file = SourceFile(uri, shown, size, mtime_ns)
    tag = "" if mtime_ns else str(info.get("ETag") or info.get("etag") or info.get("md5Hash") or "")
    if size > max_bytes:
        reason = f"The file is larger than the {max_bytes >> 20} MiB allowed."
        return Item(file, Broken("too_large", reason))
    return Item(file, StoreFile(filesystem, name, name.rpartition("/")[2]), revision=tag)


def _modified(info: Mapping[str, Any]) -> int:
    """Nanoseconds since 1970; 0 if unknown."""
    for name in ("LastModified", "last_modified", "mtime", "updated", "created"):
        value = info.get(name)
        if isinstance(value, datetime):
            aware = value if value.tzinfo else value.replace(tzinfo=UTC)
            return int(aware.timestamp() * 1e9)
        if isinstance(value, int | float):
            return int(value * 1e9)
        if isinstance(value, str):
            try:
                return int(datetime.fromisoformat(value).timestamp() * 1e9)
            except ValueError:
                continue
    return 0


@contextmanager
def translated() -> Iterator[None]:
    """Raise errors of store libraries as MediaError or ConfigurationError."""
    try:
        yield
    except MMSearchError:
        raise
    except ImportError as error:
        raise ConfigurationError(f"a package for this URL is missing: {error}") from None
    except FileNotFoundError:
        raise MediaError("missing", "There is no such file or folder.") from None
    except PermissionError as error:
        raise MediaError("unreadable", f"The store refuses access: {error}.") from None
    except TimeoutError:
        raise MediaError("timeout", "The store did not answer in time.") from None
    except Exception as error:  # noqa: BLE001  # each store's library has exceptions of its own
        detail = f"{type(error).__name__}: {error}".split("\n", 1)[0][:200]
        raise MediaError("network", f"The store could not be reached ({detail}).") from None
