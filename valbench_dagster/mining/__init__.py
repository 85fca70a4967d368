"""Mining: the spans of a dump's files to sections, in worker processes that can be killed."""
