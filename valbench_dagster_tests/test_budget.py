"""The budget of a run: what is set aside, who waits, when it stops, and that it never passes its caps."""

import asyncio
from dataclasses import dataclass
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from valbench_dagster.llm.budget import Budget, BudgetReached, Caps, Reserved, Spent
from valbench_dagster.llm.calls import Message, Prices, Request, ServedModel
from valbench_dagster.llm.ledger import FinishedCall
from valbench_dagster.llm.reserve import INPUT_OVERHEAD, UNLIMITED_OUTPUT, input_tokens_at_most, output_limit

BODY = b"x" * 300
"""Three bytes a token, 100 tokens of overhead and one for the rounding: at most 201 tokens."""

READ = 201


def asked(limit: int | None = 99, prices: Prices | None = None) -> Request:
    """A request whose reply has at most `limit` tokens: with `BODY`, 300 tokens in all."""
    sent = {} if limit is None else {"max_tokens": limit}
    served = ServedModel("lab", "lab", "chat", "m", 1, sent, prices=prices or Prices(1e6, 1e6))
    return Request(served, (Message("user", "why?"),))


def ended(
    read: int | None = 50,
    written: int | None = 10,
    *,
    cost: float | None = None,
    kind: str = "reply",
    body: bytes = BODY,
) -> FinishedCall:
    """A call that has ended; at the prices of `asked` a token costs 1."""
    told = float((read or 0) + (written or 0)) if cost is None else cost
    return FinishedCall(
        fingerprint="f",
        kind="reply" if kind == "reply" else "failed",
        endpoint="lab",
        provider="lab",
        model="m",
        request=body,
        reply=b"{}" if kind == "reply" else None,
        status=200,
        message=None,
        input_tokens=read if kind == "reply" else None,
        output_tokens=written if kind == "reply" else None,
        started_at="2026-11-21T12:00:00.000+00:00",
        latency=1.0,
        attempts=1,
        run="run",
        cost=told if kind == "reply" else None,
    )


async def until_still() -> None:
    """Let every task go on as far as it can."""
    for _ in range(20):
        await asyncio.sleep(0)


def test_the_most_that_a_call_can_cost_is_set_aside() -> None:
    async def scenario() -> None:
        # 201 tokens of prompt at 2 and 99 of reply at 10 a million: (402 + 990) / 1e6.
        assert await Budget(Caps()).admit(asked(prices=Prices(2, 10)), BODY) == Reserved(0.001392, 300, READ)
        # A prompt from the cache may cost more than others where that is the price: 201 x 3 + 990.
        dear = await Budget(Caps()).admit(asked(prices=Prices(2, 10, cached_in=3)), BODY)
        assert dear.cost == pytest.approx(0.001593)

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("fields", "limit"),
    [
        ({}, None),
        ({"max_tokens": 7}, 7),
        ({"max_completion_tokens": 8}, 8),
        ({"max_output_tokens": 9}, 9),
        ({"max_tokens": 7, "max_completion_tokens": 80}, 80),
        ({"max_tokens": 7, "n": 3}, 21),
        ({"n": 3}, None),
        ({"max_tokens": None}, None),
    ],
)
def test_the_limit_of_a_reply_is_read_off_the_settings(fields: dict[str, object], limit: int | None) -> None:
    assert output_limit(fields) == limit


def test_without_a_limit_the_longest_reply_seen_decides_once_it_passes_the_default() -> None:
    async def scenario() -> None:
        budget = Budget(Caps())
        first = await budget.admit(asked(None), BODY)
        assert first.tokens == READ + UNLIMITED_OUTPUT
        budget.settle(first, ended(50, 1000))
        second = await budget.admit(asked(None), BODY)
        assert second.tokens == READ + UNLIMITED_OUTPUT  # 1.5 x 1000 is less than the default
        budget.settle(second, ended(50, 4000))
        assert (await budget.admit(asked(None), BODY)).tokens == READ + 6000

    asyncio.run(scenario())


