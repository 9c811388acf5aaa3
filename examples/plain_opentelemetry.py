"""A job without dbbtrace: any OpenTelemetry tracer that sets the documented attributes gives rows.

OTEL_TRACES_EXPORTER=dbb_warehouse opentelemetry-instrument python examples/plain_opentelemetry.py
"""

from opentelemetry import trace

tracer = trace.get_tracer("shop")

with tracer.start_as_current_span("load shop.Customer") as span:
    span.set_attributes(
        {
            "dbb.operation": "table_load",
            "dbb.orchestration.run_id": "7a1d8f46-2b0c-4a5e-9d3e-8c6b5a4f3e2d",
            "dbb.data_product": "Shop",
            "dbb.table.name": "Customer",
            "dbb.schema.name": "shop",
            "dbb.source.name": "CRM",
            "dbb.source.type": "SQL",
            "dbb.load.type": "FULL",
        }
    )
    span.set_attribute("dbb.rows.written", 3)

with tracer.start_as_current_span("anything else"):
    pass  # has none of these attributes, so it is ignored
