"""A process that appends calls to a ledger and prints each fingerprint once it is acknowledged.

    python -m valbench_dagster_tests.ledger_child URL NAME FIRST COUNT

The calls ask `q{FIRST}`, `q{FIRST + 1}`, ...; their replies begin with NAME. Sixteen are under way at once, and after
every hundred the process looks up what it has, as a run does.
"""

import asyncio
import sys

from valbench_dagster.adapters.ledger.sql_ledger import SqlLedger
from valbench_dagster_tests.llm_fakes import request, stored

AT_ONCE = 16


async def append_all(ledger: SqlLedger, name: str, first: int, count: int) -> None:
    """Append the calls from sixteen workers."""
    numbers = iter(range(first, first + count))

    async def worker() -> None:
        for number in numbers:
            asked = request(f"q{number}")
            await ledger.append(stored(asked, f"{name} {number} ".encode() * 100, run=name))
            print(asked.fingerprint, flush=True)  # noqa: T201 - this is what the process is for
            if number % 100 == 0:
                assert asked.fingerprint in ledger.known([asked.fingerprint, request("nobody's").fingerprint])

    await asyncio.gather(*(worker() for _ in range(AT_ONCE)))


if __name__ == "__main__":
    url, name, first, count = sys.argv[1:]
    with SqlLedger(url) as opened:
        asyncio.run(append_all(opened, name, int(first), int(count)))
