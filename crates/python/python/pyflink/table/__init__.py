"""What functions take from `pyflink.table`: the decorators, the base classes and the types."""

from __future__ import annotations

from pyflink._absent import placeholder
from pyflink.common.types import Row, RowKind
from pyflink.table.types import DataTypes
from pyflink.table.udf import (
    AggregateFunction,
    FunctionContext,
    ScalarFunction,
    TableAggregateFunction,
    TableFunction,
    udaf,
    udf,
    udtaf,
    udtf,
)

_ABSENT = (
    "TableEnvironment StreamTableEnvironment StatementSet EnvironmentSettings Module ModuleEntry ExplainDetail ExplainFormat Table "
    "GroupedTable GroupWindowedTable OverWindowedTable WindowGroupedTable TableConfig TableResult TableDescriptor FormatDescriptor "
    "TableSchema Schema SqlDialect ResultKind TableSink TableSource CsvTableSink CsvTableSource WriteMode UserDefinedType ChangelogMode "
    "AppliedTable Catalog CatalogDescriptor ListView MapView Expression"
).split()

__all__ = [
    "AggregateFunction",
    "DataTypes",
    "FunctionContext",
    "Row",
    "RowKind",
    "ScalarFunction",
    "TableAggregateFunction",
    "TableFunction",
]

for _name in _ABSENT:
    globals()[_name] = placeholder(f"pyflink.table.{_name}")
    __all__.append(_name)
