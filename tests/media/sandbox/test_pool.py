"""Decoding workers: a crash, a hang or a bomb costs one file; nothing is left behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mmsearch.errors import ConfigurationError, MediaError
from mmsearch.media.parts import (
    AudioPart,
    DecodeRequest,
    ImagePart,
    TextPart,
)
from mmsearch.media.sandbox.confinement import NICENESS
from mmsearch.media.sandbox.pool import Sandbox
from mmsearch.types import Preprocess
from tests.support.pictures import png

NOTE = DecodeRequest(content=b"A note.")


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def eventually(condition: Callable[[], bool], seconds: float = 15.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False


def works(sandbox: Sandbox) -> bool:
    (part,) = sandbox.decode(NOTE)
    return isinstance(part, TextPart) and part.text == "A note."


@pytest.fixture(scope="module")
def slow_picture(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A valid picture of 100 million pixels, which takes about a second."""
    path = tmp_path_factory.mktemp("slow") / "slow.png"
    path.write_bytes(png(10_000, 10_000, rows=10_000))
    return str(path)


def test_parts_arrive_as_they_were_made(sandbox: Sandbox, spec: Preprocess, data: Path) -> None:
    photo = next((data / "images").glob("flickr8k_*.jpg"))
    for request in (
        DecodeRequest(path=str(photo), preprocess=spec, thumbnail=100),
        DecodeRequest(content=photo.read_bytes(), preprocess=spec, thumbnail=100),
    ):
        (picture,) = sandbox.decode(request)
        assert isinstance(picture, ImagePart)
        assert picture.mime == "image/jpeg"
        assert picture.pixels is not None
        assert picture.pixels.shape == (224, 224, 3)
        assert picture.thumbnail is not None
        assert picture.metadata["format"] == "JPEG"
    (sound,) = sandbox.decode(DecodeRequest(path=str(data / "audio/jfk.wav")))
    assert isinstance(sound, AudioPart)
    assert sound.last
    assert len(sound.samples) == 11 * 16_000
    assert works(sandbox)


def test_only_what_is_welcome(sandbox: Sandbox) -> None:
    with pytest.raises(MediaError, match="a picture is needed") as caught:
        list(sandbox.decode(DecodeRequest(content=b"A note.", kinds=("image",))))
    assert caught.value.code == "unsupported"


@pytest.mark.parametrize("name", ["missing", "folder", "pipe"])
def test_what_is_no_regular_file(sandbox: Sandbox, tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(MediaError) as caught:
        list(sandbox.decode(DecodeRequest(path=str(tmp_path / name))))
    assert caught.value.code == ("missing" if name == "missing" else "unsupported")


def test_names_that_are_no_text(sandbox: Sandbox, tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/-caf\xe9\n.txt"
    with open(path, "wb") as file:  # noqa: PTH123  # bytes
        file.write(b"inside")
    (part,) = sandbox.decode(DecodeRequest(path=os.fsdecode(path)))
    assert isinstance(part, TextPart)
    assert part.text == "inside"


def test_a_hang_is_ended(slow_picture: str) -> None:
    with Sandbox(1, seconds=0.5) as sandbox:
        assert works(sandbox)
        before = sandbox.pids
        start = time.monotonic()
        with pytest.raises(MediaError) as caught:
            list(sandbox.decode(DecodeRequest(path=slow_picture, thumbnail=3000)))
        assert caught.value.code == "timeout"
        assert time.monotonic() - start < 5
        assert not any(alive(pid) for pid in before)
        assert works(sandbox)


def test_a_memory_bomb_is_refused() -> None:
    with Sandbox(1, memory_mb=512) as sandbox:
        with pytest.raises(MediaError) as caught:
            list(sandbox.decode(DecodeRequest(content=png(13_000, 13_000), thumbnail=100)))
        assert caught.value.code == "memory"
        assert works(sandbox)


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGSEGV, "crashed"), (signal.SIGABRT, "crashed")],
)
def test_a_crash_costs_one_file(slow_picture: str, number: int, code: str) -> None:
    with Sandbox(1) as sandbox:
        assert works(sandbox)
        (pid,) = sandbox.pids
        killer = threading.Timer(0.15, os.kill, (pid, number))
        killer.start()
        with pytest.raises(MediaError) as caught:
            list(sandbox.decode(DecodeRequest(path=slow_picture, thumbnail=300)))
        killer.join()
        assert caught.value.code == code
        assert works(sandbox)
        assert sandbox.pids != (pid,)


