"""Dumps: which files a snapshot has, how they are decoded, and the pages in them. Knows no heading and no stage."""
