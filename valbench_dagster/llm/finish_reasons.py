"""Finish reasons: what a server's word for why a reply ended says about the reply.

The word itself is kept as it came (`Reply.finish_reason`); here belongs the knowledge of its spellings. What follows
from a cut or filtered reply is decided where replies are used.
"""

from valbench_dagster.llm.calls import Reply

_LIMIT = frozenset(
    (
        *("length", "max_tokens", "max_output_tokens", "max_length", "token_limit"),
        *("model_length", "model_context_window_exceeded", "incomplete"),
    )
)
"""OpenAI's and vLLM's word; Anthropic's, Gemini's and Bedrock's; the Responses API's; others'; then Mistral's and
Anthropic's for a context that is full, and the Responses API's where it gives no reason."""

_FILTER = frozenset(
    (
        *("content_filter", "content_filtered", "guardrail_intervened", "refusal", "sensitive"),
        *("safety", "recitation", "blocklist", "prohibited_content", "spii", "model_armor", "error_toxic"),
    )
)
"""OpenAI's and Azure's; Bedrock's two; Anthropic's, whose classifiers cut a reply off; Zhipu's; Gemini's, which its
OpenAI-compatible address hands on as they are; Cohere's."""

_BROKEN_OFF = frozenset(("abort", "aborted", "cancelled", "error"))
"""vLLM's for a request that ended with its server, others' for the same."""

BLANKS = 200
"""White-space characters at the end of a cut reply from which on it counts as a loop: JSON laid out by hand has runs
of some dozens, a loop goes on until the limit."""


def is_truncated(reply: Reply) -> bool:
    """Tell whether a reply was cut at the token limit or the end of the context."""
    return _plain(reply.finish_reason) in _LIMIT


def is_filtered(reply: Reply) -> bool:
    """Tell whether the server's content filter stopped or took away a reply."""
    return _plain(reply.finish_reason) in _FILTER


def ends_without_words(finish_reason: str | None) -> bool:
    """Tell whether a finish reason explains that there is no text at all: a filter or a limit."""
    return _plain(finish_reason) in _FILTER or _plain(finish_reason) in _LIMIT


def is_broken_off(finish_reason: str | None) -> bool:
    """Tell whether a finish reason says that the server gave up: what came is no reply, and may be asked again."""
    return finish_reason is not None and finish_reason != "stop" and _plain(finish_reason) in _BROKEN_OFF


def is_blank_loop(reply: Reply) -> bool:
    """Tell whether a reply was cut in white space without end.

    Constrained decoding gets there: white space is legal between the tokens of JSON, as often as the model likes.
    """
    text = reply.text or ""
    blanks = len(text) - len(text.rstrip())
    return blanks > 0 and (blanks > BLANKS or blanks == len(text)) and is_truncated(reply)


def wants_more_tokens(reply: Reply) -> bool:
    """Tell whether asking again with a larger limit may help: the reply was cut, and not in a loop."""
    return is_truncated(reply) and not is_blank_loop(reply)


def _plain(reason: str | None) -> str:
    """Give a reason in lower case and underscores, without what follows a colon (`content_filter: OTHER`)."""
    return (reason or "").partition(":")[0].strip().lower().replace("-", "_").replace(" ", "_")