def test_a_file_whose_worker_was_killed_is_decoded_once_more(slow_picture: str) -> None:
    """SIGKILL is what the kernel's out-of-memory killer sends, for whatever used the memory."""
    with Sandbox(1) as sandbox:
        assert works(sandbox)
        (pid,) = sandbox.pids
        killer = threading.Timer(0.15, os.kill, (pid, signal.SIGKILL))
        killer.start()
        assert len(list(sandbox.decode(DecodeRequest(path=slow_picture, thumbnail=300)))) == 1
        killer.join()
        assert sandbox.pids != (pid,)


def test_the_second_death_is_the_files(slow_picture: str) -> None:
    """A file that needs too much memory each time fails, and nothing else does."""
    over = threading.Event()
    with Sandbox(1) as sandbox:
        assert works(sandbox)

        def kill() -> None:
            while not over.wait(0.15):
                for pid in sandbox.pids:
                    os.kill(pid, signal.SIGKILL)

        killer = threading.Thread(target=kill)
        killer.start()
        with pytest.raises(MediaError) as caught:
            list(sandbox.decode(DecodeRequest(path=slow_picture, thumbnail=300)))
        over.set()
        killer.join()
        assert caught.value.code == "memory"
        assert works(sandbox)


def test_a_worker_that_died_idle_is_replaced() -> None:
    with Sandbox(1) as sandbox:
        assert works(sandbox)
        (pid,) = sandbox.pids
        os.kill(pid, signal.SIGKILL)
        assert eventually(lambda: not alive(pid))
        assert works(sandbox)


def test_workers_are_renewed() -> None:
    with Sandbox(1, files_per_worker=3) as sandbox:
        seen = set()
        for _ in range(6):
            assert works(sandbox)
            seen |= set(sandbox.pids)
        assert len(seen) == 2


def test_an_abandoned_file_does_not_block(sandbox: Sandbox, data: Path) -> None:
    request = DecodeRequest(path=str(data / "audio/long_mixed_dev.mp3"), audio_chunk_seconds=31)
    for _ in range(3):
        parts = sandbox.decode(request)
        first = next(parts)
        assert isinstance(first, AudioPart)
        assert not first.last
        parts.close()  # type: ignore[attr-defined]  # a generator
    assert works(sandbox)


def test_many_threads_share_few_workers(sandbox: Sandbox) -> None:
    def one(number: int) -> bool:
        (part,) = sandbox.decode(DecodeRequest(content=f"Note {number}.".encode()))
        return isinstance(part, TextPart) and part.text == f"Note {number}."

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(one, range(200)))
    assert len(sandbox.pids) <= 2


def test_a_slow_reader_is_no_timeout(data: Path) -> None:
    path = str(data / "audio/long_mixed_dev.mp3")
    with Sandbox(1, seconds=4) as sandbox:
        starts = []
        for part in sandbox.decode(DecodeRequest(path=path, audio_chunk_seconds=100)):
            assert isinstance(part, AudioPart)
            starts.append(part.start)
            if len(starts) == 1:
                time.sleep(5)
    assert len(starts) >= 3


def test_close_ends_busy_workers(slow_picture: str) -> None:
    sandbox = Sandbox(1)
    assert works(sandbox)
    pids = sandbox.pids
    with ThreadPoolExecutor(1) as pool:
        busy = pool.submit(lambda: list(sandbox.decode(DecodeRequest(path=slow_picture))))
        time.sleep(0.2)
        sandbox.close()
        with pytest.raises(RuntimeError, match="closed"):
            busy.result(10)
    assert not any(alive(pid) for pid in pids)
    with pytest.raises(RuntimeError, match="closed"):
        works(sandbox)
    sandbox.close()


def test_a_worker_has_no_secrets_and_no_rights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMSEARCH_API_KEYS", "secret")
    with open(os.devnull, "rb") as mine, Sandbox(1, memory_mb=700) as sandbox:  # noqa: PTH123
        os.set_inheritable(mine.fileno(), True)
        assert works(sandbox)
        place = Path(f"/proc/{sandbox.pids[0]}")
        assert b"secret" not in (place / "environ").read_bytes()
        limits = {
            line[:25].strip(): line[26:].split()[:2]
            for line in (place / "limits").read_text().splitlines()[1:]
        }
        assert limits["Max address space"] == [str(700 * 2**20)] * 2
        assert limits["Max core file size"] == ["0", "0"]
        assert limits["Max file size"] == ["0", "0"]
        assert os.getpgid(sandbox.pids[0]) != os.getpgid(0)
        # Linux weighs niceness within a session only, where sessions share the processor evenly.
        assert os.getsid(sandbox.pids[0]) == os.getsid(0)
        niceness = os.getpriority(os.PRIO_PROCESS, sandbox.pids[0])
        assert niceness == min(19, os.getpriority(os.PRIO_PROCESS, 0) + NICENESS)
        # Its own copies of /dev/null are written to; ours is read.
        for descriptor in (place / "fdinfo").iterdir():
            flags = int((descriptor.read_text().split("flags:")[1]).split()[0], 8)
            target = str((place / "fd" / descriptor.name).readlink())
            assert (target, flags & 3) != (os.devnull, os.O_RDONLY)


