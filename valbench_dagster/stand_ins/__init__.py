"""Stand-in models: a small deterministic OpenAI-compatible server that makes the first run free and offline."""
