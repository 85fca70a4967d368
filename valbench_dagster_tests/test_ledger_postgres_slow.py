"""The ledger in a real PostgreSQL: the same laws, and connections that break at every moment."""

import asyncio
import itertools
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from valbench_dagster.adapters.ledger.connection import Patience
from valbench_dagster.adapters.ledger.sql_ledger import LedgerRefused, LedgerUnwritable, SqlLedger
from valbench_dagster_tests.ledger_laws import LAWS, append, batch_event, record
from valbench_dagster_tests.llm_fakes import request, stored
from valbench_dagster_tests.postgres_server import PostgresServer, postgres_server
from valbench_dagster_tests.test_ledger_transfer import contents

pytestmark = pytest.mark.slow

_names = itertools.count()


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with postgres_server() as running:
        yield running


@pytest.fixture
def database(server: PostgresServer) -> str:
    """The name of an empty database."""
    name = f"ledger{next(_names)}"
    server.create_database(name)
    return name


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
def test_on_postgresql(law: Callable[[str], None], server: PostgresServer, database: str) -> None:
    law(server.url(database))


def test_the_plain_name_of_the_database_is_enough(server: PostgresServer, database: str) -> None:
    with SqlLedger(server.url(database).replace("+psycopg", "")) as ledger:
        assert ledger.count() == 0


def test_a_commit_survives_a_power_cut_whatever_the_database_is_set_to(server: PostgresServer, database: str) -> None:
    server.query(f"ALTER DATABASE {database} SET synchronous_commit = off", database="postgres")
    with SqlLedger(server.url(database)) as ledger, ledger._engine.connect() as connection:
        assert connection.exec_driver_sql("SHOW synchronous_commit").scalar() == "on"


def test_look_ups_of_230_000_are_made_in_few_statements(server: PostgresServer, database: str) -> None:
    with SqlLedger(server.url(database)) as ledger:
        append(ledger, stored(request("a"), b"x"))
        names = [f"{number:032x}" for number in range(230_000)]
        assert ledger.known([*names, request("a").fingerprint]) == {request("a").fingerprint}


def test_an_older_ledger_keeps_what_it_has_and_takes_what_is_new(server: PostgresServer, database: str) -> None:
    server.query(
        "CREATE TABLE calls (id BIGSERIAL PRIMARY KEY, fingerprint VARCHAR(32) NOT NULL, kind VARCHAR(16) NOT NULL, "
        "endpoint TEXT NOT NULL, provider TEXT NOT NULL, model TEXT NOT NULL, request BYTEA NOT NULL, reply BYTEA, "
        "status INTEGER, message TEXT, input_tokens INTEGER, output_tokens INTEGER, started_at VARCHAR(40) NOT NULL, "
        "latency FLOAT NOT NULL, attempts INTEGER NOT NULL, run TEXT NOT NULL)",
        database=database,
    )
    old = request("a").fingerprint
    at = "2026-11-01T00:00:00.000+00:00"
    values = f"(1, '{old}', 'reply', 'e', 'p', 'm', 'q', 'first', 200, NULL, 1, 2, '{at}', 1, 1, 'r')"
    server.query(f"INSERT INTO calls VALUES {values}", database=database)  # noqa: S608 - made two lines above
    server.query("SELECT setval('calls_id_seq', 1)", database=database)
    with ThreadPoolExecutor(6) as pool:
        several = list(pool.map(lambda _: SqlLedger(server.url(database)), range(6)))
    append(several[0], stored(request("a"), b"second"), stored(request("b"), b"x", cost=0.5))
    assert several[5].replies([old]) == {old: b"first"}
    assert several[5].spent("run-1").cost == 0.5
    for ledger in several:
        ledger.close()
    own = f"{old}/{at}/1"
    assert server.query("SELECT call_id FROM calls ORDER BY id LIMIT 1", database=database) == [(own,)]


