-- One row for each run: its verdict, how long it took, how it went, what is missing.
-- Counts are of outcomes: an operation that the run did again later is left out of them.
-- status is the verdict: Failed, Running, Unfinished, Incomplete, Warned or Succeeded, the first that applies; reason
-- names what made it so. It ranks what the tables hold, and what `dbbtrace check` has found and written.

WITH run_parts AS (
    -- Counted by workload and status first: a few rows for each run, which are quick to sum below.
    SELECT
        o.orchestration_run_id,
        o.workload,
        o.status,
        MAX(o.data_product) AS data_product,
        MAX(o.environment) AS environment,
        -- What tells hand-made loads apart where nobody knows their environment.
        MAX(CASE WHEN o.kind = 'table_load' AND o.record_id IS NULL THEN LOWER(o.workspace_id) END) AS workspace,
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
        -- All that ended, also what was done again later: those were promised too.
        SUM(CASE WHEN o.error_type = 'Interrupted' THEN 0 ELSE 1 END) AS arrived,
        COUNT(*) AS recorded,
        0 AS is_part,
        MAX(o.trace_id) AS trace_id
    FROM meta.monitoring_operations AS o
    GROUP BY o.orchestration_run_id, o.workload, o.status
    UNION ALL
    SELECT
        p.orchestration_run_id, '(part)', '(part)', MAX(p.data_product), MAX(p.environment), NULL_TEXT, MIN(p.start_time),
        MAX(COALESCE(p.end_time, p.start_time)), 0, NULL_COUNT, NULL_COUNT, NULL_COUNT, NULL_COUNT, 0, 0, 0, NULL_TEXT,
        NULL_FLOAT, 0, COUNT(*), 1, MAX(p.trace_id)
    FROM meta.monitoring_parts AS p
    GROUP BY p.orchestration_run_id
),
part_totals AS (
    SELECT
        p.orchestration_run_id,
        SUM(
            CASE
                -- If the nodes of a dbt invocation have rows, those decide.
                WHEN p.part = 'dbt_invocation' AND p.error_message LIKE '% nodes failed: %' THEN 0
                WHEN p.begun_again = 1 THEN 0
                WHEN p.status = 'Failed' AND p.superseded = 0 AND p.part IN ('job', 'workload', 'dbt_invocation') THEN 1
                ELSE 0
            END
        ) AS parts_failed,
        -- Failed and begun again: whether what failed was done again takes a look at the operations.
        SUM(
            CASE
                WHEN p.status IN ('Failed', 'Interrupted') AND p.superseded = 1 AND p.part IN ('job', 'workload') THEN 1
                ELSE 0
            END
        ) AS parts_repeated,
        -- Failed, and perhaps tried again: a judgement tells.
        SUM(
            CASE
                WHEN p.part = 'dbt_invocation' AND p.error_message LIKE '% nodes failed: %' THEN 0
                WHEN p.superseded = 0 AND p.begun_again = 1 THEN 1
                ELSE 0
            END
        ) AS parts_begun_again,
        -- dbt had nothing to do: whether that is as it should be, a judgement tells.
        SUM(CASE WHEN p.selected_nothing = 1 AND p.superseded = 0 THEN 1 ELSE 0 END) AS parts_without_nodes,
        SUM(CASE WHEN p.status = 'Running' AND p.superseded = 0 THEN 1 ELSE 0 END) AS parts_running,
        SUM(
            CASE
                WHEN p.begun_again = 1 THEN 0
                WHEN p.status = 'Interrupted' AND p.superseded = 0 AND p.part IN ('job', 'workload', 'dbt_invocation')
                    THEN 1
                ELSE 0
            END
        ) AS parts_interrupted,
        SUM(CASE WHEN p.part = 'step' AND p.status = 'Failed' AND p.superseded = 0 THEN 1 ELSE 0 END) AS steps_failed,
        -- A run has ended when its root has, or a job that opened it: a second one, after the first was killed, has no
        -- root to end.
        SUM(
            CASE
                WHEN p.status NOT IN ('Succeeded', 'Failed') THEN 0
                WHEN p.part = 'run' OR p.detail LIKE '%"opened_by":"orchestration_run"%' THEN 1
                ELSE 0
            END
        ) AS run_ended,
        MAX(CASE WHEN p.part = 'run' AND p.status = 'Failed' THEN p.end_time END) AS run_failed_time,
        MAX(
            CASE
                WHEN p.part = 'job' AND p.status = 'Succeeded' AND p.detail LIKE '%"opened_by":"orchestration_run"%'
                    THEN p.start_time
            END
        ) AS opened_again_time,
        SUM(CASE WHEN p.part = 'job' THEN p.loads END) AS loads_told,
        SUM(CASE WHEN p.part IN ('job', 'dbt_invocation') THEN p.nodes END) AS nodes_told,
        SUM(CASE WHEN p.part = 'job' THEN p.refreshes END) AS refreshes_told,
        SUM(CASE WHEN p.part IN ('job', 'workload') THEN 1 ELSE 0 END) AS jobs,
        -- Work that gives no row of an operation: steps, of which not all have a row, and dbt where it builds nothing or
        -- nothing has changed.
        SUM(
            CASE
                WHEN p.part = 'job' AND MEMBER_OF(p.detail, 'steps') IS NOT NULL THEN 1
                WHEN p.status <> 'Succeeded' THEN 0
                WHEN p.part = 'step' OR p.selected_nothing = 2 THEN 1
                WHEN
                    p.part = 'dbt_invocation'
                    AND p.name NOT IN ('dbt', 'dbt build', 'dbt retry', 'dbt run', 'dbt seed', 'dbt snapshot', 'dbt test')
                    THEN 1
                ELSE 0
            END
        ) AS other_work
    FROM meta.monitoring_parts AS p
    GROUP BY p.orchestration_run_id
),
acknowledged AS (
    SELECT
        a.orchestration_run_id, LOWER(a.name) AS name, a.data_product, a.environment,
        CASE WHEN a.name = a.orchestration_run_id THEN 1 ELSE 0 END AS is_of_run
    FROM meta.monitoring_run_part AS a
    WHERE a.part = 'ack' AND COALESCE(MOMENT(a.process_completed_at), NOW_MOMENT) >= NOW_MOMENT
),
expected_parts AS (
    SELECT e.orchestration_run_id, e.workload, LOWER(e.name) AS name, MAX(COALESCE(a.is_of_run, -1)) AS known
    FROM meta.monitoring_run_part AS e
    LEFT JOIN acknowledged AS a
        ON
            (a.is_of_run = 1 AND a.orchestration_run_id = e.orchestration_run_id)
            OR (
                a.is_of_run = 0
                AND a.name = LOWER(e.name)
                AND COALESCE(a.data_product, e.data_product, '') = COALESCE(e.data_product, '')
                AND COALESCE(a.environment, e.environment, '') = COALESCE(e.environment, '')
            )
    WHERE e.part = 'expected' AND e.orchestration_run_id <> ''
    GROUP BY e.orchestration_run_id, e.workload, LOWER(e.name)
),
done_operations AS (
    -- What runs did in which something is expected. What was skipped is not there.
    SELECT o.orchestration_run_id, o.workload, LOWER(o.operation) AS name, LOWER(o.operation_id) AS operation_id
    FROM meta.monitoring_operations AS o
    WHERE
        o.status <> 'Skipped'
        AND o.orchestration_run_id IN (SELECT x.orchestration_run_id FROM expected_parts AS x)
),
named_operations AS (
    -- Each name by which an operation may be expected. A dbt node is no table load, whatever its name.
    SELECT
        d.orchestration_run_id,
        d.workload,
        CASE x.form WHEN 1 THEN d.name WHEN 2 THEN LAST_SEGMENT(d.name) WHEN 3 THEN d.operation_id ELSE d.workload END
            AS name
    FROM done_operations AS d
    CROSS JOIN (SELECT 1 AS form UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4) AS x
    UNION
    SELECT w.orchestration_run_id, w.workload, w.workload
    FROM meta.monitoring_parts AS w
    WHERE
        w.part = 'workload'
        AND w.end_time IS NOT NULL
        AND w.orchestration_run_id IN (SELECT x.orchestration_run_id FROM expected_parts AS x)
),
expected_totals AS (
    SELECT
        e.orchestration_run_id,
        SUM(CASE WHEN n.name IS NULL AND e.known < 0 THEN 1 ELSE 0 END) AS absent,
        MIN(CASE WHEN n.name IS NULL AND e.known < 0 THEN e.name END) AS first_absent,
        SUM(CASE WHEN e.name = e.workload THEN 1 ELSE 0 END) AS workloads,
        SUM(CASE WHEN e.name = e.workload AND n.name IS NULL THEN 1 ELSE 0 END) AS workloads_absent
    FROM expected_parts AS e
    LEFT JOIN named_operations AS n
        ON
            n.orchestration_run_id = e.orchestration_run_id
            AND n.name = e.name
            AND n.workload = CASE
                WHEN e.workload IN ('integration', 'transformation', 'consumption') THEN e.workload
                ELSE n.workload
            END
    GROUP BY e.orchestration_run_id
),
judgements AS (
    -- The latest findings of each judge count: all of them, or of a job that verified a table those about the table.
    SELECT
        f.orchestration_run_id,
        COALESCE(f.expected_by, 'judge') AS judge,
        CASE WHEN f.expected_by = 'verify' THEN f.name ELSE '' END AS about,
        MAX(MOMENT(f.process_started_at)) AS judged_at
    FROM meta.monitoring_run_part AS f
    WHERE f.part = 'finding' AND f.orchestration_run_id <> ''
    GROUP BY
        f.orchestration_run_id, COALESCE(f.expected_by, 'judge'), CASE WHEN f.expected_by = 'verify' THEN f.name ELSE '' END
),
finding_totals AS (
    SELECT
        f.orchestration_run_id,
        MAX(CASE WHEN j.judge = 'judge' THEN j.judged_at END) AS judged_at,
        MAX(CASE WHEN f.error_type = 'judged' THEN f.detail END) AS judged,
        SUM(CASE WHEN f.status = 'Failed' THEN 1 ELSE 0 END) AS findings_failed,
        SUM(CASE WHEN f.status = 'Incomplete' THEN 1 ELSE 0 END) AS findings_incomplete,
        SUM(CASE WHEN f.status = 'Warned' THEN 1 ELSE 0 END) AS findings_warned,
        MIN(CASE WHEN f.status = 'Failed' THEN f.error_message END) AS first_failed,
        MIN(CASE WHEN f.status = 'Incomplete' THEN f.error_message END) AS first_incomplete,
        MIN(CASE WHEN f.status = 'Warned' THEN f.error_message END) AS first_warned
    FROM meta.monitoring_run_part AS f
    INNER JOIN judgements AS j
        ON
            j.orchestration_run_id = f.orchestration_run_id
            AND j.judge = COALESCE(f.expected_by, 'judge')
            AND j.about = CASE WHEN f.expected_by = 'verify' THEN f.name ELSE '' END
            AND j.judged_at = MOMENT(f.process_started_at)
    WHERE f.part = 'finding'
    GROUP BY f.orchestration_run_id
),
differing_figures AS (
    -- How many KPIs differ between their sources, whatever may be tolerated.
    SELECT d.orchestration_run_id, COUNT(*) AS figures
    FROM (
        SELECT k.orchestration_run_id, k.kpi_name
        FROM kpi_reconciliation_history AS k
        WHERE k.orchestration_run_id <> '' AND COALESCE(LOWER(k.reconciliation_pipeline_run_id), '') <> 'unknown'
        GROUP BY k.orchestration_run_id, k.reconciliation_pipeline_run_id, k.kpi_name
        HAVING COUNT(DISTINCT COALESCE(k.source_name, '')) > 1 AND MAX(FLOAT(k.amount)) - MIN(FLOAT(k.amount)) > 0.000001
    ) AS d
    GROUP BY d.orchestration_run_id
),
run_totals AS (
    SELECT
        p.orchestration_run_id,
        MAX(p.data_product) AS data_product,
        COALESCE(MAX(p.environment), MAX(p.workspace)) AS environment,
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
        SUM(CASE WHEN p.workload = 'consumption' AND p.status = 'Skipped' THEN p.outcomes ELSE 0 END)
            AS refreshes_skipped,
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
        SUM(CASE WHEN p.workload = 'integration' THEN p.arrived ELSE 0 END) AS loads_arrived,
        SUM(CASE WHEN p.workload = 'transformation' THEN p.arrived ELSE 0 END) AS nodes_arrived,
        SUM(CASE WHEN p.workload = 'consumption' THEN p.arrived ELSE 0 END) AS refreshes_arrived,
        SUM(p.recorded) AS recorded,
        MAX(p.is_part) AS has_parts,
        MAX(COALESCE(p.end_time, p.start_time)) AS last_sign,
        MAX(p.trace_id) AS trace_id
    FROM run_parts AS p
    GROUP BY p.orchestration_run_id
),
silences AS (
    -- For how long runs of a product may be silent: the newest judgement says it. "past" reads other runs than those
    -- asked about.
    SELECT
        past.data_product, COALESCE(past.environment, '') AS environment,
        CAST(SUBSTRING(MAX(CONCAT(SECOND_OF(past.process_started_at), TEXT(past.duration))), 20, 20) AS bigint)
            AS silent_after
    FROM meta.monitoring_run_part AS past
    WHERE
        past.part = 'finding'
        AND past.error_type = 'judged'
        AND past.duration IS NOT NULL
        AND past.process_started_at >= DAYS_AGO(35)
    GROUP BY past.data_product, COALESCE(past.environment, '')
),
run_facts AS (
    SELECT
        t.orchestration_run_id, t.data_product, t.environment, t.start_time, t.end_time, t.operations, t.loads,
        t.loads_succeeded, t.loads_failed, t.nodes, t.nodes_succeeded, t.nodes_warned, t.nodes_failed,
        t.nodes_skipped, t.refreshes, t.refreshes_succeeded, t.refreshes_failed, t.refreshes_skipped,
        t.reconciliation_results, t.succeeded, t.failed, t.warned, t.skipped, t.running, t.unknown, t.rows_read, t.rows_written, t.bytes_read,
        t.bytes_written, t.slowest, t.slowest_seconds, t.loads_without_end, t.interrupted, t.failed_without_reason,
        t.has_parts, t.last_sign, t.trace_id, t.recorded, g.first_failed, g.first_incomplete, g.first_warned,
        e.first_absent,
        -- A judgement holds as long as nothing came since.
        CASE WHEN g.judged LIKE CONCAT('{"recorded": ', TEXT(t.recorded), ',%') THEN g.judged_at END AS judged_at,
        COALESCE(q.parts_failed, 0) + CASE
            WHEN q.run_failed_time IS NULL OR q.opened_again_time >= q.run_failed_time THEN 0
            ELSE 1
        END AS parts_failed,
        COALESCE(q.parts_repeated, 0) AS parts_repeated,
        COALESCE(q.parts_begun_again, 0) AS parts_begun_again,
        COALESCE(q.parts_without_nodes, 0) AS parts_without_nodes,
        COALESCE(q.parts_running, 0) AS parts_running,
        COALESCE(q.parts_interrupted, 0) AS parts_interrupted,
        COALESCE(q.steps_failed, 0) AS steps_failed,
        CASE WHEN q.run_ended > 0 OR (e.workloads > 0 AND e.workloads_absent = 0) THEN 1 ELSE 0 END AS run_ended,
        COALESCE(q.jobs, 0) AS jobs,
        COALESCE(q.other_work, 0) AS other_work,
        CASE WHEN q.loads_told > t.loads_arrived THEN q.loads_told - t.loads_arrived ELSE 0 END AS loads_lost,
        CASE WHEN q.nodes_told > t.nodes_arrived THEN q.nodes_told - t.nodes_arrived ELSE 0 END AS nodes_lost,
        CASE WHEN q.refreshes_told > t.refreshes_arrived THEN q.refreshes_told - t.refreshes_arrived ELSE 0 END
            AS refreshes_lost,
        COALESCE(e.absent, 0) AS absent,
        COALESCE(k.figures, 0) AS figures_differ,
        COALESCE(g.findings_failed, 0) AS findings_failed,
        COALESCE(g.findings_incomplete, 0) AS findings_incomplete,
        COALESCE(g.findings_warned, 0) AS findings_warned,
        s.silent_after,
        CASE WHEN PLUS_SECONDS(t.last_sign, COALESCE(s.silent_after, 21600)) < NOW_MOMENT THEN 1 ELSE 0 END AS is_silent,
        -- Open: something goes on, or nobody has said that the run ended. Runs that others recorded have no parts and end
        -- when no more rows come; without the table of parts there are only their rows.
        CASE
            WHEN q.parts_interrupted > 0 OR t.unknown > 0 THEN 2
            WHEN t.running > 0 OR q.parts_running > 0 THEN 1
            WHEN q.run_ended > 0 OR (e.workloads > 0 AND e.workloads_absent = 0) OR PARTS_ARE_KEPT = 0 THEN 0
            WHEN q.jobs > 0 THEN 1
            WHEN PLUS_SECONDS(t.last_sign, COALESCE(s.silent_after, 21600)) < NOW_MOMENT THEN 0
            ELSE 1
        END AS is_open
    FROM run_totals AS t
    LEFT JOIN part_totals AS q ON q.orchestration_run_id = t.orchestration_run_id
    LEFT JOIN expected_totals AS e ON e.orchestration_run_id = t.orchestration_run_id
    LEFT JOIN finding_totals AS g ON g.orchestration_run_id = t.orchestration_run_id
    LEFT JOIN differing_figures AS k ON k.orchestration_run_id = t.orchestration_run_id
    LEFT JOIN silences AS s ON s.data_product = t.data_product AND s.environment = COALESCE(t.environment, '')
)
SELECT
    t.orchestration_run_id,
    t.data_product,
    t.environment,
    CASE
        WHEN t.failed > 0 OR t.parts_failed > 0 OR t.findings_failed > 0 THEN 'Failed'
        WHEN t.parts_begun_again > 0 AND t.judged_at IS NULL THEN 'Failed'
        WHEN t.is_open = 1 AND t.is_silent = 0 THEN 'Running'
        WHEN t.is_open > 0 THEN 'Unfinished'
        WHEN t.loads_lost + t.nodes_lost + t.refreshes_lost + t.absent + t.findings_incomplete > 0 THEN 'Incomplete'
        WHEN t.operations > 0 AND t.skipped = t.operations THEN 'Incomplete'
        WHEN t.skipped + t.parts_without_nodes > 0 AND t.judged_at IS NULL THEN 'Incomplete'
        WHEN t.operations = 0 AND (t.jobs = 0 OR t.other_work = 0) THEN 'Incomplete'
        WHEN t.findings_warned + t.steps_failed > 0 THEN 'Warned'
        WHEN t.warned + t.parts_repeated + t.figures_differ > 0 AND t.judged_at IS NULL
            THEN 'Warned'
        ELSE 'Succeeded'
    END AS status,
    CASE
        WHEN t.failed > 0 THEN CONCAT(TEXT(t.failed), ' of ', COUNTED(t.operations, 'operation'), ' failed')
        WHEN t.parts_failed > 0 THEN CONCAT(COUNTED(t.parts_failed, 'part'), ' of the run failed: see monitoring_parts')
        WHEN t.findings_failed > 0 THEN t.first_failed
        WHEN t.parts_begun_again > 0 AND t.judged_at IS NULL
            THEN CONCAT('failed, and perhaps tried again: ', COUNTED(t.parts_begun_again, 'part'), ' of the run')
        WHEN t.unknown > 0 THEN CONCAT('nobody knows how ', COUNTED(t.unknown, 'operation'), ' ended')
        WHEN t.parts_interrupted > 0 THEN 'a job was interrupted: see monitoring_parts'
        WHEN t.is_open > 0 AND t.running + t.parts_running > 0
            THEN CONCAT('not ended: ', COUNTED(t.running, 'operation'), ', ', COUNTED(t.parts_running, 'part'), ' of the run')
        WHEN t.is_open > 0 AND t.jobs > 0 THEN 'nobody said that the run ended'
        WHEN t.is_open > 0 THEN 'judged by its rows alone, which have not been quiet for long enough'
        WHEN t.loads_lost > 0 THEN CONCAT('recorded and not in the table: ', COUNTED(t.loads_lost, 'table load'))
        WHEN t.nodes_lost > 0 THEN CONCAT('recorded and not in the table: ', COUNTED(t.nodes_lost, 'dbt node'))
        WHEN t.refreshes_lost > 0 THEN CONCAT('recorded and not in the table: ', COUNTED(t.refreshes_lost, 'model refresh'))
        WHEN t.absent > 0 THEN CONCAT('expected and not there: ', t.first_absent)
        WHEN t.findings_incomplete > 0 THEN t.first_incomplete
        WHEN t.operations > 0 AND t.skipped = t.operations THEN 'every operation was skipped'
        WHEN t.skipped > 0 AND t.judged_at IS NULL
            THEN CONCAT('skipped, though nothing failed: ', COUNTED(t.skipped, 'operation'))
        WHEN t.parts_without_nodes > 0 AND t.judged_at IS NULL
            THEN CONCAT('dbt had nothing to do: ', COUNTED(t.parts_without_nodes, 'invocation'))
        WHEN t.operations = 0 AND t.jobs = 0 THEN 'it ended, and nothing that it did is in the tables'
        WHEN t.operations = 0 AND t.other_work = 0 THEN 'it ended, and nothing was done in it'
        WHEN t.findings_warned > 0 THEN t.first_warned
        WHEN t.steps_failed > 0 THEN CONCAT(COUNTED(t.steps_failed, 'step'), ' failed')
        WHEN t.parts_repeated > 0 AND t.judged_at IS NULL
            THEN CONCAT('failed and begun again: ', COUNTED(t.parts_repeated, 'part'), ' of the run')
        WHEN t.figures_differ > 0 AND t.judged_at IS NULL
            THEN CONCAT('reconciled figures differ: ', TEXT(t.figures_differ))
        WHEN t.warned > 0 AND t.judged_at IS NULL THEN CONCAT(COUNTED(t.warned, 'operation'), ' warned')
        WHEN t.judged_at IS NULL THEN 'not yet compared with earlier runs'
    END AS reason,
    t.start_time,
    t.end_time,
    SECONDS_BETWEEN(t.start_time, t.end_time) AS seconds,
    t.operations,
    t.loads, t.loads_succeeded, t.loads_failed,
    t.nodes, t.nodes_succeeded, t.nodes_warned, t.nodes_failed, t.nodes_skipped,
    t.refreshes, t.refreshes_succeeded, t.refreshes_failed, t.refreshes_skipped,
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
    t.has_parts, t.run_ended, t.jobs, t.other_work, t.parts_failed, t.parts_repeated, t.parts_begun_again,
    t.parts_without_nodes, t.parts_running, t.parts_interrupted,
    t.steps_failed, t.loads_lost, t.nodes_lost, t.refreshes_lost, t.absent,
    t.findings_failed, t.findings_incomplete, t.findings_warned, t.judged_at,
    t.is_open, t.last_sign, t.silent_after, t.recorded,
    t.trace_id
FROM run_facts AS t
