"""The decorators `udf`, `udtf`, `udaf`, `udtaf` and the classes behind them.

A decorator keeps what was declared in a [`Declared`] and computes nothing: the planner asks for it, and a worker calls the function.
"""

from __future__ import annotations

import functools
import types
from abc import ABC, abstractmethod
from typing import Any, Callable, Iterable, NoReturn, Optional, Union

from pyflink.table.types import DataType, RowField

__all__ = [
    "AggregateFunction",
    "FunctionContext",
    "ScalarFunction",
    "TableAggregateFunction",
    "TableFunction",
    "UserDefinedFunction",
    "udaf",
    "udf",
    "udtaf",
    "udtf",
]


class Counter:
    """A metric that counts."""

    def __init__(self) -> None:
        self._count = 0

    def inc(self, n: int = 1) -> None:
        """Counts up."""
        self._count += n

    def dec(self, n: int = 1) -> None:
        """Counts down."""
        self._count -= n

    def get_count(self) -> int:
        """The count."""
        return self._count


class Meter(Counter):
    """A metric of a rate."""

    def mark_event(self, value: int = 1) -> None:
        """Counts events."""
        self.inc(value)


class Distribution:
    """A metric of values."""

    def update(self, value: int) -> None:
        """Takes a value."""


class MetricGroup:
    """Metrics of a function. They are taken, and stay in the worker."""

    def add_group(self, name: str, extra: Optional[str] = None) -> MetricGroup:
        """A group below this one."""
        return MetricGroup()

    def counter(self, name: str) -> Counter:
        """A counter."""
        return Counter()

    def gauge(self, name: str, obj: Callable[[], int]) -> None:
        """A gauge."""

    def meter(self, name: str, time_span_in_seconds: int = 60) -> Meter:
        """A meter."""
        return Meter()

    def distribution(self, name: str) -> Distribution:
        """A distribution."""
        return Distribution()


class FunctionContext:
    """What `open` is given."""

    def __init__(self, job_parameters: Optional[dict[str, str]] = None) -> None:
        self._job_parameters = job_parameters or {}
        self._metric_group = MetricGroup()

    def get_metric_group(self) -> MetricGroup:
        """The function's metrics."""
        return self._metric_group

    def get_job_parameter(self, key: str, default_value: str) -> str:
        """A parameter of the job, `pipeline.global-job-parameters`."""
        return self._job_parameters.get(key, default_value)


class UserDefinedFunction(ABC):
    """What all function classes have in common."""

    def open(self, function_context: FunctionContext) -> None:
        """Called once before the first row."""

    def close(self) -> None:
        """Called once after the last row."""

    def is_deterministic(self) -> bool:
        """Whether equal arguments give equal results."""
        return True


class ScalarFunction(UserDefinedFunction):
    """Gives one value per row."""

    @abstractmethod
    def eval(self, *args: Any) -> Any:
        """The value of a row."""


class TableFunction(UserDefinedFunction):
    """Gives any number of rows per row."""

    @abstractmethod
    def eval(self, *args: Any) -> Any:
        """The rows of a row."""


class ImperativeAggregateFunction(UserDefinedFunction):
    """What functions over groups have in common."""

    @abstractmethod
    def create_accumulator(self) -> Any:
        """The state of an empty group."""

    @abstractmethod
    def accumulate(self, accumulator: Any, *args: Any) -> Any:
        """Takes a row into the state."""

    def retract(self, accumulator: Any, *args: Any) -> Any:
        """Takes a row back out of the state."""
        raise RuntimeError("Method retract is not implemented")

    def merge(self, accumulator: Any, accumulators: Iterable[Any]) -> Any:
        """Takes other states into this one."""
        raise RuntimeError("Method merge is not implemented")

    def get_result_type(self) -> Any:
        """The type of the result."""
        raise RuntimeError("Method get_result_type is not implemented")

    def get_accumulator_type(self) -> Any:
        """The type of the state."""
        raise RuntimeError("Method get_accumulator_type is not implemented")


class AggregateFunction(ImperativeAggregateFunction):
    """Gives one value per group."""

    @abstractmethod
    def get_value(self, accumulator: Any) -> Any:
        """The value of a group."""


class TableAggregateFunction(ImperativeAggregateFunction):
    """Gives rows per group."""

    @abstractmethod
    def emit_value(self, accumulator: Any) -> Iterable[Any]:
        """The rows of a group."""


