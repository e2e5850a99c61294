"""Columns of Arrow to lists of Python values, and back.

A SQL type arrives as JSON, because Arrow's type alone does not say it (TIMESTAMP and TIMESTAMP_LTZ share one). Reading goes over the
buffers where it is much faster than `to_pylist`: numbers through a memoryview, texts as slices of one decoded text. Writing checks the
Python types first: what a function gives must be of its result type, and what is not is an error of its row alone.

| SQL | Python |
|---|---|
| BOOLEAN, TINYINT .. BIGINT, FLOAT, DOUBLE | bool, int, float |
| CHAR, VARCHAR; BINARY, VARBINARY | str; bytes |
| DECIMAL | decimal.Decimal, rounded half up to the scale |
| DATE, TIME, TIMESTAMP | datetime.date, datetime.time, datetime.datetime without zone |
| TIMESTAMP_LTZ | datetime.datetime in the session's zone; one without zone is read as UTC |
| INTERVAL DAY TO SECOND, YEAR TO MONTH | datetime.timedelta, int (months) |
| ARRAY, MAP, ROW | list, dict, pyflink.common.Row |
"""

from __future__ import annotations

import datetime
import decimal
from typing import TYPE_CHECKING, Any, Callable, Iterable, Optional

from pyflink.common.types import Row

if TYPE_CHECKING:
    import pyarrow as pa

NUMBERS = {"TINYINT": "b", "SMALLINT": "h", "INT": "i", "BIGINT": "q", "FLOAT": "f", "DOUBLE": "d",
           "INTERVAL_YEAR_MONTH": "i"}  # fmt: skip
RANGES = {"TINYINT": 7, "SMALLINT": 15, "INT": 31, "BIGINT": 63, "INTERVAL_YEAR_MONTH": 31}
STRINGS = ("CHAR", "VARCHAR")
BYTES = ("BINARY", "VARBINARY")
EPOCH = datetime.datetime(1970, 1, 1)
EPOCH_UTC = EPOCH.replace(tzinfo=datetime.timezone.utc)
FIRST_DAY = EPOCH.date().toordinal()
MICROSECOND = datetime.timedelta(microseconds=1)
DECIMALS = decimal.Context(prec=38, rounding=decimal.ROUND_HALF_UP)

ZONE: datetime.tzinfo = datetime.timezone.utc


def set_zone(name: str) -> None:
    """The session's time zone, an IANA name or an offset."""
    global ZONE
    text = name.removeprefix("GMT").removeprefix("UTC")
    if text[:1] in ("+", "-"):
        hours, _, minutes = text[1:].partition(":")
        shift = datetime.timedelta(hours=int(hours), minutes=int(minutes or 0))
        ZONE = datetime.timezone(shift if text[0] == "+" else -shift)
    elif name not in ("UTC", "GMT", "Z", "Etc/UTC"):
        import zoneinfo

        ZONE = zoneinfo.ZoneInfo(name)


# Reading


def _without_nulls(values: list[Any], array: pa.Array) -> list[Any]:
    if array.null_count:
        for index in _unset(array.buffers()[0], array.offset, len(array)):
            values[index] = None
    return values


def _bits(buffer: pa.Buffer, offset: int, count: int) -> str:
    first, last = offset // 8, (offset + count + 7) // 8
    number = int.from_bytes(memoryview(buffer)[first:last], "little") | 1 << (last - first) * 8
    skip = offset - first * 8
    return format(number, "b")[:0:-1][skip : skip + count]


def _unset(buffer: Optional[pa.Buffer], offset: int, count: int) -> Iterable[int]:
    if buffer is None:
        return
    bits = _bits(buffer, offset, count)
    place = bits.find("0")
    while place >= 0:
        yield place
        place = bits.find("0", place + 1)


def _plain(array: pa.Array, code: str) -> list[Any]:
    data = array.buffers()[1]
    if data is None:
        return [None] * len(array)
    return memoryview(data).cast(code)[array.offset : array.offset + len(array)].tolist()


def _read_booleans(array: pa.Array) -> list[Any]:
    bits = _bits(array.buffers()[1], array.offset, len(array)) if len(array) else ""
    return _without_nulls([bit == "1" for bit in bits], array)


