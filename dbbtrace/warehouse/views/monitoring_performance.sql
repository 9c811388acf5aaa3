-- One row for each table, dbt node and model, by data product and environment of its runs: how long its newest success
-- took, and how long the ones before. Percentiles are nearest-rank; the median of an even number is the middle two's
-- mean. Rows of other writers name a dbt node by its relation: they count for the node to which later rows give this
-- relation, if there is only one.

WITH known_nodes AS (
    SELECT
        d.data_product,
        NODE_ID(NULL_TEXT, d.relation_name, d.item_name) AS node_id,
        MAX(d.unique_id) AS unique_id
    FROM meta.monitoring_transformation_dbt AS d
    WHERE d.unique_id <> ''
    GROUP BY d.data_product, NODE_ID(NULL_TEXT, d.relation_name, d.item_name)
    HAVING MIN(d.unique_id) = MAX(d.unique_id)
),
owned AS (
    -- The run's product and environment, as monitoring_runs has them: hand-made loads lack an environment.
    SELECT
        MAX(o.data_product) OVER (PARTITION BY o.orchestration_run_id) AS data_product,
        COALESCE(
            MAX(o.environment) OVER (PARTITION BY o.orchestration_run_id),
            MAX(CASE WHEN o.kind = 'table_load' AND o.record_id IS NULL THEN LOWER(o.workspace_id) END)
                OVER (PARTITION BY o.orchestration_run_id)
        ) AS environment,
        o.data_product AS said_product, o.workload, o.kind, o.operation_id, o.operation, o.resource_type,
        o.orchestration_run_id, o.start_time, o.seconds, o.rows_written, o.status, o.superseded
    FROM meta.monitoring_operations AS o
),
named AS (
    SELECT
        w.data_product, w.environment, w.workload, w.kind, COALESCE(k.unique_id, w.operation_id) AS operation_id,
        w.operation, w.resource_type, w.orchestration_run_id, w.start_time, w.seconds, w.rows_written
    FROM owned AS w
    LEFT JOIN known_nodes AS k
        ON w.kind = 'dbt_node' AND k.node_id = w.operation_id AND k.data_product = w.said_product
    WHERE w.superseded = 0 AND w.status IN ('Succeeded', 'Warned') AND w.seconds IS NOT NULL
),
timed AS (
    SELECT
        n.data_product, n.environment, n.workload, n.kind, n.operation_id, n.operation, n.resource_type,
        n.orchestration_run_id, n.start_time, n.seconds, n.rows_written,
        ROW_NUMBER() OVER (
            PARTITION BY n.data_product, n.environment, n.kind, n.operation_id
            ORDER BY n.start_time DESC, n.orchestration_run_id DESC
        ) AS age
    FROM named AS n
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
