"""`DataTypes`: types are kept as the SQL text that declares them, which is all that wiesel's planner reads."""

from __future__ import annotations

from typing import Any, Iterable, Optional

from pyflink.common.types import Row, RowKind

__all__ = ["DataType", "DataTypes", "Row", "RowField", "RowKind"]


class DataType:
    """A SQL type."""

    def __init__(self, sql: str, nullable: bool = True) -> None:
        self._sql = sql
        self._nullable = nullable

    def not_null(self) -> DataType:
        """The same type without NULL."""
        return DataType(self._sql, False)

    def nullable(self) -> DataType:
        """The same type with NULL."""
        return DataType(self._sql, True)

    def __eq__(self, other: Any) -> bool:
        return isinstance(other, DataType) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))

    def __str__(self) -> str:
        return self._sql if self._nullable else f"{self._sql} NOT NULL"

    __repr__ = __str__


class RowField:
    """A field of a ROW."""

    def __init__(self, name: str, data_type: DataType, description: Optional[str] = None) -> None:
        self.name = name
        self.data_type = data_type
        self.description = description

    def __str__(self) -> str:
        return f"`{self.name.replace('`', '``')}` {self.data_type}"

    __repr__ = __str__


class Resolution:
    """A part of an interval."""

    def __init__(self, unit: str, precision: int = -1) -> None:
        self.unit = unit
        self.precision = precision

    def __str__(self) -> str:
        return self.unit if self.precision < 0 else f"{self.unit}({self.precision})"


class DataTypes:
    """Every type by its SQL name."""

    @staticmethod
    def NULL() -> DataType:
        return DataType("NULL")

    @staticmethod
    def CHAR(length: int, nullable: bool = True) -> DataType:
        return DataType(f"CHAR({length})", nullable)

    @staticmethod
    def VARCHAR(length: int, nullable: bool = True) -> DataType:
        return DataType(f"VARCHAR({length})", nullable)

    @staticmethod
    def STRING(nullable: bool = True) -> DataType:
        return DataType("STRING", nullable)

    @staticmethod
    def BOOLEAN(nullable: bool = True) -> DataType:
        return DataType("BOOLEAN", nullable)

    @staticmethod
    def BINARY(length: int, nullable: bool = True) -> DataType:
        return DataType(f"BINARY({length})", nullable)

    @staticmethod
    def VARBINARY(length: int, nullable: bool = True) -> DataType:
        return DataType(f"VARBINARY({length})", nullable)

    @staticmethod
    def BYTES(nullable: bool = True) -> DataType:
        return DataType("BYTES", nullable)

    @staticmethod
    def DECIMAL(precision: int, scale: int, nullable: bool = True) -> DataType:
        return DataType(f"DECIMAL({precision}, {scale})", nullable)

    @staticmethod
    def TINYINT(nullable: bool = True) -> DataType:
        return DataType("TINYINT", nullable)

    @staticmethod
    def SMALLINT(nullable: bool = True) -> DataType:
        return DataType("SMALLINT", nullable)

    @staticmethod
    def INT(nullable: bool = True) -> DataType:
        return DataType("INT", nullable)

    @staticmethod
    def BIGINT(nullable: bool = True) -> DataType:
        return DataType("BIGINT", nullable)

    @staticmethod
    def FLOAT(nullable: bool = True) -> DataType:
        return DataType("FLOAT", nullable)

    @staticmethod
    def DOUBLE(nullable: bool = True) -> DataType:
        return DataType("DOUBLE", nullable)

    @staticmethod
    def DATE(nullable: bool = True) -> DataType:
        return DataType("DATE", nullable)

    @staticmethod
    def TIME(precision: int = 0, nullable: bool = True) -> DataType:
        return DataType(f"TIME({precision})", nullable)

    @staticmethod
    def TIMESTAMP(precision: int = 6, nullable: bool = True) -> DataType:
        return DataType(f"TIMESTAMP({precision})", nullable)

    @staticmethod
    def TIMESTAMP_WITH_LOCAL_TIME_ZONE(precision: int = 6, nullable: bool = True) -> DataType:
        return DataType(f"TIMESTAMP_LTZ({precision})", nullable)

    @staticmethod
    def TIMESTAMP_LTZ(precision: int = 6, nullable: bool = True) -> DataType:
        return DataType(f"TIMESTAMP_LTZ({precision})", nullable)

    @staticmethod
    def ARRAY(element_type: DataType, nullable: bool = True) -> DataType:
        return DataType(f"ARRAY<{element_type}>", nullable)

    @staticmethod
    def MAP(key_type: DataType, value_type: DataType, nullable: bool = True) -> DataType:
        return DataType(f"MAP<{key_type}, {value_type}>", nullable)

    @staticmethod
    def MULTISET(element_type: DataType, nullable: bool = True) -> DataType:
        return DataType(f"MULTISET<{element_type}>", nullable)

    @staticmethod
    def ROW(row_fields: Iterable[Any] = (), nullable: bool = True) -> DataType:
        fields = [f if isinstance(f, RowField) else RowField(f"f{i}", f) for i, f in enumerate(row_fields)]
        return DataType("ROW<" + ", ".join(str(field) for field in fields) + ">", nullable)

    @staticmethod
    def FIELD(name: str, data_type: DataType, description: Optional[str] = None) -> RowField:
        return RowField(name, data_type, description)

    @staticmethod
    def SECOND(precision: int = 6) -> Resolution:
        return Resolution("SECOND", precision)

    @staticmethod
    def MINUTE() -> Resolution:
        return Resolution("MINUTE")

    @staticmethod
    def HOUR() -> Resolution:
        return Resolution("HOUR")

    @staticmethod
    def DAY(precision: int = 2) -> Resolution:
        return Resolution("DAY", precision)

    @staticmethod
    def MONTH() -> Resolution:
        return Resolution("MONTH")

    @staticmethod
    def YEAR(precision: int = 2) -> Resolution:
        return Resolution("YEAR", precision)

    @staticmethod
    def INTERVAL(upper: Resolution, lower: Optional[Resolution] = None) -> DataType:
        return DataType(f"INTERVAL {upper}" + (f" TO {lower}" if lower else ""))

    @staticmethod
    def LIST_VIEW(element_type: DataType) -> DataType:
        return DataType(f"LIST_VIEW<{element_type}>")

    @staticmethod
    def MAP_VIEW(key_type: DataType, value_type: DataType) -> DataType:
        return DataType(f"MAP_VIEW<{key_type}, {value_type}>")
