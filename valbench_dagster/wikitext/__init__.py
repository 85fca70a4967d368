"""Wikitext: what a heading is, where a section ends, what a reader sees of it. Pure; knows no dump and no stage."""
