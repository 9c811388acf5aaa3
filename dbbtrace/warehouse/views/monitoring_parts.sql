-- One row for each part of a run that is no operation: the run itself, a job's share of it, a workload, a dbt
-- invocation, a step or an attempt that has a row. What has not ended is Running.
-- superseded = 1: the same part began again after this one had ended, or dbt built all that it was to build; filter on
-- 0 for outcomes. begun_again = 1: it failed or was killed, and something came after it that may have been another try:
-- the same script with other arguments, `dbt retry`, or dbt again where nobody knows what had failed.
-- selected_nothing = 1: dbt ended well and its selection matched nothing. 2: so it may, of what has changed only.

WITH part_rows AS (
    SELECT
        p.orchestration_run_id, p.data_product, p.environment, p.workspace_id, p.part, p.name, p.workload, p.status,
        p.error_type, p.error_message, p.pipeline_id, p.pipeline_run_id, p.attempt, p.loads, p.nodes, p.refreshes,
        p.dropped, p.job_invoke_type, p.detail, p.parent_span_id, p.trace_id, p.span_id, p.record_id,
        MOMENT(p.process_started_at) AS start_time,
        MOMENT(p.process_completed_at) AS end_time,
        MOMENT(p.job_scheduled_at) AS scheduled_time,
        -- A row that ended counts before an interrupted one, and that before one that only started.
        ROW_NUMBER() OVER (
            PARTITION BY p.orchestration_run_id, p.part, p.span_id
            ORDER BY
                CASE
                    WHEN p.status = 'Started' THEN 2
                    WHEN p.error_type = 'Interrupted' THEN 1
                    ELSE 0
                END,
                p.record_id
        ) AS place
    FROM meta.monitoring_run_part AS p
    WHERE
        p.orchestration_run_id <> ''
        AND p.part IN ('run', 'job', 'workload', 'dbt_invocation', 'step', 'attempt')
),
keyed_parts AS (
    SELECT
        q.orchestration_run_id, q.data_product, q.environment, q.workspace_id, q.part, q.name, q.workload, q.status,
        q.error_type, q.error_message, q.pipeline_id, q.pipeline_run_id, q.attempt, q.loads, q.nodes, q.refreshes,
        q.dropped, q.job_invoke_type, q.detail, q.parent_span_id, q.trace_id, q.span_id, q.record_id, q.start_time,
        q.end_time, q.scheduled_time,
        MAX(q.start_time) OVER (
            PARTITION BY
                q.orchestration_run_id, q.part, COALESCE(q.name, q.span_id),
                COALESCE(q.pipeline_run_id, q.pipeline_id, ''),
                -- Of dbt, what it was to build: another project, selection or macro makes nothing good. Of a step, what
                -- the job said of it.
                CASE
                    WHEN q.part = 'dbt_invocation' THEN COALESCE(q.detail, '')
                    WHEN q.part = 'step' AND MEMBER_OF(q.detail, 'job_status') IS NULL THEN COALESCE(q.detail, '')
                    ELSE ''
                END
        ) AS last_start_time,
        -- Asked of dbt alone.
        MAX(q.nodes) OVER (
            PARTITION BY
                q.orchestration_run_id, q.part, COALESCE(q.name, q.span_id),
                COALESCE(q.pipeline_run_id, q.pipeline_id, ''), COALESCE(q.detail, '')
        ) AS most_nodes,
        MAX(q.start_time) OVER (
            PARTITION BY q.orchestration_run_id, q.part, PROGRAM_OF(q.name), COALESCE(q.pipeline_run_id, q.pipeline_id, '')
        ) AS last_program_time
    FROM part_rows AS q
    WHERE q.place = 1
),
built_later AS (
    -- dbt failed as a whole, or selected nothing, and later built the whole project, or a selection that has the first
    -- one in it.
    SELECT f.orchestration_run_id, f.span_id
    FROM meta.monitoring_run_part AS f
    INNER JOIN meta.monitoring_run_part AS g
        ON
            g.orchestration_run_id = f.orchestration_run_id
            AND g.span_id <> f.span_id
            AND g.name IN (f.name, 'dbt build')
            AND MOMENT(g.process_started_at) >= MOMENT(f.process_completed_at)
            AND COALESCE(MEMBER_OF(g.detail, 'project'), MEMBER_OF(g.detail, 'target'))
            = COALESCE(MEMBER_OF(f.detail, 'project'), MEMBER_OF(f.detail, 'target'))
            AND COALESCE(MEMBER_OF(g.detail, 'exclude'), MEMBER_OF(f.detail, 'exclude'), '')
            = COALESCE(MEMBER_OF(f.detail, 'exclude'), '')
            AND (
                MEMBER_OF(g.detail, 'select') IS NULL
                OR INCLUDES(MEMBER_OF(g.detail, 'select'), MEMBER_OF(f.detail, 'select'), ' ', ' ')
                OR INCLUDES(MEMBER_OF(g.detail, 'select'), MEMBER_OF(f.detail, 'select'), ' +', ' ')
                OR INCLUDES(MEMBER_OF(g.detail, 'select'), MEMBER_OF(f.detail, 'select'), ' ', '+ ')
                OR INCLUDES(MEMBER_OF(g.detail, 'select'), MEMBER_OF(f.detail, 'select'), ' +', '+ ')
            )
    WHERE
        f.part = 'dbt_invocation'
        AND (f.status = 'Failed' OR f.nodes = 0)
        AND f.name IN ('dbt build', 'dbt retry', 'dbt run', 'dbt seed', 'dbt snapshot', 'dbt test')
        AND MEMBER_OF(f.detail, 'operation') IS NULL
        AND g.part = 'dbt_invocation'
        AND g.status = 'Succeeded'
        AND MEMBER_OF(g.detail, 'operation') IS NULL
    GROUP BY f.orchestration_run_id, f.span_id
    UNION
    -- A failed record_dbt knows no more than what the transformation around it was to build.
    SELECT f.orchestration_run_id, f.span_id
    FROM meta.monitoring_run_part AS f
    INNER JOIN meta.monitoring_run_part AS g
        ON
            g.orchestration_run_id = f.orchestration_run_id
            AND MOMENT(g.process_completed_at) >= MOMENT(f.process_completed_at)
            AND MEMBER_OF(g.detail, 'target') IS NOT NULL
            AND MEMBER_OF(g.detail, 'exclude') IS NULL
            AND (
                MEMBER_OF(g.detail, 'select') IS NULL
                OR INCLUDES(MEMBER_OF(g.detail, 'select'), MEMBER_OF(f.detail, 'select'), ' ', ' ')
            )
    WHERE
        f.part = 'dbt_invocation'
        AND f.status = 'Failed'
        AND f.name = 'dbt'
        AND g.part = 'dbt_invocation'
        AND g.status = 'Succeeded'
        AND g.name = 'dbt build'
        AND g.nodes > 0
    GROUP BY f.orchestration_run_id, f.span_id
    UNION
    -- A step with the same attributes, and perhaps more that it was given later.
    SELECT f.orchestration_run_id, f.span_id
    FROM meta.monitoring_run_part AS f
    INNER JOIN meta.monitoring_run_part AS g
        ON
            g.orchestration_run_id = f.orchestration_run_id
            AND g.name = f.name
            AND MOMENT(g.process_started_at) >= MOMENT(f.process_completed_at)
            AND IS_MORE_OF(g.detail, f.detail)
    WHERE f.part = 'step' AND f.status = 'Failed' AND g.part = 'step' AND g.status = 'Succeeded'
    GROUP BY f.orchestration_run_id, f.span_id
),
tried_again AS (
    -- dbt failed as a whole, and later did well what may be the same.
    SELECT f.orchestration_run_id, f.span_id
    FROM meta.monitoring_run_part AS f
    INNER JOIN meta.monitoring_run_part AS g
        ON
            g.orchestration_run_id = f.orchestration_run_id
            AND MOMENT(g.process_completed_at) >= MOMENT(f.process_completed_at)
            AND (
                (f.name = 'dbt' AND MEMBER_OF(g.detail, 'target') = MEMBER_OF(f.detail, 'target'))
                OR (
                    g.name = 'dbt retry'
                    AND COALESCE(MEMBER_OF(g.detail, 'project'), '') = COALESCE(MEMBER_OF(f.detail, 'project'), '')
                )
            )
    WHERE
        f.part = 'dbt_invocation'
        AND f.status = 'Failed'
        AND f.name IN ('dbt', 'dbt build', 'dbt retry', 'dbt run', 'dbt seed', 'dbt snapshot', 'dbt test')
        AND g.part = 'dbt_invocation'
        AND g.status = 'Succeeded'
        AND g.nodes > 0
    GROUP BY f.orchestration_run_id, f.span_id
)
SELECT
    k.orchestration_run_id,
    k.data_product,
    k.environment,
    k.part,
    k.name,
    k.workload,
    CASE WHEN k.status = 'Started' THEN 'Running' ELSE k.status END AS status,
    k.start_time,
    k.end_time,
    SECONDS_BETWEEN(k.start_time, k.end_time) AS seconds,
    k.error_type,
    k.error_message,
    k.pipeline_id,
    k.pipeline_run_id,
    k.workspace_id,
    k.attempt,
    k.loads,
    k.nodes,
    k.refreshes,
    k.dropped,
    k.job_invoke_type,
    k.scheduled_time,
    k.detail,
    k.parent_span_id,
    k.trace_id,
    k.span_id,
    k.record_id,
    CASE
        WHEN k.part = 'run' THEN 0
        WHEN b.span_id IS NOT NULL THEN 1
        WHEN k.last_start_time <= k.start_time THEN 0
        WHEN k.last_start_time >= k.end_time THEN 1
        -- If a part never ended, only the pipeline's run id shows that it was tried again.
        WHEN k.end_time IS NULL AND COALESCE(k.pipeline_run_id, k.pipeline_id) IS NOT NULL THEN 1
        ELSE 0
    END AS superseded,
    CASE
        WHEN b.span_id IS NOT NULL OR k.status NOT IN ('Failed', 'Interrupted') THEN 0
        WHEN a.span_id IS NOT NULL THEN 1
        WHEN k.part <> 'job' OR k.last_start_time >= k.end_time THEN 0
        -- Jobs without a script are called so.
        WHEN PROGRAM_OF(k.name) IN ('orchestration_run', 'join_run', 'begin_run') THEN 0
        WHEN k.last_program_time >= k.end_time THEN 1
        ELSE 0
    END AS begun_again,
    CASE
        WHEN k.part <> 'dbt_invocation' OR k.status <> 'Succeeded' OR COALESCE(k.most_nodes, 1) > 0 THEN 0
        WHEN k.name NOT IN ('dbt', 'dbt build', 'dbt run', 'dbt seed', 'dbt snapshot', 'dbt source freshness', 'dbt test')
            THEN 0
        WHEN k.detail LIKE '%state:%' OR k.detail LIKE '%source_status:%' OR k.detail LIKE '%result:%' THEN 2
        -- A project may have no seed, and be told to load its seeds.
        WHEN MEMBER_OF(k.detail, 'select') IS NULL AND k.name NOT IN ('dbt', 'dbt build', 'dbt run') THEN 0
        ELSE 1
    END AS selected_nothing
FROM keyed_parts AS k
LEFT JOIN built_later AS b ON b.orchestration_run_id = k.orchestration_run_id AND b.span_id = k.span_id
LEFT JOIN tried_again AS a ON a.orchestration_run_id = k.orchestration_run_id AND a.span_id = k.span_id
