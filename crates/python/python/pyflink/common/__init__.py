"""Rows and what else functions take from `pyflink.common`."""

from __future__ import annotations

from pyflink._absent import placeholder
from pyflink.common.types import Row, RowKind

_ABSENT = (
    "Configuration CompletableFuture Duration Encoder ExecutionConfig ExecutionMode Instant InputDependencyConstraint JobClient "
    "JobExecutionResult JobID JobStatus RestartStrategies SimpleStringSchema Time Types TypeInformation WatermarkStrategy "
    "DeserializationSchema SerializationSchema AssignerWithPeriodicWatermarksWrapper"
).split()

__all__ = ["Row", "RowKind"]

for _name in _ABSENT:
    globals()[_name] = placeholder(f"pyflink.common.{_name}")