def test_a_prompt_with_more_tokens_than_thought_raises_what_is_set_aside_for_the_next() -> None:
    async def scenario() -> None:
        budget = Budget(Caps())
        # 300 bytes made 400 tokens, 100 of them overhead: a byte a token.
        budget.settle(await budget.admit(asked(0), BODY), ended(400, 0))
        assert (await budget.admit(asked(0), BODY)).tokens == 300 + INPUT_OVERHEAD + 1

    asyncio.run(scenario())


def test_what_a_call_says_of_itself_takes_the_place_of_what_was_set_aside() -> None:
    async def scenario() -> None:
        budget = Budget(Caps(tokens=1000))
        budget.settle(await budget.admit(asked(), BODY), ended(50, 10, cost=0.25))
        assert budget.spent == Spent(0.25, 50, 10, 1)

    asyncio.run(scenario())


def test_a_call_without_a_reply_costs_nothing_but_the_call() -> None:
    async def scenario() -> None:
        budget = Budget(Caps(calls=1))
        budget.settle(await budget.admit(asked(), BODY), ended(kind="failed"))
        assert budget.spent == Spent(0.0, 0, 0, 1)
        with pytest.raises(BudgetReached, match="all 1 of max_calls are made"):
            await budget.admit(asked(), BODY)

    asyncio.run(scenario())


def test_a_call_that_never_ended_gives_its_room_back() -> None:
    async def scenario() -> None:
        budget = Budget(Caps(cost=300.0, tokens=300, calls=1))
        budget.settle(await budget.admit(asked(), BODY), None)
        assert budget.spent == Spent()
        await budget.admit(asked(), BODY)

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("read", "written", "spent"), [(None, None, (201, 99)), (None, 10, (201, 10)), (50, None, (50, 99))]
)
def test_tokens_that_a_server_does_not_count_stay_at_what_was_set_aside(
    read: int | None, written: int | None, spent: tuple[int, int]
) -> None:
    async def scenario() -> None:
        budget = Budget(Caps(tokens=500))
        budget.settle(await budget.admit(asked(), BODY), ended(read, written))
        assert budget.spent == Spent(300.0, *spent, 1)
        with pytest.raises(BudgetReached, match="did not count the tokens of 1 call"):
            await budget.admit(asked(limit=400), BODY)

    asyncio.run(scenario())


def test_a_call_waits_where_those_in_flight_may_leave_it_room() -> None:
    async def scenario() -> None:
        budget = Budget(Caps(tokens=600))
        first, second = [await budget.admit(asked(), BODY) for _ in range(2)]
        third = asyncio.create_task(budget.admit(asked(), BODY))
        await until_still()
        assert not third.done(), "600 of 600 tokens are set aside"
        budget.settle(first, ended(150, 150))
        await until_still()
        assert not third.done(), "300 are spent and 300 set aside"
        budget.settle(second, ended(0, 0))
        assert (await third).tokens == 300

    asyncio.run(scenario())


def test_calls_are_let_in_in_the_order_in_which_they_asked() -> None:
    async def scenario() -> None:
        budget, order = Budget(Caps(tokens=600)), []

        async def ask(name: str, limit: int) -> None:
            await budget.admit(asked(limit), BODY)
            order.append(name)

        held = await budget.admit(asked(399), BODY)
        tasks = [asyncio.create_task(ask("large", 299)), asyncio.create_task(ask("small", 0))]
        await until_still()
        assert order == [], "the small one would have found no room either: 600 are set aside"
        budget.settle(held, ended(100, 0))
        await until_still()
        assert order == ["large"], "100 are spent, 500 set aside"
        tasks[1].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(scenario())


def test_a_small_call_does_not_overtake_a_large_one() -> None:
    async def scenario() -> None:
        budget = Budget(Caps(tokens=700))
        await budget.admit(asked(99), BODY)
        large = asyncio.create_task(budget.admit(asked(299), BODY))
        await until_still()
        small = asyncio.create_task(budget.admit(asked(0), BODY))
        await until_still()
        assert (large.done(), small.done()) == (False, False)
        for task in (large, small):
            task.cancel()
        await asyncio.gather(large, small, return_exceptions=True)

    asyncio.run(scenario())


