"""The agent that trains a projector on a silo's private data and pushes its delta."""
