"""The service that admits deltas, cuts rounds and publishes global projectors. Keeps no state: the store does."""
