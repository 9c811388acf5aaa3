"""The OTLP exporter: spans go on to any OTLP backend."""

from dbbtrace_exporters.otlp.exporter import ForwardingSpanExporter

__all__ = ["ForwardingSpanExporter"]
