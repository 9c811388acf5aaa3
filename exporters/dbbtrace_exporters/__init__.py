"""Spans out: to the warehouse as rows, to any OTLP backend as they are.

OpenTelemetry finds these exporters by entry point; nothing here needs ``dbbtrace.configure()``.
"""