def test_a_newer_ledger_is_refused(server: PostgresServer, database: str) -> None:
    SqlLedger(server.url(database)).close()
    server.query("INSERT INTO ledger_layout VALUES (7)", database=database)
    with pytest.raises(LedgerRefused, match="has layout 7"):
        SqlLedger(server.url(database))


class _Meanwhile(Patience):
    """Does something once a try has failed: the moment that a test would else have to guess."""

    def __init__(self, what: Callable[[], None]) -> None:
        super().__init__(tries=20)
        self.__dict__.update(what=what)  # a frozen dataclass takes no other way

    def pause(self, failed: int) -> float | None:
        if failed == 2:
            self.__dict__["what"]()
        return None if super().pause(failed) is None else 0.05


def test_a_server_that_restarts_in_the_middle_of_a_run_costs_nothing(server: PostgresServer, database: str) -> None:
    with SqlLedger(server.url(database), _Meanwhile(server.start)) as ledger:
        append(ledger, *(stored(request(f"before {number}"), b"x") for number in range(100)))
        server.stop(at_once=True)
        # The writer finds its connection dead, then nobody who listens; then the server comes back.
        append(ledger, *(stored(request(f"after {number}"), b"x") for number in range(100)))
        server.stop(at_once=True)
        assert len(ledger.known([request(f"after {number}").fingerprint for number in range(100)])) == 100
    assert server.query("SELECT count(*), count(DISTINCT fingerprint) FROM calls", database=database) == [(200, 200)]


def test_a_server_that_stays_away_ends_the_run_in_a_sentence(server: PostgresServer, database: str) -> None:
    ledger = SqlLedger(server.url(database), Patience(tries=3, first_pause_s=0.01))
    try:
        append(ledger, stored(request("a"), b"x"))
        server.stop(at_once=True)
        with pytest.raises(LedgerUnwritable, match=r"cannot be written .*Nothing that is not stored was used"):
            append(ledger, stored(request("b"), b"secret text"))
        with pytest.raises(LedgerUnwritable, match="cannot be read") as caught:
            ledger.known([request("a").fingerprint])
        assert "secret" not in str(caught.value)
    finally:
        server.start()
        ledger.close()


def test_connections_that_are_cut_all_the_time_lose_and_double_nothing(server: PostgresServer, database: str) -> None:
    done = threading.Event()

    def cut() -> int:
        cuts = 0
        while not done.wait(0.05):
            own = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = "
            ((found,),) = server.query(f"{own}'{database}'", database="postgres")
            cuts += int(str(found))
        return cuts

    async def several(ledger: SqlLedger) -> None:
        async def worker(number: int) -> None:
            for serial in range(60):
                await ledger.append(stored(request(f"{number}-{serial}"), b"x" * 2000))

        await asyncio.gather(*(worker(number) for number in range(32)))

    with ThreadPoolExecutor(1) as pool:
        cutting = pool.submit(cut)
        try:
            with SqlLedger(
                server.url(database), Patience(tries=200, first_pause_s=0.01, longest_pause_s=0.01)
            ) as ledger:
                asyncio.run(several(ledger))
        finally:
            done.set()
        assert cutting.result() > 0
    counted = server.query("SELECT count(*), count(DISTINCT fingerprint) FROM calls", database=database)
    assert counted == [(32 * 60, 32 * 60)]


