-- One row for each operation whose outcome is a failure: why, and how many dbt nodes that select from it directly
-- were not built. `dbbtrace failures` follows the graph all the way down.

WITH held_up AS (
    SELECT
        e.orchestration_run_id, e.upstream, e.upstream_kind, e.upstream_id,
        SUM(CASE WHEN e.status IN ('Succeeded', 'Warned') THEN 0 ELSE 1 END) AS nodes
    FROM meta.monitoring_lineage AS e
    GROUP BY e.orchestration_run_id, e.upstream, e.upstream_kind, e.upstream_id
),
held_up_nodes AS (
    SELECT
        h.orchestration_run_id, h.upstream_kind,
        CASE WHEN h.upstream_kind = 'table_load' THEN h.upstream ELSE h.upstream_id END AS upstream,
        SUM(h.nodes) AS nodes
    FROM held_up AS h
    GROUP BY
        h.orchestration_run_id, h.upstream_kind,
        CASE WHEN h.upstream_kind = 'table_load' THEN h.upstream ELSE h.upstream_id END
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
LEFT JOIN held_up_nodes AS h
    ON h.orchestration_run_id = o.orchestration_run_id
    AND h.upstream_kind = o.kind
    AND h.upstream = CASE WHEN o.kind = 'table_load' THEN o.operation ELSE o.operation_id END
WHERE o.status = 'Failed' AND o.superseded = 0
