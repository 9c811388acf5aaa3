-- One row for each edge of a run: a dbt node and one thing that it selects from, with what became of both.
-- A source is matched with the table load of its name in the same run, by the rules of dbbtrace.graph.tables as far as
-- the rows tell: settings and manifests are not known here. Needs the column depends_on.

WITH edges AS (
    SELECT
        o.orchestration_run_id, o.data_product, o.environment, o.operation, o.operation_id, o.resource_type, o.status,
        o.start_time, e.value AS upstream_id,
        -- What follows "source", with an end that can be looked for.
        CONCAT(SUBSTRING(LOWER(e.value), 8, 8000), '|') AS source_id
    FROM meta.monitoring_operations AS o
    CROSS JOIN EACH_OF(o.depends_on) AS e
    WHERE o.kind = 'dbt_node' AND o.superseded = 0
),
upstream_loads AS (
    -- Each load twice: by its own name, and by the platform's, source__schema_table.
    SELECT
        o.orchestration_run_id, o.operation, o.operation_id, o.source_name, o.status, o.end_time, w.is_own_name,
        -- What only a name with a schema is compared with.
        CASE WHEN o.operation <> LAST_SEGMENT(o.operation) THEN CONCAT('.', LOWER(o.operation), '|') END AS dotted,
        LOWER(
            CASE
                WHEN w.is_own_name = 1 THEN LAST_SEGMENT(o.operation)
                WHEN o.operation = LAST_SEGMENT(o.operation)
                    THEN CONCAT(COALESCE(o.source_name, ''), '___', o.operation)
                ELSE CONCAT(
                    COALESCE(o.source_name, ''), '__',
                    REPLACE(
                        CONCAT(o.operation, '|'),
                        CONCAT('.', LAST_SEGMENT(o.operation), '|'),
                        CONCAT('_', LAST_SEGMENT(o.operation))
                    )
                )
            END
        ) AS table_name
    FROM meta.monitoring_operations AS o
    CROSS JOIN (SELECT 0 AS is_own_name UNION ALL SELECT 1 AS is_own_name) AS w
    WHERE o.kind = 'table_load' AND o.superseded = 0
),
source_edges AS (
    SELECT
        e.orchestration_run_id, e.operation_id, e.upstream_id,
        l.operation, l.operation_id AS load_id, l.status, l.end_time,
        -- Where tables of one name come from several systems: the system or schema that dbt's source names.
        -- REPLACE finds a name as it stands; to LIKE its underscores would be any letter.
        ROW_NUMBER() OVER (
            PARTITION BY e.orchestration_run_id, e.operation_id, e.upstream_id
            ORDER BY
                CASE
                    WHEN l.is_own_name = 0 THEN 0
                    WHEN REPLACE(e.source_id, CONCAT('.', LOWER(COALESCE(l.source_name, '?')), '.'), '') <> e.source_id
                        THEN 1
                    WHEN REPLACE(e.source_id, l.dotted, '') <> e.source_id THEN 2
                    ELSE 3
                END,
                l.operation,
                l.source_name
        ) AS place
    FROM edges AS e
    INNER JOIN upstream_loads AS l
        ON l.orchestration_run_id = e.orchestration_run_id AND l.table_name = LOWER(LAST_SEGMENT(e.upstream_id))
    WHERE e.upstream_id LIKE 'source.%'
),
found_edges AS (
    SELECT
        e.orchestration_run_id, e.data_product, e.environment, e.operation, e.operation_id, e.resource_type, e.status,
        e.start_time, e.upstream_id,
        COALESCE(n.operation, l.operation) AS upstream,
        COALESCE(n.operation_id, l.load_id) AS upstream_operation_id,
        COALESCE(n.kind, CASE WHEN l.operation IS NOT NULL THEN 'table_load' END) AS upstream_kind,
        COALESCE(n.status, l.status) AS upstream_status,
        COALESCE(n.end_time, l.end_time) AS upstream_end_time
    FROM edges AS e
    LEFT JOIN source_edges AS l
        ON l.orchestration_run_id = e.orchestration_run_id
        AND l.operation_id = e.operation_id
        AND l.upstream_id = e.upstream_id
        AND l.place = 1
    LEFT JOIN meta.monitoring_operations AS n
        ON n.orchestration_run_id = e.orchestration_run_id
        AND n.operation_id = e.upstream_id
        AND n.kind = 'dbt_node'
        AND n.superseded = 0
        AND n.operation_id NOT LIKE 'source.%'
)
SELECT
    f.orchestration_run_id,
    f.data_product,
    f.environment,
    f.operation,
    f.operation_id,
    f.resource_type,
    f.status,
    f.start_time,
    f.upstream,
    f.upstream_id,
    f.upstream_operation_id,
    f.upstream_kind,
    f.upstream_status,
    f.upstream_end_time,
    CASE
        WHEN f.upstream_status IS NULL THEN 'upstream is not in this run'
        WHEN f.upstream_status IN ('Succeeded', 'Warned')
            THEN CASE
                WHEN PLUS_SECONDS(f.start_time, 1) < f.upstream_end_time THEN 'began before its upstream ended'
                ELSE 'valid'
            END
        WHEN f.status IN ('Succeeded', 'Warned') THEN 'built although its upstream was not'
        ELSE 'not built, like its upstream'
    END AS verdict
FROM found_edges AS f
