"""kill -9 in the middle of fifty jobs: each ends done or failed, none lost, none done twice."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from pathlib import Path

import httpx
import pytest
from sqlalchemy import Engine, select, text

from mmsearch.search.engine import SearchEngine
from mmsearch.stores.tables import ChangeRow, RunItemRow, RunRow
from tests.support.fakes import a_picture, open_fake
from tests.support.processes import address, process

ROOT = Path(__file__).resolve().parents[2]
JOBS = 50
SECONDS = 240.0
LEASE = 3.0


def files_of(job: int, folder: Path) -> list[str]:
    """Two pictures and a note that no other job has; of every tenth job, one broken picture."""
    names = [
        str(a_picture(folder / f"{job:02}-{n}.png", (job * 5, 100 + 70 * n, 255 - job * 5)))
        for n in range(2)
    ]
    note = folder / f"{job:02}.txt"
    note.write_text(f"Note number {job} tells of thing{job} and nothing else.")
    names.append(str(note))
    if job % 10 == 0:
        broken = folder / f"{job:02}-broken.jpg"
        broken.write_bytes(b"\xff\xd8\xff" + bytes([job]) * 50)
        names.append(str(broken))
    return names


def enqueue_all(engine: SearchEngine, folder: Path) -> dict[int, list[str]]:
    """Fifty jobs; the last names a profile that cannot be: it fails, with a reason."""
    store = engine.library.store
    folder.mkdir()
    collection = store.collections.get_or_create("default", "nano").id
    made = {}
    for n in range(JOBS - 1):
        names = files_of(n, folder)
        task = {"paths": names, "total": len(names)}
        made[store.jobs.enqueue(collection, "upload", task, max_attempts=50)] = names
    other = store.collections.get_or_create("other", "small").id
    made[store.jobs.enqueue(other, "upload", {"paths": []}, max_attempts=50)] = []
    return made


def states(engine: SearchEngine) -> Counter[str]:
    with engine.library.store.database.engine.connect() as connection:
        return Counter(connection.scalars(select(RunRow.state)))


def finished(engine: SearchEngine) -> int:
    try:
        counted = states(engine)
    except Exception:  # the database may just have been cut off
        return 0
    return sum(counted[state] for state in ("done", "failed"))


def check(engine: SearchEngine, made: dict[int, list[str]]) -> None:
    """Every job over, with one outcome a file; every file there, written once."""
    store = engine.library.store
    assert states(engine) == {"done": JOBS - 1, "failed": 1}
    for job, names in made.items():
        row = store.runs.get(job)
        assert row.finished_at is not None
        if not names:
            assert (row.state, "profile" in (row.error or "")) == ("failed", True)
            continue
        outcomes = {item.path: item for item in store.runs.items(job)}
        with store.database.engine.connect() as connection:
            query = select(RunItemRow.path).where(RunItemRow.run_id == job)
            assert sorted(connection.scalars(query)) == sorted(names)  # each exactly once
        for name in names:
            item = outcomes[name]
            if name.endswith("broken.jpg"):
                assert (item.outcome, item.code) == ("failed", "corrupt")
                assert item.reason
            else:
                # "unchanged": it was committed by an attempt that died before it could tell.
                assert item.outcome in {"indexed", "unchanged"}
    every = [name for names in made.values() for name in names]
    whole = [name for name in every if not name.endswith("broken.jpg")]
    sources = {source.path: source for source in store.sources.list(limit=10_000)}
    assert sorted(sources) == sorted(every)
    assert sorted(p for p, s in sources.items() if s.status == "indexed") == sorted(whole)
    with store.database.engine.connect() as connection:
        changes = connection.execute(select(ChangeRow.op, ChangeRow.source_id)).all()
    # Written once, and never taken back: nothing was done twice.
    assert Counter(tuple(row) for row in changes) == Counter(
        ("add", sources[name].id) for name in whole
    )
    assert engine.library.status(verify=True)["verify"] == {"ok": True, "problems": []}


def until_finished(engine: SearchEngine, began: float) -> None:
    while finished(engine) < JOBS:
        assert time.monotonic() - began < SECONDS, states(engine)
        time.sleep(0.3)


@pytest.mark.timeout(300)
def test_workers_killed_in_the_middle_of_fifty_jobs(tmp_path: Path) -> None:
    """Two workers on one library; one of them is killed again and again."""
    library = tmp_path / "library"
    rng = random.Random(3)
    with open_fake(library) as engine:
        made = enqueue_all(engine, tmp_path / "files")
        began = time.monotonic()
        settings = {"job_lease_seconds": LEASE, "commit_files": 2, "batch_size": 1}
        kills = 0
        with process("worker", library, **settings):
            while finished(engine) < JOBS and kills < 4:
                with process("worker", library, **settings) as victim:
                    seen = finished(engine)
                    while finished(engine) < min(JOBS, seen + 6):
                        assert time.monotonic() - began < SECONDS, states(engine)
                        time.sleep(0.05)
                    time.sleep(rng.uniform(0, 0.3))
                    os.kill(victim.pid, signal.SIGKILL)
                    kills += 1
            until_finished(engine, began)
        assert kills >= 3
        check(engine, made)


@pytest.mark.timeout(300)
def test_the_server_killed_in_the_middle_of_fifty_uploads(tmp_path: Path) -> None:
    """What was answered with 202 is taken in by the servers that follow."""
    library, folder = tmp_path / "library", tmp_path / "files"
    folder.mkdir()
    settings = {"job_lease_seconds": LEASE, "commit_files": 2, "batch_size": 1, "port": 0}
    accepted: dict[int, str] = {}
    began = time.monotonic()
    with open_fake(library) as engine:
        engine.library.store.collections.get_or_create("default", "nano")
        n = kills = 0
        while n < JOBS:
            with process("serve", library, **settings) as server:
                url = address(server)
                stop = n + 13
                while n < min(stop, JOBS):
                    content = a_picture(folder / "p.png", (n * 5, 9, 255 - n * 5)).read_bytes()
                    response = httpx.post(
                        f"{url}v1/uploads", files={"file": (f"{n:02}.png", content)}, timeout=60
                    )
                    assert response.status_code == 202
                    job = response.json()["job"]["id"]
                    accepted[job] = f"{n:02}.png"
                    n += 1
                if n < JOBS:
                    os.kill(server.pid, signal.SIGKILL)
                    kills += 1
                else:
                    until_finished(engine, began)
        assert kills == 3
        assert states(engine) == {"done": JOBS}
        for job, name in accepted.items():
            (item,) = engine.library.store.runs.items(job)
            assert Path(item.path).name == name
            assert item.outcome in {"indexed", "unchanged"}
        assert engine.library.store.status.counts()["sources"] == JOBS
        with engine.library.store.database.engine.connect() as connection:
            changes = list(connection.scalars(select(ChangeRow.op)))
        assert changes == ["add"] * JOBS
        assert engine.library.status(verify=True)["verify"]["ok"]


@pytest.mark.timeout(300)
def test_the_database_cut_off_in_the_middle_of_fifty_jobs(
    tmp_path: Path, postgresql: str, postgresql_template: Engine
) -> None:
    """PostgreSQL ends every connection of the workers, several times."""
    with postgresql_template.connect() as admin:
        admin.execute(text("DROP DATABASE IF EXISTS kills WITH (FORCE)"))
        admin.execute(text("CREATE DATABASE kills"))
    url = postgresql.replace("/postgres?", "/kills?")
    library = tmp_path / "library"
    cut = text(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
        "WHERE datname = 'kills' AND pid <> pg_backend_pid()"
    )
    settings = {
        "job_lease_seconds": LEASE,
        "commit_files": 2,
        "batch_size": 1,
        "database_url": url,
    }
    with open_fake(library, database_url=url) as engine:
        made = enqueue_all(engine, tmp_path / "files")
        began = time.monotonic()
        cuts = ended = 0
        with process("worker", library, **settings), process("worker", library, **settings):
            while finished(engine) < JOBS:
                assert time.monotonic() - began < SECONDS, states(engine)
                if cuts < 6 and finished(engine) >= 5 * cuts:
                    with postgresql_template.connect() as admin:
                        ended += int(admin.scalar(cut) or 0)
                    cuts += 1
                time.sleep(0.3)
        assert cuts == 6
        assert ended >= 6
        check(engine, made)
