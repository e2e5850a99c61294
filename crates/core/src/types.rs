//! Flink's SQL types, and the one table that says which Arrow type carries each of them.
//!
//! The Arrow type alone is not enough to be Flink: CHAR(3) and STRING, TIMESTAMP and TIMESTAMP_LTZ, or two precisions of the same
//! unit share an Arrow type. So the SQL type travels in [`Schema`], and Arrow sees only the physical side, given by
//! [`DataType::to_arrow`]:
//!
//! | SQL | Arrow |
//! |---|---|
//! | CHAR, VARCHAR, STRING | Utf8 |
//! | BINARY, VARBINARY, BYTES | Binary |
//! | DECIMAL(p, s) | Decimal128(p, s) |
//! | DATE | Date32 |
//! | TIME(p) | Time32(ms): Flink's run time keeps milliseconds at most |
//! | TIMESTAMP(p), TIMESTAMP_LTZ(p) | Timestamp without zone, in ms for p <= 3, us for p <= 6, ns above |
//! | INTERVAL YEAR TO MONTH, DAY TO SECOND | Int32 months, Int64 ms |
//! | ARRAY, MAP, MULTISET, ROW | List, Map, Map to Int32, Struct |

use std::fmt;
use std::sync::Arc;

use arrow_schema as arrow;

/// The length that makes VARCHAR(n) a STRING and VARBINARY(n) a BYTES.
pub const MAX_LENGTH: u32 = i32::MAX as u32;

/// A SQL type with its nullability.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DataType {
    /// The type itself.
    pub kind: TypeKind,
    /// Whether NULL is a value of the type.
    pub nullable: bool,
}

/// A SQL type without its nullability.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum TypeKind {
    /// The type of a bare NULL; it casts to everything.
    Null,
    /// BOOLEAN.
    Boolean,
    /// TINYINT, 1 byte.
    TinyInt,
    /// SMALLINT, 2 bytes.
    SmallInt,
    /// INT, 4 bytes.
    Int,
    /// BIGINT, 8 bytes.
    BigInt,
    /// FLOAT, 4 bytes.
    Float,
    /// DOUBLE, 8 bytes.
    Double,
    /// DECIMAL(precision, scale), precision 1..=38.
    Decimal {
        /// Digits in all.
        precision: u8,
        /// Digits after the point.
        scale: u8,
    },
    /// CHAR(n), padded with blanks only by CAST.
    Char(u32),
    /// VARCHAR(n); STRING is VARCHAR([`MAX_LENGTH`]).
    VarChar(u32),
    /// BINARY(n).
    Binary(u32),
    /// VARBINARY(n); BYTES is VARBINARY([`MAX_LENGTH`]).
    VarBinary(u32),
    /// DATE, days since 1970-01-01.
    Date,
    /// TIME(p), milliseconds of the day.
    Time(u8),
    /// TIMESTAMP(p): a wall-clock time without zone.
    Timestamp(u8),
    /// TIMESTAMP_LTZ(p): an instant.
    TimestampLtz(u8),
    /// INTERVAL YEAR TO MONTH, in months.
    IntervalYearMonth,
    /// INTERVAL DAY TO SECOND, in milliseconds.
    IntervalDayTime,
    /// ARRAY of an element type.
    Array(Box<DataType>),
    /// MAP of key to value type.
    Map(Box<DataType>, Box<DataType>),
    /// MULTISET of an element type.
    Multiset(Box<DataType>),
    /// ROW of named fields.
    Row(Vec<Field>),
}

/// A named column or row field.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Field {
    /// The name, case kept.
    pub name: String,
    /// The type.
    pub data_type: DataType,
}

impl Field {
    /// A field of the given name and type.
    pub fn new(name: impl Into<String>, data_type: DataType) -> Self {
        Field { name: name.into(), data_type }
    }
}

impl DataType {
    /// The nullable form of a type.
    pub fn new(kind: TypeKind) -> Self {
        DataType { kind, nullable: true }
    }

