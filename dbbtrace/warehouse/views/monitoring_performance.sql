-- One row for each table, dbt node and model, by data product and environment: how long its newest success took,
-- and how long the ones before. Percentiles are nearest-rank; the median of an even number is the middle two's mean.

WITH timed AS (
    SELECT
        o.data_product, o.environment, o.workload, o.kind, o.operation_id, o.operation, o.resource_type,
        o.orchestration_run_id, o.start_time, o.seconds, o.rows_written,
        ROW_NUMBER() OVER (
            PARTITION BY o.data_product, o.environment, o.kind, o.operation_id
            ORDER BY o.start_time DESC, o.orchestration_run_id DESC
        ) AS age
    FROM meta.monitoring_operations AS o
    WHERE o.superseded = 0 AND o.status IN ('Succeeded', 'Warned') AND o.seconds IS NOT NULL
),
ranked AS (
    SELECT
        t.data_product, t.environment, t.workload, t.kind, t.operation_id, t.operation, t.resource_type,
        t.orchestration_run_id, t.start_time, t.seconds, t.rows_written, t.age,
        CASE WHEN t.age > 1 THEN t.seconds END AS earlier_seconds,
        ROW_NUMBER() OVER (
            PARTITION BY
                t.data_product, t.environment, t.kind, t.operation_id, CASE WHEN t.age = 1 THEN 1 ELSE 0 END
            ORDER BY t.seconds
        ) AS place,
        COUNT(*) OVER (PARTITION BY t.data_product, t.environment, t.kind, t.operation_id) - 1 AS earlier_runs
    FROM timed AS t
)
SELECT
    r.data_product,
    r.environment,
    r.workload,
    r.kind,
    r.operation_id,
    MAX(CASE WHEN r.age = 1 THEN r.operation END) AS operation,
    MAX(CASE WHEN r.age = 1 THEN r.resource_type END) AS resource_type,
    MAX(CASE WHEN r.age = 1 THEN r.orchestration_run_id END) AS orchestration_run_id,
    MAX(CASE WHEN r.age = 1 THEN r.start_time END) AS start_time,
    MAX(CASE WHEN r.age = 1 THEN r.seconds END) AS seconds,
    MAX(CASE WHEN r.age = 1 THEN r.rows_written END) AS rows_written,
    MAX(r.earlier_runs) AS earlier_runs,
    MIN(r.earlier_seconds) AS least_seconds,
    AVG(CASE WHEN 2 * r.place BETWEEN r.earlier_runs AND r.earlier_runs + 2 THEN r.earlier_seconds END) AS median_seconds,
    MIN(CASE WHEN 100 * r.place >= 95 * r.earlier_runs THEN r.earlier_seconds END) AS p95_seconds,
    MAX(r.earlier_seconds) AS most_seconds
FROM ranked AS r
GROUP BY r.data_product, r.environment, r.workload, r.kind, r.operation_id
