"""A round's arithmetic by ranges of the projector, each on a machine of its own: the same bytes as in one process."""