    /// The NOT NULL form of a type.
    pub fn not_null(kind: TypeKind) -> Self {
        DataType { kind, nullable: false }
    }

    /// STRING.
    pub fn string() -> Self {
        DataType::new(TypeKind::VarChar(MAX_LENGTH))
    }

    /// BIGINT.
    pub fn bigint() -> Self {
        DataType::new(TypeKind::BigInt)
    }

    /// INT.
    pub fn int() -> Self {
        DataType::new(TypeKind::Int)
    }

    /// DOUBLE.
    pub fn double() -> Self {
        DataType::new(TypeKind::Double)
    }

    /// BOOLEAN.
    pub fn boolean() -> Self {
        DataType::new(TypeKind::Boolean)
    }

    /// The same type with another nullability.
    #[must_use]
    pub fn with_nullable(&self, nullable: bool) -> Self {
        DataType { kind: self.kind.clone(), nullable }
    }

    /// The Arrow type that carries this one.
    pub fn to_arrow(&self) -> arrow::DataType {
        self.kind.to_arrow()
    }
}

impl TypeKind {
    /// The Arrow type that carries this one (the table in the module's head).
    pub fn to_arrow(&self) -> arrow::DataType {
        use arrow::DataType as A;
        match self {
            TypeKind::Null => A::Null,
            TypeKind::Boolean => A::Boolean,
            TypeKind::TinyInt => A::Int8,
            TypeKind::SmallInt => A::Int16,
            TypeKind::Int | TypeKind::IntervalYearMonth => A::Int32,
            TypeKind::BigInt | TypeKind::IntervalDayTime => A::Int64,
            TypeKind::Float => A::Float32,
            TypeKind::Double => A::Float64,
            TypeKind::Decimal { precision, scale } => {
                A::Decimal128(*precision, i8::try_from(*scale).unwrap_or(i8::MAX))
            }
            TypeKind::Char(_) | TypeKind::VarChar(_) => A::Utf8,
            TypeKind::Binary(_) | TypeKind::VarBinary(_) => A::Binary,
            TypeKind::Date => A::Date32,
            TypeKind::Time(_) => A::Time32(arrow::TimeUnit::Millisecond),
            TypeKind::Timestamp(p) | TypeKind::TimestampLtz(p) => A::Timestamp(timestamp_unit(*p), None),
            TypeKind::Array(element) => A::List(Arc::new(arrow::Field::new("item", element.to_arrow(), true))),
            TypeKind::Map(key, value) => map_type(key, value.to_arrow()),
            TypeKind::Multiset(element) => map_type(element, A::Int32),
            TypeKind::Row(fields) => {
                A::Struct(fields.iter().map(|f| arrow::Field::new(&f.name, f.data_type.to_arrow(), true)).collect())
            }
        }
    }

    /// Whether the type is CHAR or VARCHAR.
    pub fn is_string(&self) -> bool {
        matches!(self, TypeKind::Char(_) | TypeKind::VarChar(_))
    }

    /// Whether the type is one of the four integer types.
    pub fn is_integer(&self) -> bool {
        matches!(self, TypeKind::TinyInt | TypeKind::SmallInt | TypeKind::Int | TypeKind::BigInt)
    }

    /// Whether the type is an integer, DECIMAL, FLOAT or DOUBLE.
    pub fn is_numeric(&self) -> bool {
        self.is_integer() || matches!(self, TypeKind::Decimal { .. } | TypeKind::Float | TypeKind::Double)
    }
}

/// The unit that holds a timestamp of precision `p`.
pub fn timestamp_unit(p: u8) -> arrow::TimeUnit {
    match p {
        0..=3 => arrow::TimeUnit::Millisecond,
        4..=6 => arrow::TimeUnit::Microsecond,
        _ => arrow::TimeUnit::Nanosecond,
    }
}

