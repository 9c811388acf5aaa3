"""Spans that other SDKs wrote: OTLP as JSON, from files and requests."""