def test_all_who_wait_are_turned_away_when_no_end_of_a_call_can_make_room() -> None:
    async def scenario() -> None:
        budget = Budget(Caps(cost=650.0))
        held = [await budget.admit(asked(), BODY) for _ in range(2)]
        waiting = [asyncio.create_task(budget.admit(asked(), BODY)) for _ in range(5)]
        await until_still()
        assert not any(task.done() for task in waiting)
        # 360 spent: 300 more do not fit under 650 even if the other call cost nothing. It still ends and is counted.
        budget.settle(held[0], ended(360, 0))
        errors = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(error) for error in errors] == [BudgetReached] * 5
        assert "1 call made; 360 of max_cost 650.0 is spent; the next call may cost" in str(errors[0])
        budget.settle(held[1], ended(100, 0))
        assert "2 calls made; 460 of max_cost 650.0 is spent" in str(errors[0]), "the message keeps up"
        assert "run again to go on, or raise max_cost in [defaults]" in str(errors[0])
        with pytest.raises(BudgetReached):
            await budget.admit(asked(0), b"")

    asyncio.run(scenario())


def test_one_who_cannot_wait_is_told_whether_there_is_room_now() -> None:
    async def scenario() -> None:
        budget = Budget(Caps(tokens=600))
        held = [budget.admit_now(asked(), BODY) for _ in range(2)]
        assert budget.admit_now(asked(), BODY) is None, "600 of 600 are set aside, and their end may make room"
        waiting = asyncio.create_task(budget.admit(asked(), BODY))
        await until_still()
        budget.settle(held[0] or Reserved(0, 0), ended(0, 0))
        assert budget.admit_now(asked(), BODY) is None, "who waited has the room"
        budget.settle(await waiting, ended(100, 300))
        for _ in range(2):
            with pytest.raises(BudgetReached, match="400 of max_tokens 600 are used; the next call may take 300"):
                budget.admit_now(asked(), BODY)

    asyncio.run(scenario())


def test_a_cap_that_the_run_has_passed_before_stops_it_before_the_first_call() -> None:
    async def scenario(caps: Caps) -> None:
        with pytest.raises(BudgetReached):
            await Budget(caps, Spent(21.0, 900, 101, 50)).admit(asked(0, Prices()), b"")

    for caps in (Caps(cost=20.0), Caps(tokens=1000), Caps(calls=50)):
        asyncio.run(scenario(caps))


def test_a_call_that_is_too_much_by_itself_says_so() -> None:
    async def scenario() -> None:
        with pytest.raises(BudgetReached, match="The next call alone is more than max_tokens allows: raise it"):
            await Budget(Caps(tokens=299), Spent(input_tokens=10)).admit(asked(), BODY)

    asyncio.run(scenario())


def test_a_free_model_is_held_by_calls_and_tokens_alone() -> None:
    async def scenario() -> None:
        budget = Budget(Caps(cost=1e-9, calls=3))
        for _ in range(3):
            budget.settle(await budget.admit(asked(prices=Prices()), BODY), ended(cost=0.0))
        with pytest.raises(BudgetReached, match="max_calls"):
            await budget.admit(asked(prices=Prices()), BODY)

    asyncio.run(scenario())


def test_one_who_is_cancelled_while_waiting_leaves_no_trace() -> None:
    async def scenario() -> None:
        budget = Budget(Caps(calls=1))
        held = await budget.admit(asked(), BODY)
        gone, next_one = (asyncio.create_task(budget.admit(asked(), BODY)) for _ in range(2))
        await until_still()
        gone.cancel()
        budget.settle(held, None)
        await until_still()
        assert gone.cancelled()
        assert next_one.done()

    asyncio.run(scenario())


def test_one_who_is_cancelled_when_just_let_in_gives_the_room_to_the_next() -> None:
    async def scenario() -> None:
        budget = Budget(Caps(calls=1))
        held = await budget.admit(asked(), BODY)
        gone, next_one = (asyncio.create_task(budget.admit(asked(), BODY)) for _ in range(2))
        await until_still()
        budget.settle(held, None)  # `gone` is let in now, and told of it at its next turn
        gone.cancel()
        await until_still()
        assert gone.cancelled()
        assert next_one.done()

    asyncio.run(scenario())


