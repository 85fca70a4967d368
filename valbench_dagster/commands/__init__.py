"""Commands: what `valbench` does, a module a subject. Each is imported only when it is run (see `cli`)."""
