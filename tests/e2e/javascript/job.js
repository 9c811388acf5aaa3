// A job in JavaScript, with the OpenTelemetry SDK and nothing of dbbtrace: it sets the attributes of docs/attributes.md.
//
// Usage: node job.js RUN_ID. Where to send, and with which headers, stands in the OTEL_EXPORTER_OTLP_* variables.
import { createHash } from "node:crypto";
import { context, ROOT_CONTEXT, SpanStatusCode, trace, TraceFlags } from "@opentelemetry/api";
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-http";
import { resourceFromAttributes } from "@opentelemetry/resources";
import { BatchSpanProcessor, NodeTracerProvider } from "@opentelemetry/sdk-trace-node";

const runId = process.argv[2].toLowerCase();
// The run id decides the trace, and the trace its root: a job finds its place without having been told.
const traceId = runId.replaceAll("-", "");
const spanId = createHash("sha256").update(`dbbtrace.root\n${traceId}`).digest("hex").slice(0, 16);
const run = trace.setSpanContext(ROOT_CONTEXT, { traceId, spanId, traceFlags: TraceFlags.SAMPLED, isRemote: true });

const provider = new NodeTracerProvider({
  resource: resourceFromAttributes({ "service.name": "javascript-job" }),
  spanProcessors: [new BatchSpanProcessor(new OTLPTraceExporter())],
});
provider.register();
const tracer = provider.getTracer("job");

function operation(name, attributes, work = () => {}) {
  const inherited = { "dbb.orchestration.run_id": runId, "dbb.data_product": "Shop" };
  tracer.startActiveSpan(name, { attributes: { ...inherited, ...attributes } }, (span) => {
    try {
      work(span);
    } catch (error) {
      span.setStatus({ code: SpanStatusCode.ERROR, message: error.message });
      span.setAttribute("error.type", error.name);
    }
    span.end();
  });
}

context.with(run, () => {
  operation(
    "load mdm.Product",
    { "dbb.operation": "table_load", "dbb.table.name": "Product", "dbb.schema.name": "mdm", "dbb.source.name": "SHOP" },
    (span) => span.setAttribute("dbb.rows.written", 42),
  );
  operation("load mdm.Price", { "dbb.operation": "table_load", "dbb.table.name": "Price" }, () => {
    throw new RangeError("no price is negative");
  });
  operation("model.shop.products", {
    "dbb.operation": "dbt_node",
    "dbb.dbt.unique_id": "model.shop.products",
    "dbb.status": "success",
    "dbb.dbt.select": "+tag:Shop",
    "deployment.environment.name": "TST",
  });
  operation("refresh Sales", {
    "dbb.operation": "model_refresh",
    "dbb.semantic_model.id": "55555555-5555-4555-8555-555555555555",
    "dbb.semantic_model.name": "Sales",
    "dbb.status": "Completed",
  });
  operation("look around", {}); // no operation of dbbtrace: for Jaeger, not for the warehouse
});

await provider.shutdown();
