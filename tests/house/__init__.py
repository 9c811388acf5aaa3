"""The house: which room knows which."""
