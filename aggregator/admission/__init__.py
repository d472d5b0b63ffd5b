"""The checks that a delta must pass before anything is touched: its header, then its payload. Pure."""
