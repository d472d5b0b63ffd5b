"""Many simulated silos at one real aggregator, and what that says about ten times as many."""
