"""The journal: its file format and its files. Delivers nothing."""
