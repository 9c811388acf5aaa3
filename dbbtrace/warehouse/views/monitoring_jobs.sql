-- One row for each job instance of Fabric's that `dbbtrace import-jobs` has read, as its latest event says, in the
-- columns of the platform's table of job events; then the run that it is part of. Words are those of the events.

SELECT
    p.pipeline_id AS item_id,
    p.name AS item_name,
    MEMBER_OF(p.detail, 'item_kind') AS item_kind,
    p.workspace_id,
    MEMBER_OF(p.detail, 'workspace_name') AS workspace_name,
    p.pipeline_run_id AS job_instance_id,
    MEMBER_OF(p.detail, 'job_type') AS job_type,
    p.job_invoke_type,
    MEMBER_OF(p.detail, 'job_status') AS job_status,
    CASE WHEN MEMBER_OF(p.detail, 'started') IS NULL THEN p.start_time END AS job_start_time_utc,
    p.end_time AS job_end_time_utc,
    p.scheduled_time AS job_schedule_time_utc,
    p.orchestration_run_id,
    p.data_product,
    p.environment
FROM meta.monitoring_parts AS p
WHERE MEMBER_OF(p.detail, 'job_status') IS NOT NULL