def _read_bytes(array: pa.Array, is_text: bool) -> list[Any]:
    if not len(array):
        return []
    _, places, data = array.buffers()
    offsets = memoryview(places).cast("i")[array.offset : array.offset + len(array) + 1].tolist()
    first = offsets[0]
    raw = bytes(memoryview(data)[first : offsets[-1]]) if data is not None else b""
    if first:
        offsets = [offset - first for offset in offsets]
    if is_text:
        text = raw.decode("utf-8", "replace")
        if len(text) == len(raw):
            values: list[Any] = [text[a:b] for a, b in zip(offsets, offsets[1:])]
        else:
            values = [raw[a:b].decode("utf-8") for a, b in zip(offsets, offsets[1:])]
    else:
        values = [raw[a:b] for a, b in zip(offsets, offsets[1:])]
    return _without_nulls(values, array)


def _ticks(precision: int) -> int:
    """Ticks of a timestamp per second."""
    return 1_000 if precision <= 3 else 1_000_000 if precision <= 6 else 1_000_000_000


def _read_timestamps(array: pa.Array, precision: int, is_local: bool) -> list[Any]:
    delta, ticks = datetime.timedelta, _ticks(precision)
    values = _plain(array, "q")
    if array.null_count:
        for index in _unset(array.buffers()[0], array.offset, len(array)):
            values[index] = 0
    if ticks == 1_000:
        whole = [EPOCH + delta(milliseconds=v) for v in values]
    elif ticks == 1_000_000:
        whole = [EPOCH + delta(microseconds=v) for v in values]
    else:
        whole = [EPOCH + delta(microseconds=v // 1000) for v in values]
    if is_local:
        utc = datetime.timezone.utc
        whole = [v.replace(tzinfo=utc).astimezone(ZONE) for v in whole]
    return _without_nulls(whole, array)


def _read_list(array: pa.Array, element: dict[str, Any]) -> list[Any]:
    if not len(array):
        return []
    items = read(array.values, element)
    offsets = memoryview(array.buffers()[1]).cast("i")[array.offset : array.offset + len(array) + 1].tolist()
    return _without_nulls([items[a:b] for a, b in zip(offsets, offsets[1:])], array)


def _read_map(array: pa.Array, key: dict[str, Any], value: dict[str, Any]) -> list[Any]:
    if not len(array):
        return []
    keys, items = read(array.keys, key), read(array.items, value)
    offsets = memoryview(array.buffers()[1]).cast("i")[array.offset : array.offset + len(array) + 1].tolist()
    first = offsets[0] if len(keys) < offsets[-1] else 0
    return _without_nulls(
        [dict(zip(keys[a - first : b - first], items[a - first : b - first])) for a, b in zip(offsets, offsets[1:])], array
    )


def _read_rows(array: pa.Array, fields: list[dict[str, Any]]) -> list[Any]:
    names = [field["n"] for field in fields]
    columns = [read(array.field(i), field["t"]) for i, field in enumerate(fields)]
    rows: list[Any] = [Row._of(values, names) for values in zip(*columns)] if columns else [Row() for _ in array]
    return _without_nulls(rows, array)


def read(array: pa.Array, sql: dict[str, Any]) -> list[Any]:
    """The values of a column."""
    kind = sql["k"]
    if kind in NUMBERS:
        return _without_nulls(_plain(array, NUMBERS[kind]), array)
    if kind in STRINGS or kind in BYTES:
        return _read_bytes(array, kind in STRINGS)
    if kind == "BOOLEAN":
        return _read_booleans(array)
    if kind in ("TIMESTAMP", "TIMESTAMP_LTZ"):
        return _read_timestamps(array, sql["p"], kind == "TIMESTAMP_LTZ")
    if kind == "DATE":
        days = _without_nulls(_plain(array, "i"), array)
        return [None if d is None else datetime.date.fromordinal(FIRST_DAY + d) for d in days]
    if kind == "TIME":
        return [None if t is None else (EPOCH + datetime.timedelta(milliseconds=t)).time()
                for t in _without_nulls(_plain(array, "i"), array)]  # fmt: skip
    if kind == "INTERVAL_DAY_TIME":
        return [None if t is None else datetime.timedelta(milliseconds=t)
                for t in _without_nulls(_plain(array, "q"), array)]  # fmt: skip
    if kind == "ARRAY":
        return _read_list(array, sql["e"])
    if kind == "MAP":
        return _read_map(array, sql["key"], sql["value"])
    if kind == "ROW":
        return _read_rows(array, sql["fields"])
    if kind == "NULL":
        return [None] * len(array)
    return array.to_pylist()


# Writing


class WrongType(TypeError):
    """A function gave something that is not of its result type."""

    # Shown as Python shows its own errors, without the module.
    __module__ = "builtins"


def _shown(value: Any) -> str:
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) <= 60 else text[:57] + '...'}"