Types = Union[None, DataType, RowField, str, Iterable[Union[DataType, str]]]


def _type_texts(types: Types) -> Optional[list[str]]:
    if types is None:
        return None
    if isinstance(types, (DataType, str)):
        return [str(types)]
    return [str(item) for item in types]


class Declared:
    """A function with what its decorator said. `wiesel_worker` reads it."""

    def __init__(
        self,
        kind: str,
        func: Any,
        input_types: Types,
        result_types: Types,
        accumulator_type: Types,
        deterministic: Optional[bool],
        name: Optional[str],
        func_type: str,
    ) -> None:
        if isinstance(func, type) or not (callable(func) or isinstance(func, UserDefinedFunction)):
            raise TypeError(f"Invalid function: not a function or callable (__call__ is not defined): {func!r}")
        if func_type not in ("general", "pandas"):
            raise ValueError(f"The func_type must be one of 'general, pandas', got {func_type}.")
        self.kind = kind
        self.func = func
        self.input_types = _type_texts(input_types)
        self.result_types = _type_texts(result_types)
        self.accumulator_type = _type_texts(accumulator_type)
        self.func_type = func_type
        self.name = name or getattr(func, "__name__", None) or type(func).__name__
        if deterministic is None:
            deterministic = func.is_deterministic() if isinstance(func, UserDefinedFunction) else True
        elif isinstance(func, UserDefinedFunction) and deterministic != func.is_deterministic():
            raise ValueError(f"Inconsistent deterministic: {deterministic} and {func.is_deterministic()}")
        self.deterministic = bool(deterministic)
        self._func = func
        functools.update_wrapper(self, func if isinstance(func, types.FunctionType) else type(func), updated=())

    def __call__(self, *_args: Any) -> NoReturn:
        raise RuntimeError(f"{self.name} is a function of SQL: call it in SQL text, and keep what Python shares in a plain function")


def _declare(kind: str, func: Any, func_type: Optional[str], udf_type: Optional[str], **said: Any) -> Any:
    func_type = udf_type or func_type or "general"
    if func is None:
        return functools.partial(_declare, kind, func_type=func_type, udf_type=None, **said)
    return Declared(kind, func, func_type=func_type, **said)


def udf(
    f: Any = None,
    input_types: Types = None,
    result_type: Types = None,
    deterministic: Optional[bool] = None,
    name: Optional[str] = None,
    func_type: str = "general",
    udf_type: Optional[str] = None,
) -> Any:
    """Declares a scalar function, as a decorator or around a function or a [`ScalarFunction`]."""
    return _declare("scalar", f, func_type, udf_type, input_types=input_types, result_types=result_type,
                    accumulator_type=None, deterministic=deterministic, name=name)  # fmt: skip


def udtf(
    f: Any = None,
    input_types: Types = None,
    result_types: Types = None,
    deterministic: Optional[bool] = None,
    name: Optional[str] = None,
) -> Any:
    """Declares a table function, as a decorator or around a function or a [`TableFunction`]."""
    return _declare("table", f, None, None, input_types=input_types, result_types=result_types,
                    accumulator_type=None, deterministic=deterministic, name=name)  # fmt: skip


def udaf(
    f: Any = None,
    input_types: Types = None,
    result_type: Types = None,
    accumulator_type: Types = None,
    deterministic: Optional[bool] = None,
    name: Optional[str] = None,
    func_type: str = "general",
) -> Any:
    """Declares an aggregate function, as a decorator or around an [`AggregateFunction`]."""
    return _declare("aggregate", f, func_type, None, input_types=input_types, result_types=result_type,
                    accumulator_type=accumulator_type, deterministic=deterministic, name=name)  # fmt: skip


def udtaf(
    f: Any = None,
    input_types: Types = None,
    result_type: Types = None,
    accumulator_type: Types = None,
    deterministic: Optional[bool] = None,
    name: Optional[str] = None,
    func_type: str = "general",
) -> Any:
    """Declares a table aggregate function. SQL has no call for one, so wiesel refuses it by name where it is asked for."""
    return _declare("table-aggregate", f, func_type, None, input_types=input_types, result_types=result_type,
                    accumulator_type=accumulator_type, deterministic=deterministic, name=name)  # fmt: skip
