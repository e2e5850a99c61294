"""Columns of plain types as the buffers of a frame, without pyarrow: `crates/python/src/plain.rs` is the other side.

Importing pyarrow takes several times as long as the interpreter's own start, and for numbers and texts nothing of it is needed: `struct`
packs a list of them in one C call, and checks types and ranges on the way.
"""

from __future__ import annotations

import array
import struct
from itertools import repeat
from typing import Any, Callable, Iterable, Optional

from wiesel_worker import columns

ALIGNMENT = 8
BYTES_MAX = (1 << 31) - 1
CODES = {**columns.NUMBERS, "DATE": "i", "TIME": "i", "INTERVAL_DAY_TIME": "q", "TIMESTAMP": "q", "TIMESTAMP_LTZ": "q"}


class Column:
    """What [`columns.read`] asks of an array, over parts of a frame's body."""

    def __init__(self, length: int, parts: list[memoryview], offset: int = 0) -> None:
        self.length = length
        self.offset = offset
        self.parts: list[Optional[memoryview]] = [parts[0] if len(parts[0]) else None, *parts[1:]]
        self.null_count = len(parts[0])

    def __len__(self) -> int:
        return self.length

    def buffers(self) -> list[Optional[memoryview]]:
        """Validity, then the type's own buffers."""
        return self.parts

    def slice(self, start: int, count: int) -> Column:
        """Some of its rows."""
        return Column(count, [part if part is not None else memoryview(b"") for part in self.parts], self.offset + start)


def split(body: bytearray, lengths: list[list[int]], rows: int) -> list[Column]:
    """The columns of a body."""
    view, place, found = memoryview(body), 0, []
    for column in lengths:
        parts = []
        for length in column:
            parts.append(view[place : place + length])
            place += -(-length // ALIGNMENT) * ALIGNMENT
        found.append(Column(rows, parts))
    return found


def write(values: list[Any], sql: dict[str, Any], refuse: Callable[[int, BaseException], Any]) -> list[Any]:
    """The parts of a column of results; `refuse` is told of each row whose value is not of the type, which then is NULL."""
    allowed = columns.FAST.get(sql["k"])
    try:
        ready = values if allowed is not None or sql["k"] in columns.RANGES else [columns.plain(v, sql) for v in values]
        try:
            return _parts(ready, sql, allowed)
        except WRONG:
            return _parts_with_nulls(ready, sql, allowed)
    except WRONG:
        pass
    checked: list[Any] = []
    for index, value in enumerate(values):
        try:
            item = columns.plain(value, sql)
            if item is not None:
                _parts([item], sql, None)
            checked.append(item)
        except Exception as error:  # whatever a value's own methods raise is an error of its row
            refuse(index, error)
            checked.append(None)
    return _parts_with_nulls(checked, sql, None)


WRONG = (TypeError, ValueError, OverflowError, AttributeError, struct.error)
EMPTY: dict[str, Any] = {"CHAR": "", "VARCHAR": "", "BINARY": b"", "VARBINARY": b"", "BOOLEAN": False}


def _parts_with_nulls(values: list[Any], sql: dict[str, Any], allowed: Optional[set[type]]) -> list[Any]:
    mask = bytes([value is not None for value in values])
    empty = EMPTY.get(sql["k"], 0)
    parts = _parts([empty if value is None else value for value in values], sql, allowed)
    return [b"" if all(mask) else mask, *parts[1:]]


def _parts(values: list[Any], sql: dict[str, Any], allowed: Optional[set[type]]) -> list[Any]:
    """A column without NULL; raises where a value is not of the type, by `allowed` or by its packing."""
    kind, count = sql["k"], len(values)
    code = CODES.get(kind)
    if kind in columns.RANGES:
        return [b"", struct.pack(f"{count}{code}", *values)]
    if allowed is not None and not set(map(type, values)) <= allowed:
        raise TypeError
    if kind == "BOOLEAN":
        return [b"", bytes(values)]
    if kind in columns.STRINGS:
        text = "".join(values)
        data = text.encode()
        if len(data) == len(text):
            return _lengths(values, data)
        return _lengths([value.encode() for value in values], data)
    if kind in columns.BYTES:
        return _lengths(values, b"".join(values))
    if kind == "FLOAT":
        # Numbers out of its range are infinite, where `struct` would refuse them.
        return [b"", array.array("f", values)]
    return [b"", struct.pack(f"{count}{code}", *values)]


def _lengths(values: list[Any], data: bytes) -> list[Any]:
    if len(data) > BYTES_MAX:
        raise MemoryError("the results take more than 2 GB")
    return [b"", struct.pack(f"{len(values)}i", *map(len, values)), data]


def joined(pieces: list[list[Any]], counts: list[int]) -> list[Any]:
    """The parts of a column out of those of its pieces, which have so many rows."""
    if len(pieces) == 1:
        return pieces[0]
    masks = [piece[0] for piece in pieces]
    if any(masks):
        masks = [mask or b"\1" * count for mask, count in zip(masks, counts)]
    return [b"".join(masks), *(b"".join(parts) for parts in zip(*(piece[1:] for piece in pieces)))]


def padded(parts: list[Any]) -> tuple[list[int], bytes]:
    """The lengths of parts and a body of them."""
    views = [memoryview(part).cast("B") for part in parts]
    body = b"".join(piece for view in views for piece in (view, bytes(-len(view) % ALIGNMENT)))
    return [len(view) for view in views], body


EXACT = {**dict.fromkeys(columns.RANGES, int), "DOUBLE": float, "BOOLEAN": bool, "CHAR": str, "VARCHAR": str, "BINARY": bytes,
         "VARBINARY": bytes}  # fmt: skip


def back(values: list[Any], parts: list[Any], sql: dict[str, Any]) -> list[Any]:
    """Results as the next function is given them: what was packed, which may be less than what was given."""
    mask, kind = parts[0], sql["k"]
    ready: Iterable[Any] = values
    if not set(map(type, values)) <= {EXACT.get(kind), type(None)}:
        if kind in EMPTY:
            ready = [columns.plain(value, sql) if is_set else None for value, is_set in zip(values, mask or repeat(True))]
        else:
            ready = columns.read(Column(len(values), [memoryview(b""), memoryview(parts[1]).cast("B")]), sql)
    return [value if is_set else None for value, is_set in zip(ready, mask)] if mask else list(ready)
