"""One federation's way from one store to another: which keys, in which order, and the copy itself."""
