"""The receiver: OTLP comes in, rows are committed before the sender gets its answer."""
