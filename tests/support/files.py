"""Pictures and tar shards, as bytes and as files."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

from PIL import Image

Files = dict[str, bytes | str]
"""Contents by name."""


def png(colour: str, size: tuple[int, int] = (40, 30)) -> bytes:
    """A picture of one colour."""
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, "PNG")
    return buffer.getvalue()


def shard_bytes(files: Files, mode: str = "w") -> bytes:
    """A tar with these members, in their order; `mode` "w:gz" compresses it."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as tar:  # type: ignore[call-overload]
        for name, content in files.items():
            data = content.encode() if isinstance(content, str) else content
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def shard(path: Path, files: Files, mode: str = "w") -> Path:
    """The same as a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(shard_bytes(files, mode))
    return path