def _wrong(sql: dict[str, Any], value: Any) -> WrongType:
    return WrongType(f"the result must be {sql['s']}, and is {_shown(value)}")


def _whole(value: Any, sql: dict[str, Any]) -> int:
    try:
        number = value.__index__()
    except AttributeError:
        raise _wrong(sql, value) from None
    bits = RANGES[sql["k"]]
    if not -(1 << bits) <= number < 1 << bits:
        raise WrongType(f"the result must be {sql['s']}, and {number} is out of its range")
    return number


def _instant(value: datetime.datetime, is_local: bool, precision: int) -> int:
    if is_local and value.tzinfo is not None:
        micros = (value - EPOCH_UTC) // MICROSECOND
    else:
        micros = (value.replace(tzinfo=None) - EPOCH) // MICROSECOND
    ticks = _ticks(precision)
    return micros * 1000 if ticks > 1_000_000 else micros // (1_000_000 // ticks)


def plain(value: Any, sql: dict[str, Any]) -> Any:
    """A value as `pyarrow.array` takes it for the column's type."""
    if value is None:
        return None
    kind = sql["k"]
    if kind in RANGES:
        return _whole(value, sql)
    if kind in ("FLOAT", "DOUBLE"):
        if isinstance(value, (str, bytes, decimal.Decimal)) or not hasattr(type(value), "__float__"):
            if not hasattr(type(value), "__index__"):
                raise _wrong(sql, value)
        return float(value)
    if kind == "BOOLEAN":
        if isinstance(value, bool) or type(value).__name__ in ("bool_", "bool"):
            return bool(value)
        raise _wrong(sql, value)
    if kind in STRINGS:
        if isinstance(value, str):
            return str(value)
        raise _wrong(sql, value)
    if kind in BYTES:
        if isinstance(value, (bytes, bytearray, memoryview)):
            return bytes(value)
        raise _wrong(sql, value)
    if kind == "DECIMAL":
        return _decimal(value, sql)
    if kind in ("TIMESTAMP", "TIMESTAMP_LTZ"):
        if not isinstance(value, datetime.datetime):
            raise _wrong(sql, value)
        return _instant(value, kind == "TIMESTAMP_LTZ", sql["p"])
    if kind == "DATE":
        if not isinstance(value, datetime.date) or isinstance(value, datetime.datetime):
            raise _wrong(sql, value)
        return value.toordinal() - FIRST_DAY
    if kind == "TIME":
        if not isinstance(value, datetime.time):
            raise _wrong(sql, value)
        return ((value.hour * 60 + value.minute) * 60 + value.second) * 1000 + value.microsecond // 1000
    if kind == "INTERVAL_DAY_TIME":
        if not isinstance(value, datetime.timedelta):
            raise _wrong(sql, value)
        return value // datetime.timedelta(milliseconds=1)
    if kind == "ARRAY":
        if isinstance(value, (str, bytes, dict)) or not hasattr(value, "__iter__"):
            raise _wrong(sql, value)
        return [plain(item, sql["e"]) for item in value]
    if kind == "MAP":
        if not isinstance(value, dict):
            raise _wrong(sql, value)
        if None in value:
            raise WrongType(f"the result must be {sql['s']}, and a key is None")
        return [(plain(k, sql["key"]), plain(v, sql["value"])) for k, v in value.items()]
    if kind == "ROW":
        return _fields(value, sql)
    raise _wrong(sql, value)


def _decimal(value: Any, sql: dict[str, Any]) -> decimal.Decimal:
    if isinstance(value, bool) or not isinstance(value, (decimal.Decimal, int)):
        raise _wrong(sql, value)
    try:
        number = decimal.Decimal(value).quantize(decimal.Decimal(1).scaleb(-sql["scale"]), context=DECIMALS)
    except decimal.InvalidOperation:
        raise WrongType(f"the result must be {sql['s']}, and {value} does not fit") from None
    if number.is_finite() and len(number.as_tuple().digits) <= sql["p"]:
        return number
    raise WrongType(f"the result must be {sql['s']}, and {value} does not fit")


