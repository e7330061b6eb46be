"""What many tests share: where the real data lies, and stores in throw-away databases."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, text

from mmsearch.stores import migrate
from mmsearch.stores.store import SqlStore
from tests.support.required import (  # hooks: pytest finds them here
    pytest_addoption,
    pytest_configure,
    pytest_sessionfinish,
    pytest_terminal_summary,
)

__all__ = [
    "pytest_addoption",
    "pytest_configure",
    "pytest_sessionfinish",
    "pytest_terminal_summary",
]


@pytest.fixture(scope="session")
def data() -> Path:
    """Real photos, speech, documents and hostile files; the test is skipped without them."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("MMSEARCH_TEST_DATA", default))
    if not folder.is_dir():
        pytest.skip("the shared test data is not here (MMSEARCH_TEST_DATA)")
    return folder


@pytest.fixture(scope="session")
def cases(data: Path) -> Path:
    """Small files like those that public bug reports are about; skipped without them."""
    folder = data.parent / "cases"
    if not folder.is_dir():
        pytest.skip("the shared cases are not here (beside MMSEARCH_TEST_DATA)")
    return folder


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """URL of a throw-away PostgreSQL cluster; skipped where PostgreSQL is not installed."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    initdb = shutil.which("initdb") or (str(folders[-1] / "initdb") if folders else None)
    if initdb is None:
        pytest.skip("PostgreSQL is not installed")
    bin_folder = Path(initdb).resolve().parent
    # Not below pytest's folder: another run of pytest on this machine would take away the access
    # of PostgreSQL's user, which cannot be root.
    user = "postgres" if os.geteuid() == 0 else None
    place = Path(tempfile.mkdtemp(prefix="mmsearch-postgresql-"))
    if user is not None:
        shutil.chown(place, user)
    cluster = place / "cluster"

    def pg(program: str, *arguments: str) -> None:
        subprocess.run(
            [bin_folder / program, *arguments],
            user=user,
            check=True,
            cwd=place,
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
            stdout=subprocess.DEVNULL,
        )

    pg("initdb", "-D", str(cluster), "-U", "tester", "--auth=trust", "--no-sync", "-E", "UTF8")
    options = f"-c listen_addresses='' -c unix_socket_directories={place} -c fsync=off"
    pg("pg_ctl", "-D", str(cluster), "-o", options, "-l", str(place / "log"), "-w", "start")
    yield f"postgresql+psycopg://tester@/postgres?host={place}"
    pg("pg_ctl", "-D", str(cluster), "-m", "immediate", "-w", "stop")
    shutil.rmtree(place, ignore_errors=True)


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite database with the newest schema, to be copied: migrating each time is slow."""
    path = tmp_path_factory.mktemp("migrated") / "library.sqlite"
    made = SqlStore(f"sqlite:///{path}")
    migrate.upgrade(made.database.engine)
    made.close()
    return path


@pytest.fixture(scope="session")
def postgresql_template(postgresql: str) -> Iterator[Engine]:
    """A server on which CREATE DATABASE makes an empty library with the newest schema."""
    made = SqlStore(postgresql.replace("/postgres?", "/template1?"))
    migrate.upgrade(made.database.engine)
    made.close()
    admin = create_engine(postgresql, isolation_level="AUTOCOMMIT")
    yield admin
    admin.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SqlStore]:
    """An empty store with the newest schema, on each database that mmsearch supports."""
    if request.param == "sqlite":
        path = tmp_path / "library.sqlite"
        shutil.copy(request.getfixturevalue("migrated"), path)
        url = f"sqlite:///{path}"
    else:
        admin: Engine = request.getfixturevalue("postgresql_template")
        with admin.connect() as connection:
            connection.execute(text("DROP DATABASE IF EXISTS library WITH (FORCE)"))
            connection.execute(text("CREATE DATABASE library"))
        url = request.getfixturevalue("postgresql").replace("/postgres?", "/library?")
    made = SqlStore(url)
    yield made
    made.close()
