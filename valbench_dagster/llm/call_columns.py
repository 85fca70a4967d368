"""Call columns: what became of a call and what it cost in tokens, as every record made by one says it."""

from typing import TypedDict

from valbench_dagster.llm.calls import Answer


class CallColumns(TypedDict):
    """Named as in `records.Issue`, `CandidatePair` and `Verdict`, which explain them."""

    outcome: str
    detail: str | None
    raw: str | None
    prompt: str
    input_tokens: int | None
    output_tokens: int | None
    cached_tokens: int | None
    reasoning_tokens: int | None


def call_columns(answer: Answer, prompt: str, *, parsed: bool) -> CallColumns:
    """Give the columns of an answer under a prompt (its label); a reply that could not be parsed is kept raw."""
    reply = answer.reply
    return CallColumns(
        outcome="parsed" if parsed else answer.outcome,
        detail=answer.detail,
        raw=reply.text if reply and not parsed else None,
        prompt=prompt,
        input_tokens=reply.input_tokens if reply else None,
        output_tokens=reply.output_tokens if reply else None,
        cached_tokens=reply.cached_tokens if reply else None,
        reasoning_tokens=reply.reasoning_tokens if reply else None,
    )
