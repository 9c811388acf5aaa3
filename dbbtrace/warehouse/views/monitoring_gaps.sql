-- One row for each thing that is missing from a run's record, for audit: what an auditor would ask about.

SELECT
    r.orchestration_run_id, r.data_product, r.environment, r.start_time,
    'no table load' AS gap, NULL_TEXT AS operation, NULL_TEXT AS detail
FROM meta.monitoring_runs AS r
WHERE r.without_load = 1
UNION ALL
SELECT r.orchestration_run_id, r.data_product, r.environment, r.start_time, 'no dbt node', NULL_TEXT, NULL_TEXT
FROM meta.monitoring_runs AS r
WHERE r.without_node = 1
UNION ALL
SELECT
    r.orchestration_run_id, r.data_product, r.environment, r.start_time, 'no completed refresh', NULL_TEXT, NULL_TEXT
FROM meta.monitoring_runs AS r
WHERE r.without_refresh = 1
UNION ALL
SELECT r.orchestration_run_id, r.data_product, r.environment, r.start_time, 'no data product', NULL_TEXT, NULL_TEXT
FROM meta.monitoring_runs AS r
WHERE r.without_data_product = 1
UNION ALL
SELECT
    o.orchestration_run_id, o.data_product, o.environment, o.start_time,
    CASE
        WHEN o.error_type = 'Interrupted' THEN 'interrupted'
        WHEN o.status = 'Running' THEN 'not ended'
        WHEN o.status NOT IN ('Succeeded', 'Failed', 'Warned', 'Skipped') THEN 'outcome unknown'
        WHEN o.status = 'Failed' AND COALESCE(o.error_message, '') = '' THEN 'failed without a reason'
        ELSE 'load without an end'
    END,
    o.operation,
    COALESCE(o.error_message, o.status_word)
FROM meta.monitoring_operations AS o
WHERE
    o.superseded = 0
    AND (
        o.error_type = 'Interrupted'
        OR o.status NOT IN ('Succeeded', 'Failed', 'Warned', 'Skipped')
        OR (o.status = 'Failed' AND COALESCE(o.error_message, '') = '')
        OR (o.kind = 'table_load' AND o.end_time IS NULL)
    )
