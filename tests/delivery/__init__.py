"""Tests of the delivery: nothing is lost, nothing is slow, nothing breaks the job."""
