"""Secure aggregation, experimental: the aggregator learns the sum of a round's deltas and no single one (ADR 36)."""
