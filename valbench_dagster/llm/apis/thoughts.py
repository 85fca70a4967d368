"""Thoughts: the reasoning that a model wrote into its text, taken apart from what it said.

Servers without a parser for a model's reasoning hand it on in the text, in the marks of that model. Here belong those
marks. Only what stands at the beginning is taken: a mark further on is something the model says.
"""

import re

_BLOCKS = {
    "<think>": "</think>",
    "<thinking>": "</thinking>",
    "<thought>": "</thought>",
    "<reasoning>": "</reasoning>",
    "<seed:think>": "</seed:think>",
    "[THINK]": "[/THINK]",
}
"""DeepSeek, Qwen and most others; models told to by a prompt; Gemini's compatible address; Seed; Magistral."""

_LEFT_OPEN = ("<think>", "<seed:think>", "[THINK]")
"""Marks that chat templates write for the model, so that its own text holds only the closing one."""

_CHANNEL = re.compile(
    r"(?:<\|start\|>assistant[^<]*)?<\|channel\|>(?P<name>\w+)[^<]*(?:<\|constrain\|>[^<]*)?<\|message\|>"
    r"(?P<text>.*?)(?:<\|end\|>|<\|return\|>|<\|call\|>|(?=<\|start\|>)|(?=<\|channel\|>)|\Z)\s*",
    re.DOTALL,
)
"""One message of OpenAI's harmony format, as gpt-oss writes it (https://cookbook.openai.com/articles/openai-harmony):
`analysis` and `commentary` are not for the reader, `final` is."""


def split_thought(content: str | None) -> tuple[str | None, str | None]:
    """Split content into text and leading reasoning; null where there is none of it.

    A block that is never closed leaves reasoning and no text. A closing mark without an opening one ends a block too,
    where templates open it. Text that has no such block is as it came, white space included.
    """
    if content is None:
        return None, None
    start = content.lstrip()
    if start.startswith(("<", "[")):
        for opening, closing in _BLOCKS.items():
            if start.startswith(opening):
                thought, closed, text = start[len(opening) :].partition(closing)
                return (text.lstrip() if closed else None), thought.strip()
        if start.startswith(("<|channel|>", "<|start|>assistant")):
            return _split_channels(content, start)
    for opening in _LEFT_OPEN:
        closing = _BLOCKS[opening]
        if closing in content:
            thought, _, text = content.partition(closing)
            if opening not in thought:
                return text.lstrip(), thought.strip()
    return content, None


def _split_channels(content: str, start: str) -> tuple[str | None, str | None]:
    """Split messages of the harmony format; content that is not made of them from beginning to end is all text."""
    said: list[str] = []
    thought: list[str] = []
    place = 0
    while place < len(start):
        message = _CHANNEL.match(start, place)
        if message is None:
            return content, None
        (said if message["name"] == "final" else thought).append(message["text"].strip())
        place = message.end()
    return ("\n\n".join(said) if said else None), "\n\n".join(thought)
