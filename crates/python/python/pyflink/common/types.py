"""`Row` and `RowKind`, as functions see and return them."""

from __future__ import annotations

from enum import Enum
from typing import Any, Iterable, Iterator


class RowKind(Enum):
    """What a change does to a table."""

    INSERT = 0
    UPDATE_BEFORE = 1
    UPDATE_AFTER = 2
    DELETE = 3

    def __str__(self) -> str:
        return ("+I", "-U", "+U", "-D")[self.value]


class Row:
    """Values in order, with names where they have some: `Row(1, "a")` or `Row(id=1, name="a")`.

    A field is read by position (`row[0]`), by name (`row["id"]`) or as an attribute (`row.id`). Calling a row of names makes rows with
    these names: `Person = Row("id", "name"); Person(1, "a")`.
    """

    __slots__ = ("_values", "_fields", "_row_kind")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if args and kwargs:
            raise ValueError("Can not use both args and kwargs to create Row")
        self._values: list[Any] = list(kwargs.values()) if kwargs else list(args)
        self._fields: list[str] = list(kwargs) if kwargs else []
        self._row_kind = RowKind.INSERT

    @classmethod
    def _of(cls, values: Iterable[Any], fields: list[str]) -> Row:
        row = cls.__new__(cls)
        row._values, row._fields, row._row_kind = list(values), fields, RowKind.INSERT
        return row

    def as_dict(self, recursive: bool = False) -> dict[str, Any]:
        """Names and values; with `recursive` the rows inside as well."""
        if not self._fields:
            raise TypeError("Cannot convert a Row without field names into a dict")

        def plain(value: Any) -> Any:
            if isinstance(value, Row):
                return value.as_dict(True)
            if isinstance(value, list):
                return [plain(item) for item in value]
            if isinstance(value, dict):
                return {key: plain(item) for key, item in value.items()}
            return value

        pairs = zip(self._fields, self._values)
        return {name: plain(value) if recursive else value for name, value in pairs}

    def get_row_kind(self) -> RowKind:
        """What kind of change the row is."""
        return self._row_kind

    def set_row_kind(self, row_kind: RowKind) -> None:
        """Sets the kind of change."""
        self._row_kind = row_kind

    def get_field_names(self) -> list[str]:
        """The names, if it has some."""
        return self._fields

    def set_field_names(self, field_names: list[str]) -> None:
        """Names the values."""
        self._fields = list(field_names)

    def get_fields_by_names(self, names: list[str]) -> list[Any]:
        """The values of some fields."""
        return [self[name] for name in names]

    def to_tuple(self) -> tuple[Any, ...]:
        """The values."""
        return tuple(self._values)

    def _index(self, key: Any) -> Any:
        if not isinstance(key, str):
            return key
        try:
            return self._fields.index(key)
        except ValueError:
            raise KeyError(key) from None

    def __getitem__(self, key: Any) -> Any:
        return self._values[self._index(key)]

    def __setitem__(self, key: Any, value: Any) -> None:
        self._values[self._index(key)] = value

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            return self._values[self._fields.index(name)]
        except ValueError:
            raise AttributeError(name) from None

    def __setattr__(self, name: str, value: Any) -> None:
        if name in Row.__slots__:
            object.__setattr__(self, name, value)
        elif name in self._fields:
            self._values[self._fields.index(name)] = value
        else:
            raise AttributeError(f"the row has no field {name}")

    def __call__(self, *args: Any) -> Row:
        if len(args) > len(self._values):
            raise ValueError(f"Can not create Row with fields {self._values}, expected {len(self._values)} values")
        return Row._of(args, [str(name) for name in self._values])

    def __contains__(self, item: Any) -> bool:
        return item in self._values

    def __iter__(self) -> Iterator[Any]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __eq__(self, other: Any) -> bool:
        if not isinstance(other, Row):
            return False
        return (self._row_kind, self._values) == (other._row_kind, other._values)

    def __hash__(self) -> int:
        return hash(tuple(self._values))

    def __reduce__(self) -> Any:
        return (_restored, (tuple(self._values), tuple(self._fields), self._row_kind))

    def __repr__(self) -> str:
        if self._fields:
            return "Row(" + ", ".join(f"{n}={v!r}" for n, v in zip(self._fields, self._values)) + ")"
        return "<Row(" + ", ".join(repr(value) for value in self._values) + ")>"


def _restored(values: tuple[Any, ...], fields: tuple[str, ...], kind: RowKind) -> Row:
    row = Row._of(values, list(fields))
    row._row_kind = kind
    return row
