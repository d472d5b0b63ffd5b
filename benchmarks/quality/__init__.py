"""How good is what comes out of a federation? Methods, splits of the data and hostile silos, on real training."""
