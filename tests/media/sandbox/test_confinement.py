"""What code that has taken over a decoding worker can reach: nothing."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from mmsearch.errors import ConfigurationError, MediaError
from mmsearch.media.parts import DecodeRequest, TextPart
from mmsearch.media.sandbox import confinement, pool
from mmsearch.media.sandbox.confinement import Confinement
from mmsearch.media.sandbox.pool import Sandbox

FULL = Confinement(limits=True, landlock=True, seccomp=True)

pytestmark = pytest.mark.skipif(
    confinement.available() != FULL, reason="this system cannot confine a worker fully"
)

# Runs as the parent of a confined child, both of the same user. Each attempt is an escape; the
# child reports those that worked. Everything is imported before, as in a worker.
_ESCAPES = r"""
import ctypes, fcntl, json, mmap, os, resource, signal, socket, subprocess
import sys, sysconfig, threading
from pathlib import Path
from mmsearch.media.sandbox import confinement

folder, port, user, package = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])
secret, target, alive = (os.path.join(folder, n) for n in ("secret", "target", "alive"))
libc = ctypes.CDLL(None, use_errno=True)
sysconfig.get_config_vars()  # loads a module that another user may not be able to read
if user:
    os.setgroups([])
    os.setgid(user)
    os.setuid(user)
confinement.hide_memory()
os.environ["SECRET"] = "key"
unused = os.pipe()
readable, writable = os.pipe()
child = os.fork()
if child:
    os.close(writable)
    report = b""
    while chunk := os.read(readable, 65536):
        report += chunk
    os.waitpid(child, 0)
    sys.stdout.write(report.decode())
    sys.exit(0)
parent, worked = os.getppid(), []
confinement.limit_resources(3072)
layers = confinement.confine(package)

def attempt(name, action):
    try:
        result = action()
    except (OSError, ValueError, RuntimeError, subprocess.SubprocessError):
        return
    if not (isinstance(result, int) and result < 0):
        worked.append(name)

def call(number, *arguments):
    return libc.syscall(ctypes.c_long(number), *arguments)

def read(path):
    with open(path, "rb") as file:
        return len(file.read(16))

def thread_with(flags):
    stack = ctypes.create_string_buffer(65536)
    return call(56, ctypes.c_long(flags), None, None, None, None)

def shared_mapping():
    descriptor = os.open(target, os.O_RDWR)
    mmap.mmap(descriptor, 4096, mmap.MAP_SHARED, mmap.PROT_WRITE)[0] = 0

x86 = os.uname().machine == "x86_64"
attempt("read a file of the user", lambda: read(secret))
attempt("read /etc/passwd", lambda: read("/etc/passwd"))
attempt("read the parent's memory", lambda: os.open(f"/proc/{parent}/mem", os.O_RDONLY))
attempt("write the parent's memory", lambda: os.open(f"/proc/{parent}/mem", os.O_RDWR))
attempt("read the parent's environment", lambda: read(f"/proc/{parent}/environ"))
attempt("read the parent's maps", lambda: read(f"/proc/{parent}/maps"))
attempt("list the parent's descriptors", lambda: len(os.listdir(f"/proc/{parent}/fd")))
attempt("open the parent's descriptor", lambda: os.open(f"/proc/{parent}/fd/0", os.O_RDONLY))
attempt("list the user's folder", lambda: len(os.listdir(folder)))
attempt("overwrite by O_TRUNC", lambda: os.open(target, os.O_RDONLY | os.O_TRUNC))
attempt("overwrite by a shared mapping", shared_mapping)
attempt("create a file", lambda: os.open(os.path.join(folder, "new"), os.O_WRONLY | os.O_CREAT))
attempt("create a file without a name", lambda: os.open(folder, os.O_TMPFILE | os.O_RDWR))
attempt("append to a file", lambda: os.open(target, os.O_WRONLY | os.O_APPEND))
attempt("truncate a file", lambda: os.truncate(target, 0))
attempt("remove a file", lambda: os.unlink(target))
attempt("rename a file", lambda: os.rename(target, target + "2"))
attempt("make a link", lambda: os.link(target, target + "3"))
attempt("make a symbolic link", lambda: os.symlink(target, target + "4"))
attempt("make a folder", lambda: os.mkdir(os.path.join(folder, "made")))
attempt("change a mode", lambda: os.chmod(target, 0o777))
attempt("set times", lambda: os.utime(target))
attempt("set an attribute", lambda: os.setxattr(target, "user.x", b"1"))
attempt("connect", lambda: socket.socket().connect(("127.0.0.1", port)))
attempt("open a datagram socket", lambda: socket.socket(socket.AF_INET6, socket.SOCK_DGRAM))
attempt("open a local socket", lambda: socket.socket(socket.AF_UNIX))
attempt("make a pair of sockets", socket.socketpair)
attempt("run a program", lambda: subprocess.run(["/bin/true"], check=True))
attempt("replace this process", lambda: os.execv(sys.executable, [sys.executable, "-c", ""]))
attempt("fork", os.fork)
attempt("signal the parent", lambda: os.kill(parent, 0))
attempt("signal everybody", lambda: os.kill(-1, 0))
attempt("signal a thread of the parent", lambda: call(234, parent, parent, 0) if x86 else -1)
attempt("limit the parent", lambda: resource.prlimit(parent, resource.RLIMIT_CPU, (1, 1)))
attempt("read the parent's limits", lambda: len(resource.prlimit(parent, resource.RLIMIT_CPU)))
attempt("take a descriptor by a pidfd", lambda: call(434, parent, 0))
attempt("trace the parent", lambda: call(101, 16, parent, 0, 0) if x86 else -1)
attempt("read memory by process_vm_readv", lambda: call(310, parent, 0, 0, 0, 0, 0) if x86 else -1)
attempt("new user namespace", lambda: call(272, 0x10000000) if x86 else -1)
attempt("clone a namespace", lambda: thread_with(0x10000000 | signal.SIGCHLD) if x86 else -1)
attempt("clone a process", lambda: thread_with(signal.SIGCHLD) if x86 else -1)
attempt("clone by clone3", lambda: call(435, ctypes.create_string_buffer(88), 88))
attempt("io_uring", lambda: call(425, 8, ctypes.create_string_buffer(120)))
attempt("bpf", lambda: call(321, 0, None, 0) if x86 else -1)
attempt("memfd", lambda: os.memfd_create("x"))
attempt("userfaultfd", lambda: call(323, 0) if x86 else -1)
attempt("mount", lambda: libc.mount(b"none", folder.encode(), b"tmpfs", 0, None))
attempt("change the root", lambda: os.chroot(folder))
attempt("own signals of a pipe", lambda: fcntl.fcntl(unused[0], fcntl.F_SETOWN, parent))
attempt("type into the terminal", lambda: fcntl.ioctl(0, 0x5412, b"x"))
attempt("raise a limit", lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (10**6, 10**6)))
attempt("be dumpable", lambda: libc.prctl(4, 1, 0, 0, 0))
attempt("open by a handle", lambda: call(304, 0, None, 0) if x86 else -1)
attempt("another ABI", lambda: call(0x40000000 + 57) if x86 else -1)

