"""VAL-Bench as a Dagster project: from a Wikipedia dump to a leaderboard of belief consistency (arXiv 2510.05465)."""
