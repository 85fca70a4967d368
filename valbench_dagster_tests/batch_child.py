"""A process that asks by batches until it is done or killed: `python -m ... LEDGER_URL BASE_URL QUESTIONS RUN`.

It prints BEGIN when it begins and DONE when it is done. The key is the test server's.
"""

import logging
import sys

from valbench_dagster.adapters.ledger.sql_ledger import SqlLedger
from valbench_dagster.adapters.openai.batch import OpenAIBatchTransport
from valbench_dagster.llm.batches.flow import ask_by_batches
from valbench_dagster.llm.batches.port import BatchLimits
from valbench_dagster.llm.endpoint import EndpointSettings
from valbench_dagster.steps.interrupts import run_interruptibly
from valbench_dagster_tests.batch_fakes import STEP, asked
from valbench_dagster_tests.batch_server import KEY

LEASE_S = 1.0
"""How long the plan of a killed run is respected here: no other process is at work beside."""
LIMITS = BatchLimits(requests_a_file=500)


def say(word: str) -> None:
    """Tell the test where this process is."""
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


async def main(ledger_url: str, base_url: str, number: int, run: str) -> None:
    with SqlLedger(ledger_url) as ledger:
        async with OpenAIBatchTransport(EndpointSettings("lab", base_url, api_key=KEY)) as transport:
            say("BEGIN")
            await ask_by_batches(
                asked(number),
                ledger,
                transport,
                run,
                lambda _: None,
                step=STEP,
                poll_s=0.1,
                lease_s=LEASE_S,
                limits=LIMITS,
                rounds=100,
            )
    say("DONE")


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    try:
        run_interruptibly(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]))
    except KeyboardInterrupt:
        sys.exit(130)
