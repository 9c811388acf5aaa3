"""Facts of other tools → finished spans. One package or module a tool; each loads only when it is used."""
