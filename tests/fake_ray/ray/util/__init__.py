"""Ray's own odds and ends."""
