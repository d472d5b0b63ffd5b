"""What keeps credentials from being answered: gRPC says "Socket closed" to all of it, so it is examined here."""
