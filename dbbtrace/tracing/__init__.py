"""OpenTelemetry's side of one process: the provider, and what is in force now."""