@contextmanager
def losing_answers(port: int) -> Iterator[tuple[int, list[bytes]]]:
    """Pass connections on to a port; the answer to the first commit of a row is lost, and the connection with it.

    Gives the port to connect to, and the list of the answers that were lost.
    """
    lost: list[bytes] = []
    armed = threading.Event()

    def up(client: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := client.recv(65536):
                if b"INSERT INTO calls" in data:
                    armed.set()
                committing = armed.is_set() and b"COMMIT" in data and not lost
                target.sendall(data)
                if committing:
                    lost.append(b"")
            target.shutdown(socket.SHUT_WR)

    def down(client: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := target.recv(65536):
                if lost == [b""] and b"COMMIT" in data:
                    lost[0] = data
                    client.shutdown(socket.SHUT_RDWR)
                    break
                client.sendall(data)
        client.close()
        target.close()

    def serve(listening: socket.socket) -> None:
        with suppress(OSError):
            while True:
                client, _ = listening.accept()
                target = socket.create_connection(("127.0.0.1", port))
                for way in (up, down):
                    threading.Thread(target=way, args=(client, target), daemon=True).start()

    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        threading.Thread(target=serve, args=(listening,), daemon=True).start()
        yield listening.getsockname()[1], lost
        listening.shutdown(socket.SHUT_RDWR)


def test_a_commit_whose_answer_was_lost_is_not_made_twice(server: PostgresServer, database: str) -> None:
    with losing_answers(server.port) as (port, lost):
        url = server.url(database).replace(f":{server.port}/", f":{port}/")
        with SqlLedger(url, Patience(first_pause_s=0.01)) as ledger:
            append(ledger, *(stored(request(f"q{number}"), b"x") for number in range(50)))
        assert lost, "the server's answer to the commit did not come through"
        assert b"COMMIT" in lost[0], "it was committed"
    counted = server.query("SELECT count(*), count(DISTINCT fingerprint) FROM calls", database=database)
    assert counted == [(50, 50)]


def test_a_row_that_is_seen_stays_the_lowest(server: PostgresServer, database: str) -> None:
    # Two writers of one fingerprint; a reader that looks all the time never sees the served reply change.
    asked = request("a")
    done = threading.Event()

    def look() -> set[bytes]:
        seen: set[bytes] = set()
        with SqlLedger(server.url(database)) as ledger:
            while not done.is_set():
                seen.update(ledger.replies([asked.fingerprint]).values())
        return seen

    def write(name: str) -> None:
        with SqlLedger(server.url(database)) as ledger:
            for number in range(20):
                append(ledger, *(stored(asked, f"{name} {number} {one}".encode()) for one in range(10)))

    with ThreadPoolExecutor(4) as pool:
        looking = pool.submit(look)
        writing = [pool.submit(write, name) for name in ("one", "two")]
        try:
            for each in writing:
                each.result()
        finally:
            done.set()
        assert len(looking.result()) == 1


def test_a_ledger_moves_from_sqlite_to_postgresql_and_back(
    server: PostgresServer, database: str, tmp_path: Path
) -> None:
    there, back = tmp_path / "there.parquet", tmp_path / "back.parquet"
    with (
        SqlLedger(f"sqlite:///{tmp_path / 'one.sqlite'}") as one,
        SqlLedger(server.url(database)) as two,
        SqlLedger(f"sqlite:///{tmp_path / 'three.sqlite'}") as three,
    ):
        replies = [stored(request(f"q{n % 400}"), str(n).encode(), cost=n / 7) for n in range(1000)]
        failures = [stored(request(f"q{n}"), None, f"HTTP 500: größer\n{n}") for n in range(300, 600)]
        append(one, *replies, *failures)
        record(one, batch_event("b1", "planned", fingerprints=("f1", "f2")))
        one.export_calls(there)
        two.import_calls(there)
        assert (two.import_calls(there).new_calls, two.import_calls(there).new_events) == (0, 0)
        two.export_calls(back)
        three.import_calls(back)
        assert contents(two, tmp_path) == contents(one, tmp_path)
        assert contents(three, tmp_path) == contents(one, tmp_path)
        fingerprints = [request(f"q{number}").fingerprint for number in range(400)]
        assert three.replies(fingerprints) == two.replies(fingerprints) == one.replies(fingerprints)
        assert three.costs() == two.costs() == one.costs()
        assert three.batch_events() == two.batch_events() == one.batch_events()
