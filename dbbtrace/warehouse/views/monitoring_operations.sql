-- One row for each operation of a run, uniform over table loads, dbt nodes, model refreshes and, where their table
-- exists, reconciliation results. Starts and ends are corrected, statuses normalised, duplicates left out.
-- operation_id names the same thing in every run. superseded = 1: the run did the same again later
-- (a table loaded twice, a dbt retry, a second refresh); filter on 0 for outcomes.

WITH load_rows AS (
    SELECT
        l.table_name, l.schema_name, l.source_name, l.workspace, l.status, l.duration, l.data_read, l.data_written,
        l.rows_read, l.rows_written, l.data_product, l.environment, l.orchestration_run_id,
        l.integration_pipeline_source_run_id, l.integration_pipeline_id, l.record_id, l.trace_id, l.span_id,
        l.error_type, l.error_message,
        COALESCE(MOMENT(l.process_started_at), MOMENT(l.[timestamp])) AS start_time,
        MOMENT(l.process_completed_at) AS end_time,
        -- The outcome comes first: a row that ended before an interrupted one, then the row that started last (a
        -- hand-made one: at least a second later). Nobody knows whether a failure without a time was made good.
        ROW_NUMBER() OVER (
            PARTITION BY
                l.orchestration_run_id, COALESCE(LOWER(l.source_name), ''), COALESCE(LOWER(l.schema_name), ''),
                LOAD_NAME(l.table_name, l.record_id)
            ORDER BY
                CASE WHEN l.error_type = 'Interrupted' THEN 1 ELSE 0 END,
                FAILED_WITHOUT_TIME_FIRST(COALESCE(l.process_started_at, l.[timestamp]), STATUS(l.status, l.error_type)),
                CASE
                    WHEN l.record_id IS NULL THEN PLUS_SECONDS(COALESCE(MOMENT(l.process_started_at), MOMENT(l.[timestamp])), -1)
                    ELSE COALESCE(MOMENT(l.process_started_at), MOMENT(l.[timestamp]))
                END DESC,
                CASE WHEN l.record_id IS NULL THEN 1 ELSE 0 END,
                l.record_id
        ) AS place,
        LAG(l.record_id) OVER (
            PARTITION BY
                l.orchestration_run_id, COALESCE(LOWER(l.source_name), ''), COALESCE(LOWER(l.schema_name), ''),
                LOAD_NAME(l.table_name, l.record_id)
            ORDER BY
                CASE WHEN l.error_type = 'Interrupted' THEN 1 ELSE 0 END,
                FAILED_WITHOUT_TIME_FIRST(COALESCE(l.process_started_at, l.[timestamp]), STATUS(l.status, l.error_type)),
                CASE
                    WHEN l.record_id IS NULL THEN PLUS_SECONDS(COALESCE(MOMENT(l.process_started_at), MOMENT(l.[timestamp])), -1)
                    ELSE COALESCE(MOMENT(l.process_started_at), MOMENT(l.[timestamp]))
                END DESC,
                CASE WHEN l.record_id IS NULL THEN 1 ELSE 0 END,
                l.record_id
        ) AS record_before,
        LAG(COALESCE(MOMENT(l.process_started_at), MOMENT(l.[timestamp]))) OVER (
            PARTITION BY
                l.orchestration_run_id, COALESCE(LOWER(l.source_name), ''), COALESCE(LOWER(l.schema_name), ''),
                LOAD_NAME(l.table_name, l.record_id)
            ORDER BY
                CASE WHEN l.error_type = 'Interrupted' THEN 1 ELSE 0 END,
                FAILED_WITHOUT_TIME_FIRST(COALESCE(l.process_started_at, l.[timestamp]), STATUS(l.status, l.error_type)),
                CASE
                    WHEN l.record_id IS NULL THEN PLUS_SECONDS(COALESCE(MOMENT(l.process_started_at), MOMENT(l.[timestamp])), -1)
                    ELSE COALESCE(MOMENT(l.process_started_at), MOMENT(l.[timestamp]))
                END DESC,
                CASE WHEN l.record_id IS NULL THEN 1 ELSE 0 END,
                l.record_id
        ) AS start_before
    FROM meta.monitoring_integration AS l
    WHERE l.orchestration_run_id <> ''
),
own_nodes AS (
    -- Nodes with a row of ours, in runs that have hand-made rows too.
    SELECT CONCAT(d.orchestration_run_id, '/', d.invocation_id, '/', d.item_name, '/', COALESCE(d.relation_name, '')) AS node
    FROM meta.monitoring_transformation_dbt AS d
    WHERE
        d.record_id IS NOT NULL
        AND d.orchestration_run_id IN (
            SELECT h.orchestration_run_id FROM meta.monitoring_transformation_dbt AS h WHERE h.record_id IS NULL
        )
),
ended_nodes AS (
    -- Spans that ended, in runs with interrupted ones.
    SELECT CONCAT(d.orchestration_run_id, '/', d.span_id) AS span
    FROM meta.monitoring_transformation_dbt AS d
    WHERE
        d.span_id IS NOT NULL
        AND COALESCE(d.error_type, '') <> 'Interrupted'
        AND COALESCE(d.process_stage, 'execute') = 'execute'
        AND d.orchestration_run_id IN (
            SELECT h.orchestration_run_id
            FROM meta.monitoring_transformation_dbt AS h
            WHERE h.error_type = 'Interrupted'
        )
),
lone_compiles AS (
    -- Hand-made writers write one row for each stage that dbt timed. A node that failed to compile has no other.
    SELECT CONCAT(d.orchestration_run_id, '/', d.invocation_id, '/', d.item_name, '/', COALESCE(d.relation_name, '')) AS node
    FROM meta.monitoring_transformation_dbt AS d
    WHERE d.record_id IS NULL AND d.orchestration_run_id <> ''
    GROUP BY CONCAT(d.orchestration_run_id, '/', d.invocation_id, '/', d.item_name, '/', COALESCE(d.relation_name, ''))
    HAVING
        MAX(CASE WHEN d.process_stage = 'compile' AND COALESCE(LOWER(d.status), '') <> 'success' THEN 0 ELSE 1 END) = 0
),
repeated_nodes AS (
    SELECT d.orchestration_run_id, CONCAT(d.orchestration_run_id, '/', NODE_ID(d.unique_id, d.relation_name, d.item_name)) AS node
    FROM meta.monitoring_transformation_dbt AS d
    WHERE
        d.orchestration_run_id <> ''
        -- Left out: compile rows but for those, hand-made rows beside one of ours, interrupted rows beside one that ended.
        AND (
            COALESCE(d.process_stage, 'execute') <> 'compile'
            OR (
                d.record_id IS NULL
                AND CONCAT(d.orchestration_run_id, '/', d.invocation_id, '/', d.item_name, '/', COALESCE(d.relation_name, ''))
                IN (SELECT c.node FROM lone_compiles AS c)
            )
        )
        AND (
            d.record_id IS NOT NULL
            OR CONCAT(d.orchestration_run_id, '/', d.invocation_id, '/', d.item_name, '/', COALESCE(d.relation_name, ''))
            NOT IN (SELECT w.node FROM own_nodes AS w)
        )
        AND (
            COALESCE(d.error_type, '') <> 'Interrupted'
            OR CONCAT(d.orchestration_run_id, '/', d.span_id) NOT IN (SELECT e.span FROM ended_nodes AS e)
        )
    GROUP BY d.orchestration_run_id, NODE_ID(d.unique_id, d.relation_name, d.item_name)
    HAVING COUNT(*) > 1
),
node_rows AS (
    -- Most nodes have one row in a run. Only the others are ranked, because the sorting takes time.
    SELECT
        d.item_name, d.invocation_id, d.status, d.execution_time, d.relation_name, d.rows_affected, d.duration,
        d.environment, d.orchestration_run_id, d.data_product, d.transformation_pipeline_run_id, d.workspace_id,
        d.transformation_pipeline_id, d.record_id, d.trace_id, d.span_id, d.error_type, d.error_message, d.unique_id,
        d.resource_type, d.message, d.depends_on, d.materialized,
        MOMENT(d.process_started_at) AS start_time,
        MOMENT(d.process_completed_at) AS end_time,
        1 AS place, NULL_TEXT AS mark, NULL_TEXT AS mark_before
    FROM meta.monitoring_transformation_dbt AS d
    WHERE
        d.orchestration_run_id <> ''
        -- Left out: compile rows but for those, hand-made rows beside one of ours, interrupted rows beside one that ended.
        AND (
            COALESCE(d.process_stage, 'execute') <> 'compile'
            OR (
                d.record_id IS NULL
                AND CONCAT(d.orchestration_run_id, '/', d.invocation_id, '/', d.item_name, '/', COALESCE(d.relation_name, ''))
                IN (SELECT c.node FROM lone_compiles AS c)
            )
        )
        AND (
            d.record_id IS NOT NULL
            OR CONCAT(d.orchestration_run_id, '/', d.invocation_id, '/', d.item_name, '/', COALESCE(d.relation_name, ''))
            NOT IN (SELECT w.node FROM own_nodes AS w)
        )
        AND (
            COALESCE(d.error_type, '') <> 'Interrupted'
            OR CONCAT(d.orchestration_run_id, '/', d.span_id) NOT IN (SELECT e.span FROM ended_nodes AS e)
        )
        AND CONCAT(d.orchestration_run_id, '/', NODE_ID(d.unique_id, d.relation_name, d.item_name))
        NOT IN (SELECT p.node FROM repeated_nodes AS p)
    UNION ALL
    SELECT
        d.item_name, d.invocation_id, d.status, d.execution_time, d.relation_name, d.rows_affected, d.duration,
        d.environment, d.orchestration_run_id, d.data_product, d.transformation_pipeline_run_id, d.workspace_id,
        d.transformation_pipeline_id, d.record_id, d.trace_id, d.span_id, d.error_type, d.error_message, d.unique_id,
        d.resource_type, d.message, d.depends_on, d.materialized,
        MOMENT(d.process_started_at) AS start_time,
        MOMENT(d.process_completed_at) AS end_time,
        -- The node's last outcome comes first; a failure without a time before all that have one. Two copies of one row
        -- follow each other.
        ROW_NUMBER() OVER (
            PARTITION BY d.orchestration_run_id, NODE_ID(d.unique_id, d.relation_name, d.item_name)
            ORDER BY
                FAILED_WITHOUT_TIME_FIRST(
                    COALESCE(d.generated_at, d.process_completed_at, d.process_started_at), STATUS(d.status, d.error_type)
                ),
                MOMENT(COALESCE(d.generated_at, d.process_completed_at, d.process_started_at)) DESC,
                MOMENT(d.process_started_at) DESC,
                CASE WHEN d.error_type = 'Interrupted' THEN 1 ELSE 0 END, d.record_id
        ) AS place,
        COALESCE(d.record_id, SECOND_OF(d.generated_at), '') AS mark,
        LAG(COALESCE(d.record_id, SECOND_OF(d.generated_at), '')) OVER (
            PARTITION BY d.orchestration_run_id, NODE_ID(d.unique_id, d.relation_name, d.item_name)
            ORDER BY
                FAILED_WITHOUT_TIME_FIRST(
                    COALESCE(d.generated_at, d.process_completed_at, d.process_started_at), STATUS(d.status, d.error_type)
                ),
                MOMENT(COALESCE(d.generated_at, d.process_completed_at, d.process_started_at)) DESC,
                MOMENT(d.process_started_at) DESC,
                CASE WHEN d.error_type = 'Interrupted' THEN 1 ELSE 0 END, d.record_id
        ) AS mark_before
    FROM meta.monitoring_transformation_dbt AS d
    WHERE
        d.orchestration_run_id IN (SELECT q.orchestration_run_id FROM repeated_nodes AS q)
        -- Left out: compile rows but for those, hand-made rows beside one of ours, interrupted rows beside one that ended.
        AND (
            COALESCE(d.process_stage, 'execute') <> 'compile'
            OR (
                d.record_id IS NULL
                AND CONCAT(d.orchestration_run_id, '/', d.invocation_id, '/', d.item_name, '/', COALESCE(d.relation_name, ''))
                IN (SELECT c.node FROM lone_compiles AS c)
            )
        )
        AND (
            d.record_id IS NOT NULL
            OR CONCAT(d.orchestration_run_id, '/', d.invocation_id, '/', d.item_name, '/', COALESCE(d.relation_name, ''))
            NOT IN (SELECT w.node FROM own_nodes AS w)
        )
        AND (
            COALESCE(d.error_type, '') <> 'Interrupted'
            OR CONCAT(d.orchestration_run_id, '/', d.span_id) NOT IN (SELECT e.span FROM ended_nodes AS e)
        )
        AND CONCAT(d.orchestration_run_id, '/', NODE_ID(d.unique_id, d.relation_name, d.item_name))
        IN (SELECT p.node FROM repeated_nodes AS p)
),
ended_refreshes AS (
    SELECT r.orchestration_run_id, r.span_id
    FROM meta.monitoring_semantic_model_refresh AS r
    WHERE r.span_id IS NOT NULL AND COALESCE(r.error_type, '') <> 'Interrupted'
    GROUP BY r.orchestration_run_id, r.span_id
),
refresh_rows AS (
    SELECT
        r.workspace_id, r.semantic_model_id, r.semantic_model_name, r.data_product, r.environment,
        r.orchestration_run_id, r.duration, r.status, r.data_product_refresh_pipeline_run_id,
        r.data_product_refresh_pipeline_id, r.record_id, r.trace_id, r.span_id, r.error_type, r.error_message,
        r.depends_on, MOMENT(r.process_started_at) AS start_time,
        MOMENT(r.process_completed_at) AS end_time,
        -- A model is refreshed once at a time: a start in the same second is the same refresh, written twice.
        ROW_NUMBER() OVER (
            PARTITION BY
                r.orchestration_run_id, NAMED(NULLIF(r.semantic_model_id, '?'), r.semantic_model_name),
                COALESCE(SECOND_OF(r.process_started_at), SECOND_OF(r.process_completed_at), r.record_id)
            ORDER BY
                CASE WHEN r.error_type = 'Interrupted' THEN 1 ELSE 0 END,
                CASE WHEN STATUS(r.status, NULL) = 'Running' THEN 1 ELSE 0 END,
                CASE WHEN r.record_id IS NULL THEN 1 ELSE 0 END,
                r.process_completed_at DESC,
                CASE WHEN STATUS(r.status, NULL) = 'Succeeded' THEN 1 ELSE 0 END,
                r.record_id
        ) AS place
    FROM meta.monitoring_semantic_model_refresh AS r
    LEFT JOIN ended_refreshes AS e
        ON e.orchestration_run_id = r.orchestration_run_id
        AND e.span_id = r.span_id
        AND r.error_type = 'Interrupted'
    WHERE r.orchestration_run_id <> '' AND e.orchestration_run_id IS NULL
),
workspace_environments AS (
    SELECT LOWER(TEXT(x.workspace_id)) AS workspace_id, MAX(x.environment) AS environment
    FROM meta.environments AS x
    WHERE x.environment <> ''
    GROUP BY LOWER(TEXT(x.workspace_id))
),
refresh_outcomes AS (
    SELECT
        f.workspace_id, f.semantic_model_id, f.semantic_model_name, f.data_product, f.environment,
        f.orchestration_run_id, f.duration, f.status, f.data_product_refresh_pipeline_run_id,
        f.data_product_refresh_pipeline_id, f.record_id, f.trace_id, f.span_id, f.error_type, f.error_message,
        f.depends_on, f.start_time, f.end_time,
        ROW_NUMBER() OVER (
            PARTITION BY f.orchestration_run_id, NAMED(NULLIF(f.semantic_model_id, '?'), f.semantic_model_name)
            ORDER BY
                FAILED_WITHOUT_TIME_FIRST(COALESCE(f.start_time, f.end_time), STATUS(f.status, f.error_type)),
                COALESCE(f.start_time, f.end_time) DESC,
                f.record_id
        ) AS place
    FROM refresh_rows AS f
    WHERE f.place = 1
)
SELECT
    l.orchestration_run_id,
    l.data_product,
    -- Hand-made rows name only their workspace.
    COALESCE(l.environment, v.environment) AS environment,
    'integration' AS workload,
    'table_load' AS kind,
    NAMED(CASE WHEN l.schema_name <> '' THEN CONCAT(l.schema_name, '.', l.table_name) ELSE l.table_name END) AS operation,
    CONCAT(COALESCE(l.source_name, ''), '/', COALESCE(l.schema_name, ''), '/', NAMED(l.table_name)) AS operation_id,
    l.source_name,
    NULL_TEXT AS resource_type,
    STATUS(l.status, l.error_type) AS status,
    l.status AS status_word,
    l.start_time,
    COALESCE(l.end_time, PLUS_SECONDS(l.start_time, l.duration)) AS end_time,
    COALESCE(SECONDS_BETWEEN(l.start_time, l.end_time), FLOAT(l.duration)) AS seconds,
    l.rows_read,
    l.rows_written,
    l.data_read AS bytes_read,
    l.data_written AS bytes_written,
    NULL_FLOAT AS amount,
    l.error_type,
    l.error_message,
    l.integration_pipeline_id AS pipeline_id,
    l.integration_pipeline_source_run_id AS pipeline_run_id,
    l.workspace AS workspace_id,
    NULL_TEXT AS invocation_id,
    NULL_TEXT AS depends_on,
    NULL_TEXT AS materialized,
    l.trace_id,
    l.span_id,
    l.record_id,
    CASE WHEN l.place = 1 THEN 0 ELSE 1 END AS superseded
