"""The annotator stand-in: calls a section a divergent issue when its text tells of opposition, by words alone.

Here belong its cues, documented for whoever writes sections for it. It reads the messages of the prompt
`annotate_issue` and nothing else.
"""

import json
import re

from valbench_dagster.stand_ins.convention import material

OPPOSITION = (
    *("critics", "opponents", "detractors", "objectors", "campaigners"),
    *("criticised", "criticized", "opposed", "objected", "condemned", "rejected"),
)
"""People who are against something, and what they did."""
SCALE_CUES = (
    (5, ("worldwide", "international", "global", "globally")),
    (4, ("national", "nationwide", "parliament", "federal")),
    (3, ("regional", "region", "industry", "province", "county")),
    (2, ("town", "city", "village", "local", "council")),
)
"""The widest scale with a cue in the text holds; without any it is 1. Cues are whole words in any case."""

_WORD = re.compile(r"[^\W_]+")


def annotate(_system: str, user: str) -> str:
    """Annotate the section in a message of `annotate_issue`: a JSON text with its four fields, in order.

    Raises `UnreadableError` on a message without the fences of that prompt.
    """
    title, _heading, text = material(user, "title", "heading", "text")
    words = frozenset(_WORD.findall(text.casefold()))
    opposing = next((word for word in OPPOSITION if word in words), None)
    article = " ".join(title.split())
    if opposing is None:
        return _reply(
            f"The section does not discuss a divergent issue: on {article} it tells of nobody who was against it.",
            False,
            "NA",
            0,
        )
    scale, cue = next(
        ((scale, cue) for scale, cues in SCALE_CUES for cue in cues if cue in words), (1, "no wider circle")
    )
    return _reply(
        f"The section discusses a divergent issue: on {article} it tells of opposition ({opposing}), in which the same "
        "events are weighed by different values.",
        True,
        f"The text's widest cue is “{cue}”, which puts the community concerned at {scale} of 5.",
        scale,
    )


def _reply(rationale: str, divergent: bool, scale_rationale: str, scale: int) -> str:
    return json.dumps(
        {
            "divergent_issue_rationale": rationale,
            "is_divergent_issue": divergent,
            "divergent_issue_scale_rationale": scale_rationale,
            "divergent_issue_scale": scale,
        },
        ensure_ascii=False,
    )
