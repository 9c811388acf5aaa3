"""The vocabulary: attribute keys, identities, times, status words. Imports nothing else of ours."""
