"""Isthmus: federated pre-training of cross-modal projectors."""