// Nullability is Flink's to check, not Arrow's, so every Arrow field but a map's key and entry struct is nullable: two schemas that
// differ in NOT NULL alone have one Arrow type, and batches pass between them without a cast.
fn map_type(key: &DataType, value: arrow::DataType) -> arrow::DataType {
    let entries = arrow::DataType::Struct(
        vec![arrow::Field::new("key", key.to_arrow(), false), arrow::Field::new("value", value, true)].into(),
    );
    arrow::DataType::Map(Arc::new(arrow::Field::new("entries", entries, false)), false)
}

impl fmt::Display for DataType {
    /// Flink's summary form: `VARCHAR(2147483647)` prints as `STRING`, NOT NULL follows the type.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.kind)?;
        if !self.nullable {
            f.write_str(" NOT NULL")?;
        }
        Ok(())
    }
}

impl fmt::Display for TypeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TypeKind::Null => f.write_str("NULL"),
            TypeKind::Boolean => f.write_str("BOOLEAN"),
            TypeKind::TinyInt => f.write_str("TINYINT"),
            TypeKind::SmallInt => f.write_str("SMALLINT"),
            TypeKind::Int => f.write_str("INT"),
            TypeKind::BigInt => f.write_str("BIGINT"),
            TypeKind::Float => f.write_str("FLOAT"),
            TypeKind::Double => f.write_str("DOUBLE"),
            TypeKind::Decimal { precision, scale } => write!(f, "DECIMAL({precision}, {scale})"),
            TypeKind::Char(n) => write!(f, "CHAR({n})"),
            TypeKind::VarChar(MAX_LENGTH) => f.write_str("STRING"),
            TypeKind::VarChar(n) => write!(f, "VARCHAR({n})"),
            TypeKind::Binary(n) => write!(f, "BINARY({n})"),
            TypeKind::VarBinary(MAX_LENGTH) => f.write_str("BYTES"),
            TypeKind::VarBinary(n) => write!(f, "VARBINARY({n})"),
            TypeKind::Date => f.write_str("DATE"),
            TypeKind::Time(p) => write!(f, "TIME({p})"),
            TypeKind::Timestamp(p) => write!(f, "TIMESTAMP({p})"),
            TypeKind::TimestampLtz(p) => write!(f, "TIMESTAMP_LTZ({p})"),
            TypeKind::IntervalYearMonth => f.write_str("INTERVAL YEAR TO MONTH"),
            TypeKind::IntervalDayTime => f.write_str("INTERVAL DAY TO SECOND(3)"),
            TypeKind::Array(element) => write!(f, "ARRAY<{element}>"),
            TypeKind::Map(key, value) => write!(f, "MAP<{key}, {value}>"),
            TypeKind::Multiset(element) => write!(f, "MULTISET<{element}>"),
            TypeKind::Row(fields) => {
                f.write_str("ROW<")?;
                for (i, field) in fields.iter().enumerate() {
                    if i > 0 {
                        f.write_str(", ")?;
                    }
                    write!(f, "`{}` {}", field.name.replace('`', "``"), field.data_type)?;
                }
                f.write_str(">")
            }
        }
    }
}

/// The columns of a stream: SQL types, with the Arrow schema beside them so that nobody derives it twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schema {
    fields: Arc<[Field]>,
    arrow: arrow::SchemaRef,
}

impl Schema {
    /// A schema of the given columns.
    pub fn new(fields: Vec<Field>) -> Self {
        let arrow_fields: Vec<arrow::Field> =
            fields.iter().map(|f| arrow::Field::new(&f.name, f.data_type.to_arrow(), true)).collect();
        Schema { fields: fields.into(), arrow: Arc::new(arrow::Schema::new(arrow_fields)) }
    }

    /// The columns.
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// The Arrow schema that batches of this schema have.
    pub fn arrow(&self) -> &arrow::SchemaRef {
        &self.arrow
    }

    /// The number of columns.
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// Whether there is no column.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// The position of a column; names are case-sensitive, as in Flink.
    pub fn index_of(&self, name: &str) -> Option<usize> {
        self.fields.iter().position(|f| f.name == name)
    }
}
