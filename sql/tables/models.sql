-- One respondent of the roster, as it stood when the warehouse was built: a model with its endpoint, system prompt,
-- sampling and reasoning settings. `stand_in` marks those whose numbers say nothing of any real model.
CREATE TABLE models AS
SELECT
    model,
    family,
    endpoint,
    provider,
    served_as,
    revision,
    prompt,
    sampling,
    stand_in
FROM read_parquet($models, hive_partitioning = false);
