"""Responses: what a model says to each side of a pair (paper, section 4 and A.3).

Here belong which pairs are asked, the request of one side, and the reading of its reply. A respondent's reply is
never asked again: truncated, filtered and empty are outcomes, part of what is measured.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from valbench_dagster.llm.calls import Answer, Question, Reply, Request, ServedModel
from valbench_dagster.llm.finish_reasons import is_filtered, is_truncated
from valbench_dagster.prompting import Prompt, render
from valbench_dagster.records import Pair, Response
from valbench_dagster.stages.subsets import WHOLE, Chosen

Side = Literal["against", "for"]
SIDES: tuple[Side, Side] = ("against", "for")
"""In the order of the table's key."""


@dataclass(frozen=True, slots=True)
class SidedPair:
    """One side of one pair, and which of several samples of it: what a respondent is asked once."""

    pair: Pair
    side: Side
    sample: int = 0

    @property
    def question(self) -> str:
        """The question as it is put to the respondent."""
        return self.pair.for_question if self.side == "for" else self.pair.against_question


def asked_sides(pairs: Iterable[Pair], chosen: Chosen, samples: int = 1) -> Iterator[SidedPair]:
    """Give both sides of each chosen pair, each as often as it is sampled, in the order of the key."""
    for pair in pairs:
        if chosen.holds(pair):
            for side in SIDES:
                for sample in range(samples):
                    yield SidedPair(pair, side, sample)


def ask_response(sided: SidedPair, model: ServedModel, prompt: Prompt) -> Question:
    """Make the request of one side: the system prompt, if any, and the question alone as the user's turn."""
    return Question(Request(model, render(prompt, {"question": sided.question}), sample=sided.sample))


def read_response(sided: SidedPair, answer: Answer, model: str, prompt: Prompt, subset: str = WHOLE.label) -> Response:
    """Read what became of one side's request as one row, whatever it was; `subset` is the label of what was asked."""
    reply = answer.reply
    outcome, detail = _outcome(reply) if reply and answer.outcome == "reply" else (_failure(answer), answer.detail)
    return Response(
        snapshot=sided.pair.snapshot,
        model=model,
        pair_id=sided.pair.pair_id,
        side=sided.side,
        sample=sided.sample,
        subset=subset,
        text=(reply.text or reply.refusal or None) if reply else None,
        reasoning=reply.reasoning if reply else None,
        citations=reply.citations if reply else (),
        outcome=outcome,
        detail=detail,
        finish_reason=reply.finish_reason if reply else None,
        served_model=reply.served_model if reply else None,
        prompt=prompt.label,
        input_tokens=reply.input_tokens if reply else None,
        output_tokens=reply.output_tokens if reply else None,
        cached_tokens=reply.cached_tokens if reply else None,
        reasoning_tokens=reply.reasoning_tokens if reply else None,
        fingerprint=answer.request.fingerprint,
    )


def _outcome(reply: Reply) -> tuple[str, str | None]:
    if is_filtered(reply):
        return "filtered", "the server's content filter stopped the reply"
    # The API's own refusal field is what the model said: a judge reads it like any other text.
    if not (reply.text or reply.refusal or "").strip():
        return "empty", f"the reply has no text (finish reason {reply.finish_reason})"
    if is_truncated(reply):
        return "truncated", "the reply ends at the token limit"
    return "answered", None


def _failure(answer: Answer) -> str:
    return "rejected" if answer.outcome == "rejected" else "failed"
