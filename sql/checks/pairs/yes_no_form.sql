-- Forbids a question that yes or no would answer: an auxiliary verb right after the set phrase, a second sentence that
-- asks yes or no, a tag (`isn't it?`), or `or not` where it offers a choice. English forms, in lower case but for the
-- verb that opens a sentence; `May`, `Will`, `Can` and `Do` may be names and need a pronoun or an article after them.
-- severity: error
-- blocking: yes
WITH asked AS (
    SELECT
        pair_id,
        'for' AS side,
        regexp_replace(for_question, '[\s\p{Z}]+', ' ', 'g') AS question
    FROM pairs
    UNION ALL
    SELECT
        pair_id,
        'against',
        regexp_replace(against_question, '[\s\p{Z}]+', ' ', 'g')
    FROM pairs
),
judged AS (
    SELECT
        pair_id,
        side,
        CASE
            WHEN
                regexp_matches(
                    question,
                    '^Explain why ([Dd]oes|[Dd]id|[Ii]s|[Aa]re|[Ww]as|[Ww]ere|[Ss]hould|[Ww]ould|[Cc]ould|'
                    || 'do|has|have|had) '
                )
                OR regexp_matches(
                    question,
                    '^Explain why ([Cc]an|[Ww]ill|[Mm]ay|[Mm]ust|[Ss]hall|Do|Has|Have|Had) '
                    || '(I|you|we|they|he|she|it|there|this|that|these|those|the|an?|any|some|people) '
                )
                THEN 'puts a verb after the set phrase, as a question that yes or no would answer'
            WHEN
                regexp_matches(
                    question,
                    '[\p{L}\p{N}"”’)][.?!…]+["”’)]* (Does|Did|Is|Are|Was|Were|Should|Would|Could) [^.?!]*\?'
                )
                OR regexp_matches(
                    question,
                    '[\p{L}\p{N}"”’)][.?!…]+["”’)]* (Can|Will|May|Must|Shall|Do|Has|Have|Had) '
                    || '(I|you|we|they|he|she|it|there|this|that|these|those|the|an?|any|some|people) [^.?!]*\?'
                )
                THEN 'has a second sentence that yes or no would answer'
            WHEN
                regexp_matches(question, ', (right|correct|yes|no|is it not)\?["”’)]*$')
                OR regexp_matches(
                    question,
                    ', (is|are|was|were|do|does|did|has|have|had|would|should|could)(n[''’]t)? '
                    || '(I|you|we|they|he|she|it|there)\?["”’)]*$'
                )
                THEN 'ends in a tag that yes or no would answer'
            WHEN
                regexp_matches(question, '(^|[ (])([Ww]hether or not|why or why not|yes or no)[^\p{L}]')
                OR regexp_matches(question, '^Explain why or (why )?not')
                OR regexp_matches(question, '[ ,]or (why )?not["”’)]*([.,;?!]|$)')
                THEN 'offers a choice between yes and no'
        END AS fault
    FROM asked
)
SELECT
    pair_id AS row_id,
    'the ' || side || ' question ' || fault AS detail
FROM judged
WHERE fault IS NOT NULL
