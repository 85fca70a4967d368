"""Mining against decompressing alone, and against the straightforward way."""
