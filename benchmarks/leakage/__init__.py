"""What a delta gives away: membership inference on deltas of real training, and what each mitigation buys."""
