"""A PostgreSQL server of the test's own: made in a temporary folder, on loopback, stopped by its process id.

The programs come from the PATH or from where Debian puts them. The server refuses to run as root: then it runs as the
system's user `postgres`. Where there is no PostgreSQL the tests that need it are skipped and say so.
"""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

USER = "postgres"
START_S = 60.0


def found_programs() -> Path | None:
    """Give the folder with `initdb` and `postgres`, the newest version first; null where there is none."""
    if (on_path := shutil.which("postgres")) and shutil.which("initdb"):
        return Path(on_path).resolve().parent
    versions = Path("/usr/lib/postgresql").glob("*/bin/postgres")
    return max((path.parent for path in versions), key=lambda folder: int(folder.parent.name), default=None)


class PostgresServer:
    """A cluster in `folder` that is started, crashed and stopped as a test wants."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self._programs = programs
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        if os.getuid() == 0:
            owner = pwd.getpwnam(USER)
            os.chown(folder, owner.pw_uid, owner.pw_gid)
        self._run("initdb", "-D", str(folder / "data"), "-U", USER, "-A", "trust", "-E", "UTF8", "--no-sync")

    def url(self, database: str = "postgres") -> str:
        """Give the ledger's URL of a database."""
        return f"postgresql+psycopg://{USER}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Start the server and wait until it answers."""
        options = {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": self._folder,
            "fsync": "off",
        }
        words = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*self._as_user(), str(self._programs / "postgres"), "-D", str(self._folder / "data"), *words],
                cwd=self._folder,
                stdout=log,
                stderr=log,
            )
        self._run("pg_isready", "-h", "127.0.0.1", "-p", str(self.port), "-t", "1", tries=int(START_S * 10))

    def stop(self, *, at_once: bool = False) -> None:
        """Stop the server by its process id; `at_once` drops every connection without a goodbye, as a crash does."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT if at_once else signal.SIGINT)
            self._process.wait(timeout=START_S)
            self._process = None

    def create_database(self, name: str) -> str:
        """Create an empty database and give its URL."""
        self.query(f'CREATE DATABASE "{name}"', database="postgres")
        return self.url(name)

    def query(self, statement: str, *, database: str) -> list[tuple[object, ...]]:
        """Run a statement of the test's own and give its rows."""
        place = f"host=127.0.0.1 port={self.port} user={USER} dbname={database}"
        with psycopg.connect(place, autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def _as_user(self) -> list[str]:
        if os.getuid() != 0:
            return []
        owner = pwd.getpwnam(USER)
        return ["setpriv", f"--reuid={owner.pw_uid}", f"--regid={owner.pw_gid}", "--clear-groups", "--"]

    def _run(self, program: str, *words: str, tries: int = 1) -> None:
        """Run a program of PostgreSQL, up to `tries` times until it succeeds."""
        command = [*self._as_user(), str(self._programs / program), *words]
        for _ in range(tries):
            ended = subprocess.run(command, cwd=self._folder, capture_output=True, check=False, timeout=START_S)
            if ended.returncode == 0:
                return
            if self._process is not None and self._process.poll() is not None:
                break
        log = self._folder / "log"
        said = log.read_text(errors="replace")[-2000:] if log.exists() else ""
        raise RuntimeError(f"{program} failed: {ended.stderr.decode()[-2000:]}{said}")


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """Give a running server of the test's own; skip the test where PostgreSQL is not installed."""
    programs = found_programs()
    if programs is None:
        pytest.skip("PostgreSQL is not installed here (no initdb on the PATH or under /usr/lib/postgresql)")
    folder = Path(tempfile.mkdtemp(prefix="valbench-postgres-"))
    try:
        server = PostgresServer(programs, folder)
        try:
            server.start()
            yield server
        finally:
            server.stop(at_once=True)
    finally:
        shutil.rmtree(folder)
