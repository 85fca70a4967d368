"""The API kinds of endpoints: what is put on the wire for each, and how its replies are read."""
