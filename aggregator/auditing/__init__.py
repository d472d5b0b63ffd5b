"""What happened in a federation, told from what its store holds."""