def _fields(value: Any, sql: dict[str, Any]) -> tuple[Any, ...]:
    fields = sql["fields"]
    if isinstance(value, dict):
        return tuple(plain(value.get(field["n"]), field["t"]) for field in fields)
    if not isinstance(value, (Row, tuple, list)):
        raise _wrong(sql, value)
    if len(value) != len(fields):
        raise WrongType(f"the result must be {sql['s']} of {len(fields)} fields, and has {len(value)}: {_shown(value)}")
    if isinstance(value, Row) and value._fields and set(value._fields) == {field["n"] for field in fields}:
        return tuple(plain(value[field["n"]], field["t"]) for field in fields)
    return tuple(plain(item, field["t"]) for item, field in zip(value, fields))


FAST: dict[str, set[type]] = {
    "TINYINT": {int, type(None)},
    "SMALLINT": {int, type(None)},
    "INT": {int, type(None)},
    "BIGINT": {int, type(None)},
    "FLOAT": {float, int, type(None)},
    "DOUBLE": {float, int, type(None)},
    "BOOLEAN": {bool, type(None)},
    "CHAR": {str, type(None)},
    "VARCHAR": {str, type(None)},
    "BINARY": {bytes, type(None)},
    "VARBINARY": {bytes, type(None)},
}


def write(values: list[Any], sql: dict[str, Any], arrow: pa.DataType, refuse: Callable[[int, BaseException], None]) -> pa.Array:
    """A column of results; `refuse` is told of each row whose value is not of the type, which then is NULL."""
    import pyarrow as pa

    allowed = FAST.get(sql["k"])
    if allowed is not None and set(map(type, values)) <= allowed:
        try:
            return pa.array(values, arrow)
        except (pa.ArrowException, OverflowError, ValueError, TypeError):
            pass
    checked: list[Any] = []
    for index, value in enumerate(values):
        try:
            item = plain(value, sql)
            if sql["k"] not in RANGES:
                pa.array([item], arrow)
            checked.append(item)
        except Exception as error:  # whatever a value's own methods raise is an error of its row
            refuse(index, error)
            checked.append(None)
    return pa.array(checked, arrow)


# pandas


def series(array: pa.Array, sql: dict[str, Any]) -> Any:
    """A column as a pandas function takes it: a Series, or a DataFrame for a ROW."""
    if sql["k"] == "ROW":
        import pandas as pd

        return pd.DataFrame({f["n"]: series(array.field(i), f["t"]) for i, f in enumerate(sql["fields"])})
    column = array.to_pandas(date_as_object=True)
    if sql["k"] == "TIMESTAMP_LTZ":
        column = column.dt.tz_localize("UTC").dt.tz_convert(ZONE)
    return column


def column_of(result: Any, rows: int, sql: dict[str, Any], arrow: pa.DataType) -> pa.Array:
    """What a pandas function gave, as a column; NaN is NULL."""
    import pyarrow as pa

    if not hasattr(result, "__len__"):
        raise WrongType(f"the result must be a Series of {sql['s']}, and is {_shown(result)}")
    if len(result) != rows:
        raise WrongType(f"the result must have as many rows as the arguments, {rows}, and has {len(result)}")
    if hasattr(result, "itertuples"):
        return _strict(list(result.itertuples(index=False, name=None)), sql, arrow)
    if sql["k"] in ("TIMESTAMP", "TIMESTAMP_LTZ") and getattr(getattr(result, "dt", None), "tz", None) is not None:
        result = result.dt.tz_convert("UTC").dt.tz_localize(None)
    try:
        return pa.Array.from_pandas(result, type=arrow)
    except (pa.ArrowException, TypeError, ValueError):
        return _strict([bare(value) for value in result], sql, arrow)


def bare(value: Any) -> Any:
    """A value of numpy as Python's own."""
    return value.item() if type(value).__module__ == "numpy" and hasattr(value, "item") else value


def _strict(values: list[Any], sql: dict[str, Any], arrow: pa.DataType) -> pa.Array:
    def refuse(_row: int, error: BaseException) -> None:
        raise error

    return write(values, sql, arrow, refuse)
