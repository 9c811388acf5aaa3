"""What a job author writes: runs, workloads, operations, steps."""
