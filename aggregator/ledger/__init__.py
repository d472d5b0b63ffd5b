"""What is stored under which key, over any store."""

from aggregator.ledger.ledger import Ledger

__all__ = ["Ledger"]