FROM load_rows AS l
LEFT JOIN workspace_environments AS v ON v.workspace_id = LOWER(l.workspace) AND l.environment IS NULL
WHERE
    -- Left out: interrupted rows beside one that ended, duplicates of a record, hand-made rows within a second of another.
    CASE
        WHEN l.place = 1 THEN 1
        WHEN l.error_type = 'Interrupted' OR l.record_id = l.record_before THEN 0
        WHEN l.start_time IS NOT NULL AND l.start_before IS NULL THEN 1
        WHEN l.record_id <> l.record_before OR SECONDS_BETWEEN(l.start_time, l.start_before) > 1 THEN 1
        ELSE 0
    END = 1
UNION ALL
SELECT
    n.orchestration_run_id,
    n.data_product,
    CASE WHEN n.environment <> 'UNKNOWN' THEN n.environment END,
    'transformation',
    'dbt_node',
    NODE_NAME(n.unique_id, n.item_name),
    NODE_ID(n.unique_id, n.relation_name, n.item_name),
    NULL_TEXT,
    n.resource_type,
    STATUS(n.status, n.error_type),
    n.status,
    n.start_time,
    COALESCE(n.end_time, PLUS_SECONDS(n.start_time, n.duration)),
    COALESCE(FLOAT(n.execution_time), SECONDS_BETWEEN(n.start_time, n.end_time), FLOAT(n.duration)),
    NULL_COUNT,
    CASE WHEN n.rows_affected >= 0 THEN n.rows_affected END,
    NULL_COUNT,
    NULL_COUNT,
    NULL_FLOAT,
    n.error_type,
    -- dbt gives a message for successful nodes too.
    CASE WHEN n.error_type IS NULL AND STATUS(n.status, NULL) = 'Succeeded' THEN NULL_TEXT
        ELSE COALESCE(n.message, n.error_message) END,
    n.transformation_pipeline_id,
    n.transformation_pipeline_run_id,
    n.workspace_id,
    n.invocation_id,
    n.depends_on,
    n.materialized,
    n.trace_id,
    n.span_id,
    n.record_id,
    CASE WHEN n.place = 1 THEN 0 ELSE 1 END
