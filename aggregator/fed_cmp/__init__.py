"""Fed-CMP: deltas fused in a basis that the silos share, and momentum on that basis; see docs/fed-cmp.md."""
