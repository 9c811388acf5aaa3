-- One row for each run: what it is, how long it took, how it went, what is missing.
-- Counts are of outcomes: an operation that the run did again later is left out of them.

WITH run_parts AS (
    -- Counted by workload and status first: a few rows for each run, which the sums below are quick over.
    SELECT
        o.orchestration_run_id,
        o.workload,
        o.status,
        MAX(o.data_product) AS data_product,
        MAX(o.environment) AS environment,
        MIN(o.start_time) AS start_time,
        MAX(o.end_time) AS end_time,
        SUM(1 - o.superseded) AS outcomes,
        SUM_OF(o.rows_read * (1 - o.superseded)) AS rows_read,
        SUM_OF(o.rows_written * (1 - o.superseded)) AS rows_written,
        SUM_OF(o.bytes_read * (1 - o.superseded)) AS bytes_read,
        SUM_OF(o.bytes_written * (1 - o.superseded)) AS bytes_written,
        SUM(CASE WHEN o.end_time IS NULL OR o.error_type = 'Interrupted' THEN 1 - o.superseded ELSE 0 END)
            AS without_end,
        SUM(CASE WHEN o.error_type = 'Interrupted' THEN 1 - o.superseded ELSE 0 END) AS interrupted,
        SUM(CASE WHEN COALESCE(o.error_message, '') = '' THEN 1 - o.superseded ELSE 0 END) AS without_reason,
        -- The greatest of "seconds, padded, and name": cheaper than ranking every operation of every run.
        MAX(CASE WHEN o.superseded = 0 THEN CONCAT(SORTABLE_SECONDS(o.seconds), o.operation) END) AS slowest,
        MAX(CASE WHEN o.superseded = 0 THEN o.seconds END) AS slowest_seconds,
        MAX(o.trace_id) AS trace_id
    FROM meta.monitoring_operations AS o
    GROUP BY o.orchestration_run_id, o.workload, o.status
),
run_totals AS (
    SELECT
        p.orchestration_run_id,
        MAX(p.data_product) AS data_product,
        MAX(p.environment) AS environment,
        MIN(p.start_time) AS start_time,
        MAX(p.end_time) AS end_time,
        SUM(p.outcomes) AS operations,
        SUM(CASE WHEN p.workload = 'integration' THEN p.outcomes ELSE 0 END) AS loads,
        SUM(CASE WHEN p.workload = 'integration' AND p.status = 'Succeeded' THEN p.outcomes ELSE 0 END)
            AS loads_succeeded,
        SUM(CASE WHEN p.workload = 'integration' AND p.status = 'Failed' THEN p.outcomes ELSE 0 END) AS loads_failed,
        SUM(CASE WHEN p.workload = 'transformation' THEN p.outcomes ELSE 0 END) AS nodes,
        SUM(CASE WHEN p.workload = 'transformation' AND p.status = 'Succeeded' THEN p.outcomes ELSE 0 END)
            AS nodes_succeeded,
        SUM(CASE WHEN p.workload = 'transformation' AND p.status = 'Warned' THEN p.outcomes ELSE 0 END)
            AS nodes_warned,
        SUM(CASE WHEN p.workload = 'transformation' AND p.status = 'Failed' THEN p.outcomes ELSE 0 END)
            AS nodes_failed,
        SUM(CASE WHEN p.workload = 'transformation' AND p.status = 'Skipped' THEN p.outcomes ELSE 0 END)
            AS nodes_skipped,
        SUM(CASE WHEN p.workload = 'consumption' THEN p.outcomes ELSE 0 END) AS refreshes,
        SUM(CASE WHEN p.workload = 'consumption' AND p.status = 'Succeeded' THEN p.outcomes ELSE 0 END)
            AS refreshes_succeeded,
        SUM(CASE WHEN p.workload = 'consumption' AND p.status = 'Failed' THEN p.outcomes ELSE 0 END)
            AS refreshes_failed,
        SUM(CASE WHEN p.workload = 'reconciliation' THEN p.outcomes ELSE 0 END) AS reconciliation_results,
        SUM(CASE WHEN p.status = 'Succeeded' THEN p.outcomes ELSE 0 END) AS succeeded,
        SUM(CASE WHEN p.status = 'Failed' THEN p.outcomes ELSE 0 END) AS failed,
        SUM(CASE WHEN p.status = 'Warned' THEN p.outcomes ELSE 0 END) AS warned,
        SUM(CASE WHEN p.status = 'Skipped' THEN p.outcomes ELSE 0 END) AS skipped,
        SUM(CASE WHEN p.status = 'Running' THEN p.outcomes ELSE 0 END) AS running,
        SUM(CASE WHEN p.status IN ('Succeeded', 'Failed', 'Warned', 'Skipped', 'Running') THEN 0 ELSE p.outcomes END)
            AS unknown,
        SUM_OF(CASE WHEN p.workload = 'integration' THEN p.rows_read END) AS rows_read,
        SUM_OF(CASE WHEN p.workload = 'integration' THEN p.rows_written END) AS rows_written,
        SUM_OF(CASE WHEN p.workload = 'integration' THEN p.bytes_read END) AS bytes_read,
        SUM_OF(CASE WHEN p.workload = 'integration' THEN p.bytes_written END) AS bytes_written,
        SUM(CASE WHEN p.workload = 'integration' THEN p.without_end ELSE 0 END) AS loads_without_end,
        SUM(p.interrupted) AS interrupted,
        SUM(CASE WHEN p.status = 'Failed' THEN p.without_reason ELSE 0 END) AS failed_without_reason,
        MAX(p.slowest) AS slowest,
        MAX(p.slowest_seconds) AS slowest_seconds,
        MAX(p.trace_id) AS trace_id
    FROM run_parts AS p
    GROUP BY p.orchestration_run_id
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
        WHEN t.succeeded > 0 THEN 'Succeeded'
        ELSE 'Skipped'
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