FROM node_rows AS n
WHERE n.mark_before IS NULL OR n.mark <> n.mark_before
UNION ALL
SELECT
    f.orchestration_run_id,
    f.data_product,
    f.environment,
    'consumption',
    'model_refresh',
    NAMED(f.semantic_model_name, f.semantic_model_id),
    NAMED(f.semantic_model_id, f.semantic_model_name),
    NULL_TEXT,
    NULL_TEXT,
    STATUS(f.status, f.error_type),
    f.status,
    f.start_time,
    COALESCE(f.end_time, PLUS_SECONDS(f.start_time, f.duration)),
    COALESCE(SECONDS_BETWEEN(f.start_time, f.end_time), FLOAT(f.duration)),
    NULL_COUNT,
    NULL_COUNT,
    NULL_COUNT,
    NULL_COUNT,
    NULL_FLOAT,
    f.error_type,
    f.error_message,
    f.data_product_refresh_pipeline_id,
    f.data_product_refresh_pipeline_run_id,
    f.workspace_id,
    NULL_TEXT,
    f.depends_on,
    NULL_TEXT,
    f.trace_id,
    f.span_id,
    f.record_id,
    CASE WHEN f.place = 1 THEN 0 ELSE 1 END
FROM refresh_outcomes AS f
UNION ALL
SELECT
    k.orchestration_run_id,
    k.data_product,
    NULL_TEXT,
    'reconciliation',
    'reconciliation_result',
    NAMED(k.kpi_name),
    CONCAT(COALESCE(k.source_name, ''), '/', NAMED(k.kpi_name)),
    k.source_name,
    NULL_TEXT,
    'Succeeded',
    NULL_TEXT,
    NULL_MOMENT,
    NULL_MOMENT,
    NULL_FLOAT,
    NULL_COUNT,
    NULL_COUNT,
    NULL_COUNT,
    NULL_COUNT,
    FLOAT(k.amount),
    NULL_TEXT,
    NULL_TEXT,
    NULL_TEXT,
    k.reconciliation_pipeline_run_id,
    NULL_TEXT,
    NULL_TEXT,
    NULL_TEXT,
    NULL_TEXT,
    NULL_TEXT,
    NULL_TEXT,
    NULL_TEXT,
    0
FROM kpi_reconciliation_history AS k
WHERE k.orchestration_run_id <> ''
