-- One row for each run: what it is, how long it took, how it went, what is missing.
-- Counts are of outcomes: an operation that the run did again later is left out of them.

WITH run_operations AS (
    SELECT
        o.orchestration_run_id, o.data_product, o.environment, o.workload, o.operation, o.status, o.start_time,
        o.end_time, o.seconds, o.rows_read, o.rows_written, o.bytes_read, o.bytes_written, o.error_type,
        o.error_message, o.trace_id,
        1 - o.superseded AS outcome
    FROM meta.monitoring_operations AS o
),
run_totals AS (
    SELECT
        o.orchestration_run_id,
        MAX(o.data_product) AS data_product,
        MAX(o.environment) AS environment,
        MIN(o.start_time) AS start_time,
        MAX(o.end_time) AS end_time,
        SUM(o.outcome) AS operations,
        SUM(CASE WHEN o.workload = 'integration' THEN o.outcome ELSE 0 END) AS loads,
        SUM(CASE WHEN o.workload = 'integration' AND o.status = 'Succeeded' THEN o.outcome ELSE 0 END)
            AS loads_succeeded,
        SUM(CASE WHEN o.workload = 'integration' AND o.status = 'Failed' THEN o.outcome ELSE 0 END) AS loads_failed,
        SUM(CASE WHEN o.workload = 'transformation' THEN o.outcome ELSE 0 END) AS nodes,
        SUM(CASE WHEN o.workload = 'transformation' AND o.status = 'Succeeded' THEN o.outcome ELSE 0 END)
            AS nodes_succeeded,
        SUM(CASE WHEN o.workload = 'transformation' AND o.status = 'Warned' THEN o.outcome ELSE 0 END) AS nodes_warned,
        SUM(CASE WHEN o.workload = 'transformation' AND o.status = 'Failed' THEN o.outcome ELSE 0 END) AS nodes_failed,
        SUM(CASE WHEN o.workload = 'transformation' AND o.status = 'Skipped' THEN o.outcome ELSE 0 END)
            AS nodes_skipped,
        SUM(CASE WHEN o.workload = 'consumption' THEN o.outcome ELSE 0 END) AS refreshes,
        SUM(CASE WHEN o.workload = 'consumption' AND o.status = 'Succeeded' THEN o.outcome ELSE 0 END)
            AS refreshes_succeeded,
        SUM(CASE WHEN o.workload = 'consumption' AND o.status = 'Failed' THEN o.outcome ELSE 0 END)
            AS refreshes_failed,
        SUM(CASE WHEN o.workload = 'reconciliation' THEN o.outcome ELSE 0 END) AS reconciliation_results,
        SUM(CASE WHEN o.status = 'Succeeded' THEN o.outcome ELSE 0 END) AS succeeded,
        SUM(CASE WHEN o.status = 'Failed' THEN o.outcome ELSE 0 END) AS failed,
        SUM(CASE WHEN o.status = 'Warned' THEN o.outcome ELSE 0 END) AS warned,
        SUM(CASE WHEN o.status = 'Skipped' THEN o.outcome ELSE 0 END) AS skipped,
        SUM(CASE WHEN o.status = 'Running' THEN o.outcome ELSE 0 END) AS running,
        SUM(CASE WHEN o.status IN ('Succeeded', 'Failed', 'Warned', 'Skipped', 'Running') THEN 0 ELSE o.outcome END)
            AS unknown,
        SUM(CASE WHEN o.workload = 'integration' THEN o.rows_read * o.outcome END) AS rows_read,
        SUM(CASE WHEN o.workload = 'integration' THEN o.rows_written * o.outcome END) AS rows_written,
        SUM(CASE WHEN o.workload = 'integration' THEN o.bytes_read * o.outcome END) AS bytes_read,
        SUM(CASE WHEN o.workload = 'integration' THEN o.bytes_written * o.outcome END) AS bytes_written,
        SUM(CASE WHEN o.workload = 'integration' AND (o.end_time IS NULL OR o.error_type = 'Interrupted')
            THEN o.outcome ELSE 0 END) AS loads_without_end,
        SUM(CASE WHEN o.error_type = 'Interrupted' THEN o.outcome ELSE 0 END) AS interrupted,
        SUM(CASE WHEN o.status = 'Failed' AND COALESCE(o.error_message, '') = '' THEN o.outcome ELSE 0 END)
            AS failed_without_reason,
        -- The greatest of "seconds, padded, and name": cheaper than ranking every operation of every run.
        MAX(CONCAT(SORTABLE_SECONDS(o.seconds), o.operation)) AS slowest,
        MAX(o.seconds) AS slowest_seconds,
        MAX(o.trace_id) AS trace_id
    FROM run_operations AS o
    GROUP BY o.orchestration_run_id
)
SELECT
    t.orchestration_run_id,
    t.data_product,
    t.environment,
    CASE
        WHEN t.failed > 0 THEN 'Failed'
        WHEN t.running > 0 THEN 'Running'
        WHEN t.unknown > 0 THEN 'Unknown'
        WHEN t.warned > 0 THEN 'Warned'
        ELSE 'Succeeded'
    END AS status,
    t.start_time,
    t.end_time,
    SECONDS_BETWEEN(t.start_time, t.end_time) AS seconds,
    t.operations,
    t.loads, t.loads_succeeded, t.loads_failed,
    t.nodes, t.nodes_succeeded, t.nodes_warned, t.nodes_failed, t.nodes_skipped,
    t.refreshes, t.refreshes_succeeded, t.refreshes_failed,
    t.reconciliation_results,
    t.succeeded, t.failed, t.warned, t.skipped, t.running, t.unknown,
    t.rows_read, t.rows_written, t.bytes_read, t.bytes_written,
    CASE WHEN t.slowest_seconds IS NOT NULL THEN SUBSTRING(t.slowest, 14, 8000) END AS slowest_operation,
    t.slowest_seconds,
    CASE WHEN t.loads = 0 THEN 1 ELSE 0 END AS without_load,
    CASE WHEN t.nodes = 0 THEN 1 ELSE 0 END AS without_node,
    CASE WHEN t.refreshes_succeeded = 0 THEN 1 ELSE 0 END AS without_refresh,
    t.loads_without_end,
    t.interrupted,
    t.failed_without_reason,
    CASE WHEN t.data_product IS NULL THEN 1 ELSE 0 END AS without_data_product,
    t.trace_id
FROM run_totals AS t
