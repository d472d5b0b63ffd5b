"""Whether a federation's store holds what its rounds gave: recomputed, compared, and the first difference told."""
