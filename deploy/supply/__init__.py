"""What Isthmus is built from: locks with hashes, the audit of what is known against it, and its bill of materials."""
