"""Snapshots are published whole or not at all, and refused when damaged or foreign."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import resource
import struct
import time
import zlib
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest

from mmsearch.errors import SnapshotError, StorageError
from mmsearch.types import Vectors
from mmsearch.vectors import snapshot
from mmsearch.vectors.faiss.index import FaissIndex
from mmsearch.vectors.snapshot import (
    SnapshotKey,
    read_header,
    read_snapshot,
    write_snapshot,
)

KEY = SnapshotKey(library="a library", space="a model", channel="image", dimension=16)
restore = partial(FaissIndex.restore, exact_below=0, device="cpu")


def unit(count: int, seed: int = 0) -> Vectors:
    vectors = np.random.default_rng(seed).standard_normal((count, 16), dtype=np.float32)
    result: Vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return result


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def make_small() -> FaissIndex:
    return FaissIndex.build(np.arange(40), unit(40), device="cpu")


@pytest.fixture(scope="module")
def compressed() -> FaissIndex:
    """A compressed index with removals and a tail."""
    index = FaissIndex.build(np.arange(3000), unit(3000), exact_below=0, device="cpu")
    assert index.stats().type.startswith("PQ")
    index.remove(np.arange(0, 100, 2))
    index.add(np.arange(5000, 5050), unit(50, seed=1))
    return index


def publish(path: Path, index: FaissIndex, generation: int = 1) -> None:
    write_snapshot(path, index, KEY, high_water_mark=7 * generation, generation=generation)


def test_what_is_published_is_read_back(tmp_path: Path, compressed: FaissIndex) -> None:
    path = tmp_path / "indexes" / "image.index"
    written = write_snapshot(path, compressed, KEY, high_water_mark=812, generation=3)
    index, header = read_snapshot(path, KEY, restore)
    assert header == written == read_header(path)
    assert (header.high_water_mark, header.generation, header.count) == (812, 3, 3000)
    assert header.type == compressed.stats().type
    assert header.recall == compressed.stats().recall
    assert header.recall is not None
    assert header.recall >= 0.98
    assert header.parameters["k_factor"] >= 30
    assert index.stats() == replace(compressed.stats(), memory_bytes=index.stats().memory_bytes)
    assert index.generation == compressed.generation == 3
    queries = unit(20, seed=5)
    for allowed in (None, np.arange(0, 6000, 7)):
        for ours, theirs in zip(
            index.search(queries, 10, allowed=allowed),
            compressed.search(queries, 10, allowed=allowed),
            strict=True,
        ):
            np.testing.assert_array_equal(ours, theirs)


def test_an_empty_index_is_published(tmp_path: Path) -> None:
    path = tmp_path / "index"
    publish(path, FaissIndex(16, device="cpu"))
    index, header = read_snapshot(path, KEY, restore)
    assert (len(index), header.count) == (0, 0)


def test_an_exact_snapshot_holds_no_removed_vector(tmp_path: Path) -> None:
    path = tmp_path / "index"
    index = FaissIndex(16, device="cpu")
    index.add(np.arange(40), unit(40))
    gone = unit(40)[3].astype(np.float16).tobytes()
    publish(path, index)
    assert gone in path.read_bytes()
    index.remove(np.array([3]))
    publish(path, index)
    assert gone not in path.read_bytes()


def test_a_newer_generation_replaces_the_older(tmp_path: Path) -> None:
    path = tmp_path / "index"
    index = make_small()
    publish(path, index, 1)
    index.remove(np.array([3]))
    publish(path, index, 2)
    restored, header = read_snapshot(path, KEY, restore)
    assert (header.generation, len(restored)) == (2, 39)
    assert names(tmp_path) == ["index"]


def test_an_index_of_another_dimension_is_not_published(tmp_path: Path) -> None:
    with pytest.raises(SnapshotError, match="dimension 8"):
        publish(tmp_path / "index", FaissIndex(8, device="cpu"))
    assert names(tmp_path) == []


# ---------------------------------------------------------------------------- refusal


def test_a_missing_snapshot_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(SnapshotError, match="there is no snapshot"):
        read_snapshot(tmp_path / "index", KEY, restore)


def test_a_pipe_or_a_device_is_refused(tmp_path: Path) -> None:
    """Without being opened: a pipe would wait for a writer."""
    os.mkfifo(tmp_path / "pipe")
    descriptor = os.open(tmp_path / "pipe", os.O_RDWR)
    os.write(descriptor, b"x" * 4096)  # so that code which opens it fails and does not hang
    (tmp_path / "device").symlink_to("/dev/null")
    for name in ("pipe", "device"):
        with pytest.raises(SnapshotError, match="is not a regular file"):
            read_snapshot(tmp_path / name, KEY, restore)
    os.close(descriptor)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"library": "another"}, "another library: 'a library' instead of 'another'"),
        ({"space": "another"}, "another space: 'a model' instead of 'another'"),
        ({"channel": "text"}, "another channel: 'image' instead of 'text'"),
        ({"dimension": 32}, "another dimension: 16 instead of 32"),
    ],
)
def test_a_foreign_snapshot_is_refused(tmp_path: Path, change: dict[str, Any], why: str) -> None:
    path = tmp_path / "index"
    publish(path, make_small())
    with pytest.raises(SnapshotError, match=why):
        read_snapshot(path, replace(KEY, **change), restore)


def test_a_snapshot_cut_short_anywhere_is_refused(tmp_path: Path, compressed: FaissIndex) -> None:
    path = tmp_path / "index"
    publish(path, compressed)
    whole = path.read_bytes()
    lengths = [0, 1, 7, 8, 15, 16, 40, 300, 511, 512, 600, len(whole) - 64, len(whole) - 1]
    lengths += np.random.default_rng(0).integers(0, len(whole), 60).tolist()
    for length in lengths:
        path.write_bytes(whole[:length])
        with pytest.raises(SnapshotError, match="cut short"):
            read_snapshot(path, KEY, restore)
    path.write_bytes(whole + b"\0")
    with pytest.raises(SnapshotError, match="longer than written"):
        read_snapshot(path, KEY, restore)


def test_a_changed_byte_anywhere_is_noticed(tmp_path: Path, compressed: FaissIndex) -> None:
    path = tmp_path / "index"
    publish(path, compressed)
    whole = path.read_bytes()
    places = [*range(0, 1100, 5), len(whole) - 1]
    places += np.random.default_rng(0).integers(0, len(whole), 60).tolist()
    for place in places:
        damaged = bytearray(whole)
        damaged[place] ^= 1 << (place % 8)
        path.write_bytes(damaged)
        with pytest.raises(SnapshotError, match=r"damaged|not a vector index|cut short"):
            read_snapshot(path, KEY, restore)
    path.write_bytes(b"not a snapshot at all, but long enough to be one")
    with pytest.raises(SnapshotError, match="not a vector index of mmsearch"):
        read_snapshot(path, KEY, restore)


def forge(path: Path, **changes: Any) -> None:
    """Rewrite the header, its checksum included, as only a hostile writer would."""
    whole = path.read_bytes()
    length = struct.unpack_from("<I", whole, 8)[0]
    payload = whole[-(-(16 + length) // 64) * 64 :]
    raw = json.loads(whole[16 : 16 + length]) | changes
    header = json.dumps({k: v for k, v in raw.items() if v is not ...}).encode()
    prefix = struct.pack("<8sII", b"MMSINDEX", len(header), zlib.crc32(header))
    filling = bytes(-(len(prefix) + len(header)) % 64)
    path.write_bytes(prefix + header + filling + payload)


IDS = {"name": "main_ids", "dtype": "<i8", "shape": [40]}
ROWS = {"name": "main_vectors", "dtype": "<f2", "shape": [40, 16]}


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"format": 2}, "written in format 2; this version reads 1"),
        ({"format": ...}, "'format' is missing"),
        ({"key": ...}, "'key' is missing"),
        ({"key": {"library": "a library"}}, "another space"),
        ({"blocks": 3}, "'blocks' is missing or malformed"),
        ({"blocks": [3]}, "'blocks' are malformed"),
        ({"blocks": [IDS]}, "no usable part 'main_vectors'"),
        ({"blocks": [ROWS, IDS]}, "."),
        ({"blocks": [IDS | {"shape": [10**15]}, ROWS]}, "beyond the end"),
        ({"blocks": [IDS | {"shape": [-1]}, ROWS]}, "unknown kind"),
        ({"blocks": [IDS | {"dtype": "O"}, ROWS]}, "unknown kind"),
        ({"blocks": [IDS | {"shape": [39]}, ROWS]}, "do not belong together"),
        ({"blocks": [IDS, ROWS | {"shape": [20, 32]}]}, "do not belong together"),
        ({"count": 39}, "holds 40 vectors, its header says 39"),
        ({"payload_length": 10**15}, "cut short"),
        ({"checksum": 1}, "checksum"),
        ({"recall": "high"}, "'recall'"),
        ({"generation": "1"}, "'generation'"),
        ({"created_at": "yesterday"}, "malformed"),
    ],
)
def test_a_forged_header_is_refused(tmp_path: Path, changes: dict[str, Any], why: str) -> None:
    path = tmp_path / "index"
    publish(path, make_small())
    forge(path)
    assert len(read_snapshot(path, KEY, restore)[0]) == 40
    forge(path, **changes)
    with pytest.raises(SnapshotError, match=why):
        read_snapshot(path, KEY, restore)


def test_compressed_codes_of_other_vectors_are_refused(
    tmp_path: Path, compressed: FaissIndex
) -> None:
    content = compressed.export()
    others = FaissIndex.build(np.arange(3000), unit(3000, seed=3), exact_below=0, device="cpu")
    fewer = FaissIndex.build(np.arange(2000), unit(2000), exact_below=0, device="cpu")
    for codes, why in (
        (others.export().blocks["compressed"], "disagrees"),
        (fewer.export().blocks["compressed"], "not that of its vectors"),
        (np.zeros(100, dtype=np.uint8), "FAISS cannot read"),
    ):
        changed = replace(content, blocks={**content.blocks, "compressed": codes})
        with pytest.raises(SnapshotError, match=why):
            restore(changed)


# ---------------------------------------------------------------------------- publication


def test_a_full_disk_leaves_the_old_snapshot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "index"
    publish(path, make_small())

    def full(descriptor: int) -> NoReturn:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    index = make_small()
    index.remove(np.array([1]))
    with pytest.raises(StorageError, match="No space left"):
        publish(path, index, 2)
    assert names(tmp_path) == ["index"]
    assert read_header(path).generation == 1
    assert index.generation == 0


def test_a_write_that_fails_leaves_the_old_snapshot(tmp_path: Path) -> None:
    """A file may be 1,000 bytes long here: the disk refuses the rest."""
    path = tmp_path / "index"
    publish(path, make_small())
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limit[1]))
    try:
        with pytest.raises(StorageError, match="too large"):
            publish(path, make_small(), 2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert names(tmp_path) == ["index"]
    assert read_header(path).generation == 1


def write_for_ever(path: Path) -> None:
    def wait(*_: object) -> None:
        (path.parent / "writing").touch()
        time.sleep(60)

    snapshot.os.fsync = wait  # type: ignore[attr-defined]
    publish(path, make_small(), 2)


def test_a_killed_writer_leaves_the_old_snapshot_and_no_litter(tmp_path: Path) -> None:
    path = tmp_path / "index"
    publish(path, make_small())
    writer = multiprocessing.get_context("spawn").Process(target=write_for_ever, args=(path,))
    writer.start()
    deadline = time.monotonic() + 60
    while not (tmp_path / "writing").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert len(list(tmp_path.glob(".index.*.tmp"))) == 1
    assert snapshot.remove_leftovers(path) == 0, "the file of a living writer is let alone"
    writer.kill()
    writer.join()
    assert read_header(path).generation == 1
    assert len(list(tmp_path.glob(".index.*.tmp"))) == 1
    publish(path, make_small(), 3)
    assert list(tmp_path.glob(".index.*.tmp")) == []
    assert read_header(path).generation == 3
