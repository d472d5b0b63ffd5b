"""Commands that work on the store itself, beside any aggregator; `isthmus.cli.store` names each by module."""
