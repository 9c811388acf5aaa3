"""The warehouse exporter: a finished span becomes rows, and the rows are written."""

from dbbtrace_exporters.warehouse.exporter import WarehouseSpanExporter

__all__ = ["WarehouseSpanExporter"]