ENDINGS = ("reply", "reply", "reply", "failed", "never", "cancelled")


@dataclass(frozen=True)
class Scripted:
    """A call of a random run: its bytes, its limit, the tokens it has of both, how it ends and after how many turns."""

    bytes: int
    limit: int
    read: int
    written: int
    cached: int
    ending: str
    turns: int


def scripted(rng: Random) -> Scripted:
    """Draw a call that keeps to the promise: often the most it may be, sometimes nothing."""
    size, limit = rng.choice([0, 30, 300, 3000]), rng.choice([0, 1, 50, 2000])
    use = rng.choice([0.0, rng.random(), 1.0])
    read = int(use * input_tokens_at_most(size))
    return Scripted(
        size, limit, read, int(use * limit), rng.choice([0, read]), rng.choice(ENDINGS), rng.randrange(1, 6)
    )


shares = st.none() | st.floats(0.01, 1.2)


@settings(max_examples=300)
@given(seed=st.integers(0, 10**9), number=st.integers(1, 30), cost=shares, tokens=shares, most=shares, before=shares)
def test_no_cap_is_ever_passed_and_nobody_waits_for_nothing(
    seed: int, number: int, cost: float | None, tokens: float | None, most: float | None, before: float | None
) -> None:
    """Random calls end in a random order: what is spent then passes no cap, and nobody is left waiting.

    Each call keeps to the promise: no more tokens than its limit and the bound of its prompt. Caps are shares of what
    all calls together could cost, and so is what was spent before; a cap that was passed by then is not passed further.
    """
    rng = Random(seed)
    prices = Prices(rng.choice([0.0, 2.5]), rng.choice([0.0, 10.0]), rng.choice([None, 0.5, 4.0]))
    calls = [scripted(rng) for _ in range(number)]
    all_tokens = sum(input_tokens_at_most(call.bytes) + call.limit for call in calls)
    all_cost = sum(prices.cost(input_tokens_at_most(call.bytes), call.limit) for call in calls)
    earlier = (
        Spent(all_cost * before / 2, int(all_tokens * before / 2), 0, int(number * before / 2)) if before else Spent()
    )
    caps = Caps(
        None if cost is None else all_cost * cost,
        None if tokens is None else max(1, int(all_tokens * tokens)),
        None if most is None else max(1, int(number * most)),
    )
    in_flight = [0]

    async def one(budget: Budget, call: Scripted) -> str:
        body, told = b"x" * call.bytes, None
        reserved = await budget.admit(asked(call.limit, prices), body)
        in_flight[0] += 1
        assert caps.calls is None or budget.spent.calls + in_flight[0] <= caps.calls
        try:
            for _ in range(call.turns):
                await asyncio.sleep(0)
            if call.ending != "never":
                paid = prices.cost(call.read, call.written, call.cached)
                told = ended(call.read, call.written, cost=paid, kind=call.ending, body=body)
        finally:
            in_flight[0] -= 1
            budget.settle(reserved, told)
        return "made"

    async def run() -> tuple[Budget, list[object]]:
        budget = Budget(caps, earlier)
        tasks = [asyncio.create_task(one(budget, call)) for call in calls]
        for task, call in zip(tasks, calls, strict=True):
            if call.ending == "cancelled":
                for _ in range(rng.randrange(4)):
                    await asyncio.sleep(0)
                task.cancel()
        _, waiting = await asyncio.wait(tasks, timeout=5)
        assert not waiting
        return budget, list(await asyncio.gather(*tasks, return_exceptions=True))

    budget, ends = asyncio.run(run())
    for end in ends:
        assert end == "made" or isinstance(end, BudgetReached | asyncio.CancelledError), end
    spent = budget.spent
    assert spent.calls - earlier.calls <= ends.count("made")
    if caps.cost is not None:
        assert spent.cost <= max(caps.cost, earlier.cost) * (1 + 1e-9)
    if caps.tokens is not None:
        assert spent.input_tokens + spent.output_tokens <= max(caps.tokens, earlier.input_tokens)
    if caps.calls is not None:
        assert spent.calls <= max(caps.calls, earlier.calls)
