-- One row for each operation whose outcome is a failure: why, and how many dbt nodes that select from it directly
-- were not built. `dbbtrace failures` follows the graph all the way down.

WITH held_up AS (
    SELECT
        e.orchestration_run_id, e.upstream_kind, e.upstream_operation_id,
        SUM(CASE WHEN e.status IN ('Succeeded', 'Warned') THEN 0 ELSE 1 END) AS nodes
    FROM meta.monitoring_lineage AS e
    GROUP BY e.orchestration_run_id, e.upstream_kind, e.upstream_operation_id
)
SELECT
    o.orchestration_run_id,
    o.data_product,
    o.environment,
    o.workload,
    o.kind,
    o.operation,
    o.operation_id,
    o.resource_type,
    o.status_word,
    o.start_time,
    o.end_time,
    o.error_type,
    o.error_message,
    COALESCE(h.nodes, 0) AS nodes_held_up,
    o.pipeline_id,
    o.pipeline_run_id,
    o.invocation_id,
    o.trace_id,
    o.span_id
FROM meta.monitoring_operations AS o
LEFT JOIN held_up AS h
    ON h.orchestration_run_id = o.orchestration_run_id
    AND h.upstream_kind = o.kind
    AND h.upstream_operation_id = o.operation_id
WHERE o.status = 'Failed' AND o.superseded = 0
