"""What the engine is held against: a raw aiohttp client, and the installed SDK's synchronous client in threads.

    python -m benchmarks.inference.clients raw BASE_URL --calls 10000 [--concurrency 256]
    python -m benchmarks.inference.clients threads BASE_URL --calls 10000 [--concurrency 512]

Each asks the same questions as `engine.py`, keeps nothing, and prints `READY`, then one line of JSON like it. `raw` is
as little as a client can do: as many workers as places, each sending its next question and reading the reply's text.
`threads` is how one writes it down first, and how the benchmark's authors did.
"""

import argparse
import asyncio
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict

import orjson

from benchmarks.inference.engine import Cost, peak_megabytes, questions
from valbench_dagster.llm.apis.wire import request_body


def _bodies(count: int) -> Iterator[dict[str, object]]:
    """Give the body of every question."""
    return (request_body(question.request) for question in questions(0, count))


def _ready() -> tuple[float, float]:
    print("READY", flush=True)
    sys.stdin.readline()
    return time.process_time(), time.monotonic()


def _cost(count: int, start: tuple[float, float]) -> Cost:
    cpu, began = start
    used = time.process_time() - cpu
    return Cost(count, 0, began, time.monotonic(), used, 0.0, time.process_time(), peak_megabytes())


async def raw(base_url: str, count: int, concurrency: int) -> Cost:
    """Ask with aiohttp and orjson alone."""
    import aiohttp

    bodies = _bodies(count)
    replies = 0

    async def work(session: aiohttp.ClientSession) -> None:
        nonlocal replies
        for body in bodies:
            async with session.post(f"{base_url}/chat/completions", data=orjson.dumps(body), headers=headers) as answer:
                replies += bool(orjson.loads(await answer.read())["choices"][0]["message"]["content"])

    headers = {"content-type": "application/json"}
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=concurrency)) as session:
        start = _ready()
        await asyncio.gather(*(work(session) for _ in range(concurrency)))
        assert replies == count
        return _cost(count, start)


def threads(base_url: str, count: int, concurrency: int) -> Cost:
    """Ask with the SDK's synchronous client, one for all threads, each taking the next question."""
    from openai import OpenAI

    bodies, taking = _bodies(count), threading.Lock()
    replies = [0] * concurrency
    with OpenAI(base_url=base_url, api_key="none", max_retries=0) as client:

        def work(number: int) -> None:
            while True:
                with taking:
                    body = next(bodies, None)
                if body is None:
                    return
                answer = client.chat.completions.create(**body)  # type: ignore[call-overload]  # a body as it is sent
                replies[number] += bool(answer.choices[0].message.content)

        workers = [threading.Thread(target=work, args=(number,)) for number in range(concurrency)]
        start = _ready()
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert sum(replies) == count
        return _cost(count, start)


def main() -> None:
    """Ask by one of the two and print what it cost."""
    parser = argparse.ArgumentParser(description="Clients that the engine is held against.")
    parser.add_argument("client", choices=("raw", "threads"))
    parser.add_argument("base_url")
    parser.add_argument("--calls", type=int, required=True)
    parser.add_argument("--concurrency", type=int, default=256)
    chosen = parser.parse_args()
    ask: Callable[[], Cost] = {
        "raw": lambda: asyncio.run(raw(chosen.base_url, chosen.calls, chosen.concurrency)),
        "threads": lambda: threads(chosen.base_url, chosen.calls, chosen.concurrency),
    }[chosen.client]
    print(json.dumps(asdict(ask())), flush=True)


if __name__ == "__main__":
    main()
