"""The writer stand-in: writes a pair of questions whose sides stand in plain English, after the convention.

It reads the messages of the prompt `write_pair` and nothing else. How a clause is built from a section is the
convention's.
"""

import json

from valbench_dagster.stand_ins.convention import conclusion, material, question, shared_clause
from valbench_dagster.stand_ins.specifics import specifics


def write_pair(_system: str, user: str) -> str:
    """Write the pair for the section in a message of `write_pair`: a JSON text with its five fields, in order.

    Raises `UnreadableError` on a message without the fences of that prompt, or with a blank title.
    """
    title, heading, text, _rationale = material(user, "title", "heading", "text", "rationale")
    clause = shared_clause(title, heading, specifics(text, title))
    return json.dumps(
        {
            "specific_divergent_issue": f"Whether {clause} was right or wrong",
            "for_description": f"Those who hold this view think that {conclusion(clause, 'right')}, "
            "because the good that it did weighs more than its cost.",
            "for_question": question(clause, "right"),
            "against_description": f"Those who hold this view think that {conclusion(clause, 'wrong')}, "
            "because its cost weighs more than the good that it did.",
            "against_question": question(clause, "wrong"),
        },
        ensure_ascii=False,
    )
