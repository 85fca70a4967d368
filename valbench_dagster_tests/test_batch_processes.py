"""Several processes that ask by batches at once, budgets, and batches that a person stops or abandons."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from valbench_dagster.llm.batches.stop import abandon_batch, open_batch, stop_batch
from valbench_dagster.llm.budget import Budget, BudgetReached, Caps, Spent
from valbench_dagster.llm.calls import Question
from valbench_dagster.llm.tally import Tally
from valbench_dagster_tests.batch_fakes import STEP, Killed, Lab, ProviderTransport, asked
from valbench_dagster_tests.batch_provider import BatchProvider, Fate, billed_twice
from valbench_dagster_tests.llm_fakes import question

# --- several processes -----------------------------------------------------------------------------------------------


def together(lab: Lab, *runs: Sequence[Question], **kwargs: Any) -> list[Tally]:
    """Let several runs ask at once, each of its own step."""

    async def all_of_them() -> list[Tally]:
        return await asyncio.gather(
            *(lab.asking(run, run=f"run-{n}", step=f"step-{n}", **kwargs) for n, run in enumerate(runs))
        )

    return asyncio.run(all_of_them())


def test_two_runs_of_the_same_questions_at_once_make_one_batch() -> None:
    lab = Lab()
    tallies = together(lab, asked(6), asked(6))
    assert lab.batches() == [6]
    assert [tally.questions for tally in tallies] == [6, 6]
    assert lab.answered(asked(6)) == ["reply"] * 6
    assert not billed_twice(lab.provider)


def test_runs_that_share_some_questions_pay_for_each_once() -> None:
    lab, questions = Lab(), asked(12)
    together(lab, questions[:8], questions[4:], questions[2:6])
    assert lab.answered(questions) == ["reply"] * 12
    assert not billed_twice(lab.provider)
    assert not lab.ledger.batch_events("lab")


def test_the_plan_of_a_process_that_may_live_is_left_alone_until_its_lease_is_over() -> None:
    lab, questions = Lab(), asked(4)
    lab.ledger.dies_at = "uploaded"
    with pytest.raises(Killed):
        lab.run(questions)
    died_at = lab.clock.time
    lab.run(questions, lease_s=900.0)
    (second_plan,) = [event for event in lab.ledger.events if event.kind == "planned" and event.run == "run-2"]
    assert (lab.clock.time - died_at) > 900
    assert second_plan.at > "2026-11-21T12:15"
    assert lab.batches() == [4]


def test_a_batch_of_which_another_step_wants_replies_stays_open_for_it() -> None:
    lab, questions = Lab(), asked(10)
    lab.ledger.dies_at, lab.ledger.dies_after = "created", True
    with pytest.raises(Killed):
        lab.run(questions)
    lab.run(questions[:3])
    assert lab.answered(questions[:3]) == ["reply"] * 3
    assert len(lab.ledger.calls) == 3
    lab.run(questions)
    assert lab.answered(questions) == ["reply"] * 10
    assert lab.batches() == [10]
    assert lab.clean()


def test_a_question_of_another_endpoint_is_refused() -> None:
    lab = Lab()
    with pytest.raises(LookupError, match="no batches for endpoint other: these go to lab"):
        lab.run([question("q", endpoint="other")])


def test_a_plan_that_was_taken_over_while_its_file_was_uploaded_is_given_up() -> None:
    lab, questions = Lab(), asked(4)
    slow = ProviderTransport(lab.provider, lab.clock, takes=400.0)

    async def both() -> None:
        # The other run plans the same 5 s later, waits 60 s for the slow one, and then does it itself.
        async def later() -> None:
            await lab.clock.sleep(5.0)
            await lab.asking(questions, run="quick", lease_s=60.0)

        await asyncio.gather(lab.asking(questions, run="slow", transport=slow), later())

    asyncio.run(both())
    assert lab.batches() == [4]
    assert Counter(lab.ledger.kinds())["planned"] == 2
    assert lab.answered(questions) == ["reply"] * 4
    assert lab.clean()


@settings(max_examples=40)
@given(
    runs=st.lists(st.sets(st.integers(0, 11), min_size=1), min_size=2, max_size=4),
    deaths=st.lists(
        st.tuples(
            st.sampled_from(["planned", "uploaded", "created", "ended", "collected", "call 0", "call 5"]), st.booleans()
        ),
        max_size=4,
    ),
)
def test_processes_that_share_questions_and_die_pay_for_each_question_once(
    runs: list[set[int]], deaths: list[tuple[str, bool]]
) -> None:
    lab, questions = Lab(), asked(12)

    async def all_of_them(name: str) -> None:
        work = [
            lab.asking([questions[place] for place in sorted(run)], run=f"{name}-{n}", step=f"step-{n}")
            for n, run in enumerate(runs)
        ]
        for ended in await asyncio.gather(*work, return_exceptions=True):
            if ended is not None and not isinstance(ended, Tally | Killed):
                raise ended

    for number, (place, after) in enumerate(deaths):
        lab.ledger.dies_at, lab.ledger.dies_after = place, after
        asyncio.run(all_of_them(f"dying-{number}"))
    lab.ledger.dies_at = None
    asyncio.run(all_of_them("last"))
    assert lab.answered(questions[place] for place in set().union(*runs)) == ["reply"] * len(set().union(*runs))
    assert not billed_twice(lab.provider)


# --- budgets ---------------------------------------------------------------------------------------------------------


def test_a_cap_on_calls_is_kept_and_a_rerun_goes_on() -> None:
    lab, questions = Lab(), asked(10)
    with pytest.raises(BudgetReached, match="all 4 of max_calls are made"):
        lab.run(questions, budget=Budget(Caps(calls=4)))
    assert lab.batches() == [4]
    assert lab.ledger.by_kind() == {"reply": 4}
    assert lab.clean()
    assert lab.run(questions, budget=Budget(Caps(calls=6))).asked == 6
    assert lab.answered(questions) == ["reply"] * 10


def test_a_request_that_is_asked_again_is_not_set_aside_for_twice() -> None:
    lab = Lab(BatchProvider(fate=lambda number: Fate("expired", answered=2) if number == 0 else Fate()))
    budget = Budget(Caps(calls=6))
    assert lab.run(asked(6), budget=budget).asked == 6
    assert lab.batches() == [6, 4]
    assert budget.spent.calls == 6


def test_what_is_set_aside_for_goes_before_what_waits_for_room() -> None:
    # Two of three fit; the batch of the two brings nothing. Were the third at the head, all would wait for ever.
    lab = Lab(BatchProvider(fate=lambda number: Fate("expired", answered=0) if number == 0 else Fate()))
    with pytest.raises(BudgetReached):
        lab.run(asked(3), budget=Budget(Caps(calls=2)))
    assert lab.batches() == [2, 2]


def test_room_that_replies_leave_is_used_by_the_next_file() -> None:
    # At most 100 tokens of a reply and more than 100 of a prompt are set aside; 15 are used (`completion`).
    lab, questions = Lab(), asked(10)
    budget = Budget(Caps(tokens=1500))
    assert lab.run(questions, budget=budget).asked == 10
    assert len(lab.batches()) > 1
    assert (budget.spent.input_tokens, budget.spent.output_tokens) == (100, 50)


def test_a_batch_of_an_earlier_run_is_set_aside_for() -> None:
    lab, questions = Lab(), asked(4)
    lab.ledger.dies_at, lab.ledger.dies_after = "created", True
    with pytest.raises(Killed):
        lab.run(questions)
    budget = Budget(Caps(calls=5))
    with pytest.raises(BudgetReached):
        lab.run([*questions, *asked(7)], budget=budget)
    # Four in the batch that is there already; of the three others one more fits.
    assert lab.batches() == [4, 1]
    assert budget.spent.calls == 5


def test_a_cap_that_is_used_up_still_collects_what_is_at_the_provider() -> None:
    lab, questions = Lab(), asked(4)
    lab.ledger.dies_at, lab.ledger.dies_after = "created", True
    with pytest.raises(Killed):
        lab.run(questions)
    with pytest.raises(BudgetReached):
        lab.run(asked(6), budget=Budget(Caps(calls=2)))
    assert lab.batches() == [4]
    assert lab.answered(questions) == ["reply"] * 4


def test_a_budget_that_is_used_up_from_the_start_ends_the_run_and_pays_for_nothing_twice() -> None:
    # Chunks of two: nothing more is pulled once the budget is known to be used up.
    lab, questions = Lab(), asked(8)
    lab.ledger.dies_at, lab.ledger.dies_after = "created", True
    with pytest.raises(Killed):
        lab.run(questions)
    with pytest.raises(BudgetReached):
        lab.run(questions, budget=Budget(Caps(calls=3), Spent(calls=3)), chunk=2)
    assert lab.answered(questions[:2]) == ["reply"] * 2
    lab.run(questions)
    assert lab.batches() == [8]
    assert lab.answered(questions) == ["reply"] * 8
    assert not lab.ledger.twice()


# --- by hand ---------------------------------------------------------------------------------------------------------


def left_open(number: int) -> Lab:
    """A lab with an open batch that is at work for long, left behind by a dead process."""
    lab = Lab(BatchProvider(fate=lambda batch: Fate(looks=100) if batch == 0 else Fate()))
    lab.ledger.dies_at, lab.ledger.dies_after = "created", True
    with pytest.raises(Killed):
        lab.run(asked(number))
    return lab


def test_a_batch_that_a_person_stops_gives_what_it_had_and_the_rest_is_asked_again() -> None:
    lab = left_open(6)
    said = asyncio.run(
        stop_batch(
            open_batch(lab.ledger.batch_events("lab"), "batch_001"), lab.transport, clock=lab.clock, rng=Random(0)
        )
    )
    assert said == f"batch batch_001 is cancelling: run {STEP} again to collect what it has done"
    lab.run(asked(6))
    # The provider had done half of it.
    assert lab.batches() == [6, 3]
    assert not billed_twice(lab.provider)
    assert lab.clean()


def test_a_batch_that_a_person_abandons_is_asked_again() -> None:
    lab = left_open(4)
    (batch,) = {event.batch for event in lab.ledger.events}
    found = open_batch(lab.ledger.batch_events("lab"), batch)
    said = asyncio.run(abandon_batch(found, lab.ledger, "lab", "by-hand", "the account is closed", clock=lab.clock))
    assert said == "batch batch_001 is abandoned: its 4 requests are asked again"
    assert lab.ledger.events[-1].detail == "the account is closed"
    lab.run(asked(4))
    assert lab.batches() == [4, 4]


def test_a_batch_that_is_not_open_is_named_beside_those_that_are() -> None:
    lab = left_open(2)
    with pytest.raises(LookupError, match="no open batch batch_009; open are: batch_001"):
        open_batch(lab.ledger.batch_events("lab"), "batch_009")
