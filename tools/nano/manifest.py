"""Write the ``manifest.json`` by which the loader refuses a damaged or incomplete model folder.

Usage: ``python tools/nano/manifest.py DIR NAME [--version 1] [--created-by SCRIPT]``
"""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path

MANIFEST = "manifest.json"


def write_manifest(folder: Path, name: str, version: str = "1", created_by: str = "") -> Path:
    """Hash every file below ``folder`` (relative POSIX paths) into ``folder/manifest.json``.

    Shape: ``{"name", "version", "files": {path: {"sha256", "bytes"}}, "created_by"}``.
    Raises FileNotFoundError when the folder holds no files.
    """
    files = {
        path.relative_to(folder).as_posix(): {
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "bytes": path.stat().st_size,
        }
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != MANIFEST and "__pycache__" not in path.parts
    }
    if not files:
        raise FileNotFoundError(f"no model files in {folder}")
    manifest = {"name": name, "version": version, "files": files, "created_by": created_by}
    target = folder / MANIFEST
    target.write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    return target


def main() -> None:
    """Write the manifest of one folder and print its path."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("name")
    parser.add_argument("--version", default="1")
    parser.add_argument("--created-by", default="")
    args = parser.parse_args()
    print(write_manifest(args.folder, args.name, args.version, args.created_by))


if __name__ == "__main__":
    main()
