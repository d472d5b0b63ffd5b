"""Flower's side of the comparison; runs in Flower's own environment."""
