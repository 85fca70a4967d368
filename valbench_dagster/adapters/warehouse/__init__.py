"""The warehouse: the only package that imports duckdb. Runs the files of `sql/` over facts; decides no number."""
