//! SQL types as the worker reads them: JSON, because Arrow's type alone does not say TIMESTAMP_LTZ from TIMESTAMP.

use serde_json::{Value, json};
use wiesel_core::{DataType, TypeKind};

/// The type as `columns.py` reads it; `s` is its SQL text, for messages.
pub(crate) fn to_json(data_type: &DataType) -> Value {
    let shown = data_type.kind.to_string();
    let plain = |kind: &str| json!({"k": kind, "s": shown});
    match &data_type.kind {
        TypeKind::Null => plain("NULL"),
        TypeKind::Boolean => plain("BOOLEAN"),
        TypeKind::TinyInt => plain("TINYINT"),
        TypeKind::SmallInt => plain("SMALLINT"),
        TypeKind::Int => plain("INT"),
        TypeKind::BigInt => plain("BIGINT"),
        TypeKind::Float => plain("FLOAT"),
        TypeKind::Double => plain("DOUBLE"),
        TypeKind::Decimal { precision, scale } => json!({"k": "DECIMAL", "s": shown, "p": precision, "scale": scale}),
        TypeKind::Char(_) => plain("CHAR"),
        TypeKind::VarChar(_) => plain("VARCHAR"),
        TypeKind::Binary(_) => plain("BINARY"),
        TypeKind::VarBinary(_) => plain("VARBINARY"),
        TypeKind::Date => plain("DATE"),
        TypeKind::Time(_) => plain("TIME"),
        TypeKind::Timestamp(p) => json!({"k": "TIMESTAMP", "s": shown, "p": p}),
        TypeKind::TimestampLtz(p) => json!({"k": "TIMESTAMP_LTZ", "s": shown, "p": p}),
        TypeKind::IntervalYearMonth => plain("INTERVAL_YEAR_MONTH"),
        TypeKind::IntervalDayTime => plain("INTERVAL_DAY_TIME"),
        TypeKind::Array(element) => json!({"k": "ARRAY", "s": shown, "e": to_json(element)}),
        TypeKind::Map(key, value) => json!({"k": "MAP", "s": shown, "key": to_json(key), "value": to_json(value)}),
        TypeKind::Multiset(element) => json!({"k": "MULTISET", "s": shown, "e": to_json(element)}),
        TypeKind::Row(fields) => {
            let fields: Vec<Value> = fields.iter().map(|f| json!({"n": f.name, "t": to_json(&f.data_type)})).collect();
            json!({"k": "ROW", "s": shown, "fields": fields})
        }
    }
}
