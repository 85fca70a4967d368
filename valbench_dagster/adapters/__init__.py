"""Adapters: one vendor each (openai, SQLAlchemy, pyarrow and polars, duckdb), behind ports of the pure code."""
