-- One row for each figure that a run reconciled, with the lowest and the highest value that its sources give.

SELECT
    k.orchestration_run_id,
    MAX(k.data_product) AS data_product,
    k.operation AS kpi_name,
    COUNT(*) AS results,
    MIN(k.amount) AS lowest_amount,
    MAX(k.amount) AS highest_amount,
    MAX(k.amount) - MIN(k.amount) AS difference,
    MAX(k.pipeline_run_id) AS reconciliation_pipeline_run_id
FROM meta.monitoring_operations AS k
WHERE k.kind = 'reconciliation_result'
GROUP BY k.orchestration_run_id, k.operation