def test_processor_time_is_bounded() -> None:
    """A step that spins without end is ended by the kernel, whatever it does to signals."""
    code = (
        "import signal; from mmsearch.media.sandbox.confinement import limit_processor\n"
        "limit_processor(1)\n"
        "while True: pass"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, timeout=120)
    assert done.returncode == -signal.SIGXCPU


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (
            "list.m3u8",
            "#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nhttp://127.0.0.1:{port}/a.ts\n",
        ),
        ("list.m3u", "#EXTM3U\nhttp://127.0.0.1:{port}/a.mp3\n"),
        ("list.ffconcat", "ffconcat version 1.0\nfile 'http://127.0.0.1:{port}/a.mp4'\n"),
        ("list.pls", "[playlist]\nFile1=http://127.0.0.1:{port}/a.mp3\n"),
        ("a.sdp", "v=0\nc=IN IP4 127.0.0.1\nm=audio {port} RTP/AVP 0\n"),
        ("a.mpd", "<MPD><Period><BaseURL>http://127.0.0.1:{port}/</BaseURL></Period></MPD>"),
        (
            "a.svg",
            "<svg xmlns='http://www.w3.org/2000/svg'><image href='http://127.0.0.1:{port}/'/></svg>",
        ),
        ("a.html", "<img src='http://127.0.0.1:{port}/'><p>words</p>"),
        ("a.ram", "rtsp://127.0.0.1:{port}/a.rm\n"),
    ],
)
def test_files_that_point_elsewhere_are_not_followed(
    sandbox: Sandbox, tmp_path: Path, name: str, content: str
) -> None:
    """Playlists and pages are text, or refused; what they name is never asked for."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.1)
        path = tmp_path / name
        path.write_text(content.format(port=listener.getsockname()[1]))
        try:
            parts = list(sandbox.decode(DecodeRequest(path=str(path))))
            assert all(isinstance(part, TextPart) for part in parts)
        except MediaError as error:
            assert error.code in {"unsupported", "corrupt", "empty"}  # noqa: PT017
        with pytest.raises(TimeoutError):
            listener.accept()


def test_too_little_memory_to_start_is_a_setting_at_fault() -> None:
    with Sandbox(1, memory_mb=16) as sandbox, pytest.raises(ConfigurationError) as caught:
        works(sandbox)
    assert caught.value.param == "decode_memory_mb"


@pytest.mark.parametrize("busy", [False, True])
def test_kill_of_the_parent_leaves_no_orphan(busy: bool, slow_picture: str) -> None:
    program = (
        "import json, sys, threading, time\n"
        "from mmsearch.media.sandbox.pool import Sandbox\n"
        "from mmsearch.media.parts import DecodeRequest\n"
        "sandbox = Sandbox(2)\n"
        "list(sandbox.decode(DecodeRequest(content=b'text')))\n"
        "print(json.dumps(sandbox.pids), flush=True)\n"
        "if sys.argv[1]:\n"
        "    list(sandbox.decode(DecodeRequest(path=sys.argv[1], thumbnail=3000)))\n"
        "time.sleep(60)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", program, slow_picture if busy else ""],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[3],
    )
    with parent:
        assert parent.stdout is not None
        pids = json.loads(parent.stdout.readline())
        assert len(pids) == 1
        assert all(alive(pid) for pid in pids)
        time.sleep(0.2 if busy else 0)
        parent.kill()
    assert eventually(lambda: not any(alive(pid) for pid in pids), 5)


def test_workers_know_no_models() -> None:
    """Starting one must stay cheap."""
    program = (
        "import sys, mmsearch.media.sandbox.worker, mmsearch.media.sandbox.pool\n"
        "import mmsearch.media.decoders\n"
        "heavy = {'torch', 'fastapi', 'sqlalchemy', 'av', 'chardetng_py', 'lxml', 'pydantic'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True,
        cwd=Path(__file__).parents[3],
    )  # fmt: skip
    assert answer.stdout.strip() == "[]"


# ------------------------------------------------------------------ the language between them


def test_a_picture_is_read_to_its_end_so_that_its_worker_is_used_again() -> None:
    """Twenty pictures for a second look must not start twenty processes."""
    with Sandbox(1) as sandbox:
        request = DecodeRequest(content=png(40, 30, rows=30), kinds=("image",), thumbnail=64)
        assert sandbox.picture(request) is not None
        first = sandbox.pids
        assert sandbox.picture(request) is not None
        assert sandbox.pids == first
        assert sandbox.picture(NOTE) is None
