"""Verdicts: what a judge says of the two responses to a pair (paper, section 4.2 and A.6).

Here belong the judging request of a pair, in either order, and the reading of its reply with fields brought back to
the side they are about. Turning verdicts into scores is SQL (`sql/views/pair_scores.sql`).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from valbench_dagster.llm.call_columns import CallColumns, call_columns
from valbench_dagster.llm.calls import Answer, Question, Request, ServedModel
from valbench_dagster.llm.structured import fault_against, read_structured
from valbench_dagster.prompting import Prompt, fence, render
from valbench_dagster.records import Pair, Response, Verdict

Order = Literal["as_asked", "swapped"]

RESPONSE_LIMIT = 20_000
"""Characters of a response that a judge is shown: five times what 1 to 2 paragraphs need, so that only runaway replies
are cut. Its use is recorded in `text_cut`. (The released code cuts at 10,000 without a mark.)"""

QUESTION_LIMIT = 2_000
"""Characters of an issue or question that a judge is shown."""

REASKS = 2

JUDGED_OUTCOMES = ("answered", "truncated")
"""Outcomes of a response that leave something to judge."""


class _Scored(BaseModel):
    """What both judge prompts ask for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    person_1_has_no_information: bool
    person_1_refusal: bool
    person_2_has_no_information: bool
    person_2_refusal: bool
    key_points_of_alignment: str
    key_points_of_opposition: str
    alignment_score: Annotated[int, Field(ge=-2, le=2)]


class VerdictV3(_Scored):
    """The reply that the prompt `judge_v3` asks for."""

    central_issue: str
    person_1_positions: str
    person_2_positions: str
    value_preference: bool

    def positions(self) -> tuple[str, str]:
        """Give the positions of person 1 and person 2."""
        return self.person_1_positions, self.person_2_positions


class VerdictReleased(_Scored):
    """The reply that the prompt `judge_released` asks for: no value preference, no central issue."""

    person_1_core_position: str
    person_2_core_position: str

    def positions(self) -> tuple[str, str]:
        """Give the positions of person 1 and person 2."""
        return self.person_1_core_position, self.person_2_core_position


REPLIES: dict[str, type[VerdictV3] | type[VerdictReleased]] = {"judge_v3": VerdictV3, "judge_released": VerdictReleased}
"""What each judge prompt, by name, asks for."""


@dataclass(frozen=True, slots=True)
class JudgedPair:
    """A pair with the two responses to one sample of it, in one order of presentation."""

    pair: Pair
    response_for: Response
    response_against: Response
    order: Order

    @property
    def missing(self) -> str | None:
        """What there is not to judge, null if both sides can be judged."""
        sides = (("for", self.response_for), ("against", self.response_against))
        gone = [f"{side}: {response.outcome}" for side, response in sides if response.outcome not in JUDGED_OUTCOMES]
        return "; ".join(gone) or None


def judged_pairs(pairs: Iterable[Pair], responses: Iterable[Response], orders: Iterable[Order]) -> Iterator[JudgedPair]:
    """Join pairs with their responses, both sorted by their keys, in the order of the verdicts' key.

    Raises `ValueError` where a response has no pair or a pair lacks a side: such facts are not of one run.
    """
    ordered = sorted(orders)
    remaining = iter(pairs)
    pair: Pair | None = None
    waiting: dict[int, Response] = {}
    for response in responses:
        if pair is None or pair.pair_id != response.pair_id:
            if waiting:
                raise ValueError(f"pair {next(iter(waiting.values())).pair_id} has a response to one side only")
            pair = next((each for each in remaining if each.pair_id == response.pair_id), None)
            if pair is None:
                raise ValueError(f"response to pair {response.pair_id}, which is not among the pairs of the snapshot")
        if response.side == "against":
            waiting[response.sample] = response
        elif (against := waiting.pop(response.sample, None)) is None:
            raise ValueError(f"pair {pair.pair_id} has no response to its against side")
        else:
            for order in ordered:
                yield JudgedPair(pair, response, against, order)
    if waiting and pair:
        raise ValueError(f"pair {pair.pair_id} has a response to one side only")


def ask_verdict(judged: JudgedPair, judge: ServedModel, prompt: Prompt) -> Question:
    """Make the judging request: the for side is person 1 unless swapped; reasoning is never shown."""
    pair, sides = judged.pair, [judged.response_for, judged.response_against]
    questions = [pair.for_question, pair.against_question]
    if judged.order == "swapped":
        sides.reverse()
        questions.reverse()
    values = {
        "issue": fence(pair.issue, QUESTION_LIMIT),
        "question_1": fence(questions[0], QUESTION_LIMIT),
        "response_1": fence(sides[0].text or "", RESPONSE_LIMIT),
        "question_2": fence(questions[1], QUESTION_LIMIT),
        "response_2": fence(sides[1].text or "", RESPONSE_LIMIT),
    }
    request = Request(judge, render(prompt, values), prompt.name, prompt.schema)
    return Question(request, fault_against(REPLIES[prompt.name]), REASKS)


def read_verdict(judged: JudgedPair, answer: Answer | None, judge: str, prompt: Prompt) -> Verdict:
    """Read what became of a pair's judging as one row; `answer` is null where there was nothing to judge."""
    usable = answer.reply if answer and answer.outcome == "reply" else None
    parsed = read_structured(REPLIES[prompt.name], usable) if usable else None
    first, second = ("for", "against") if judged.order == "as_asked" else ("against", "for")
    by_side: dict[str, tuple[bool, bool, str]] = {}
    if parsed:
        one, two = parsed.positions()
        by_side[first] = (parsed.person_1_refusal, parsed.person_1_has_no_information, one)
        by_side[second] = (parsed.person_2_refusal, parsed.person_2_has_no_information, two)
    cut = any(fence(side.text or "", RESPONSE_LIMIT).cut for side in (judged.response_for, judged.response_against))
    nothing = (None, None, None)
    refusal_for, no_information_for, position_for = by_side.get("for", nothing)
    refusal_against, no_information_against, position_against = by_side.get("against", nothing)
    return Verdict(
        snapshot=judged.pair.snapshot,
        model=judged.response_for.model,
        judge=judge,
        judge_order=judged.order,
        pair_id=judged.pair.pair_id,
        sample=judged.response_for.sample,
        subset=judged.response_for.subset,
        alignment=parsed.alignment_score if parsed else None,
        preference=parsed.value_preference if isinstance(parsed, VerdictV3) else None,
        refusal_for=refusal_for,
        refusal_against=refusal_against,
        no_information_for=no_information_for,
        no_information_against=no_information_against,
        central_issue=parsed.central_issue if isinstance(parsed, VerdictV3) else None,
        position_for=position_for,
        position_against=position_against,
        points_of_alignment=parsed.key_points_of_alignment if parsed else None,
        points_of_opposition=parsed.key_points_of_opposition if parsed else None,
        text_cut=cut,
        fingerprint=answer.request.fingerprint if answer else None,
        **(call_columns(answer, prompt.label, parsed=parsed is not None) if answer else _nothing_asked(judged, prompt)),
    )


def _nothing_asked(judged: JudgedPair, prompt: Prompt) -> CallColumns:
    return CallColumns(
        outcome="no_response",
        detail=judged.missing,
        raw=None,
        prompt=prompt.label,
        input_tokens=None,
        output_tokens=None,
        cached_tokens=None,
        reasoning_tokens=None,
    )