# What decoding needs does work.
started = threading.Thread(target=lambda: needed.append("a thread"))
needed = []
started.start()
started.join()
needed.append(os.urandom(4) and "randomness")
needed.append(read("/etc/ld.so.cache") and "a library")
signal.alarm(60)
confinement.limit_processor(60)
os.write(writable, json.dumps([layers.missing, worked, needed]).encode())
os._exit(0)
"""


def _ids() -> list[int]:
    """As the user of the tests; as root also as an unprivileged user."""
    return [0, 65534] if os.getuid() == 0 else [0]


@pytest.mark.parametrize("user", _ids())
def test_nothing_leads_out_of_a_worker(tmp_path: Path, user: int) -> None:
    """More than fifty ways out, tried from inside against the parent, its files and the system."""
    folder = tmp_path / "files"
    folder.mkdir()
    for name in ("secret", "target"):
        (folder / name).write_bytes(b"x" * 4096)
    if user:
        for path in (folder, *folder.iterdir()):
            os.chown(path, user, user)
        for path in (tmp_path, *tmp_path.parents):
            if path.stat().st_uid == 0 and path != Path("/"):
                path.chmod(path.stat().st_mode | 0o111)
    package = Path(pool.__file__).parents[2]
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.2)
        done = subprocess.run(
            [sys.executable, "-c", _ESCAPES, str(folder), str(listener.getsockname()[1]),
             str(user), str(package)],
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | {"PYTHONPATH": str(package.parent)},
            timeout=120,
        )  # fmt: skip
        with pytest.raises(TimeoutError):
            listener.accept()
    assert done.returncode == 0, done.stderr
    assert done.stdout, done.stderr
    missing, worked, needed = json.loads(done.stdout)
    assert missing == []
    assert worked == []
    assert needed == ["a thread", "randomness", "a library"]
    assert sorted(path.name for path in folder.iterdir()) == ["secret", "target"]
    assert (folder / "target").read_bytes() == b"x" * 4096


def test_a_worker_reads_its_file_and_no_other(tmp_path: Path) -> None:
    """A file comes as a descriptor: the worker learns its name, and nothing of its folder."""
    (tmp_path / "note.txt").write_text("A note about herons.")
    with Sandbox(1, require_confinement=True) as sandbox:
        (part,) = sandbox.decode(DecodeRequest(path=str(tmp_path / "note.txt")))
        assert isinstance(part, TextPart)
        assert "herons" in part.text
        list(sandbox.decode(DecodeRequest(content=b"The next one.")))
        # Open descriptors of the worker: its pipes, its socket, /dev/null.
        links = [os.readlink(f) for f in Path(f"/proc/{sandbox.pids[0]}/fd").iterdir()]  # noqa: PTH115
        assert not [link for link in links if link.startswith(str(tmp_path))]


def test_missing_layers_are_reported_or_refused(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A warning, once; with `require_confinement` nothing is decoded."""
    weak = Confinement(limits=True, landlock=False, seccomp=True)
    real = pool._Worker.__init__

    def start(worker: pool._Worker, memory_mb: int, seconds: float) -> None:
        real(worker, memory_mb, seconds)
        worker.confinement = weak

    monkeypatch.setattr(pool._Worker, "__init__", start)
    with Sandbox(2, files_per_worker=1) as sandbox:
        for _ in range(2):
            assert len(list(sandbox.decode(DecodeRequest(content=b"A note.")))) == 1
    warnings = [r for r in caplog.records if "landlock" in r.getMessage()]
    assert len(warnings) == 1
    with (
        Sandbox(1, require_confinement=True) as strict,
        pytest.raises(ConfigurationError, match="landlock"),
    ):
        list(strict.decode(DecodeRequest(content=b"A note.")))


@pytest.mark.parametrize("kind", ["fifo", "device", "folder", "link to a folder"])
def test_only_regular_files_are_opened(tmp_path: Path, kind: str) -> None:
    """Others are refused before anything is opened, so that nothing blocks."""
    path = tmp_path / "x"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "device":
        path = Path("/dev/zero")
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to(tmp_path)
    with Sandbox(1) as sandbox, pytest.raises(MediaError) as caught:
        list(sandbox.decode(DecodeRequest(path=str(path))))
    assert caught.value.code == "unsupported"
