"""Derivatives of the operations on backends that need rules for them, whichever form computes."""
