//! Document ids: the values of the key columns in Flink's text forms, joined by the key delimiter.

use arrow_array::{ArrayRef, RecordBatch};
use wiesel_core::{Error, Result, Schema, TypeKind};

use crate::java_text;

/// The longest id that Elasticsearch takes, in bytes.
const ID_BYTES_MAX: usize = 512;

/// Makes the ids of batches.
pub(super) struct DocumentIds {
    /// Position and type of the key columns, in key order.
    keys: Vec<(usize, TypeKind)>,
    delimiter: String,
    schema: Schema,
}

impl DocumentIds {
    /// Ids from the columns of `schema` that `primary_key` names.
    pub(super) fn new(schema: &Schema, primary_key: &[String], delimiter: &str) -> Result<Self> {
        let mut keys = Vec::with_capacity(primary_key.len());
        for name in primary_key {
            let Some(position) = schema.index_of(name) else {
                return Err(Error::config(format!("the inserted columns lack `{name}`, a column of the primary key"))
                    .hint("the document id is made of the primary key: insert all its columns"));
            };
            let kind = schema.fields()[position].data_type.kind.clone();
            keys.push((position, kind));
        }
        Ok(DocumentIds { keys, delimiter: delimiter.to_owned(), schema: schema.clone() })
    }

    /// Appends the id of a row.
    pub(super) fn append(&self, out: &mut String, rows: &RecordBatch, row: usize) -> Result<()> {
        let start = out.len();
        for (i, (position, kind)) in self.keys.iter().enumerate() {
            if i > 0 {
                out.push_str(&self.delimiter);
            }
            let column = rows.column(*position);
            if column.is_null(row) {
                return Err(Error::data(format!(
                    "column `{}` of the primary key is NULL",
                    self.schema.fields()[*position].name
                ))
                .hint("filter such rows out, or give them a key with COALESCE"));
            }
            append_part(out, column, kind, row);
        }
        let length = out.len() - start;
        if length == 0 {
            return Err(Error::data("the document id is empty: Elasticsearch needs at least one character"));
        }
        if length > ID_BYTES_MAX {
            let clipped: String = out.chars().skip(out[..start].chars().count()).take(60).collect();
            return Err(Error::data(format!(
                "the document id `{clipped}...` has {length} bytes, Elasticsearch takes {ID_BYTES_MAX} at most"
            ))
            .hint("use a shorter key, such as MD5(...) of it"));
        }
        Ok(())
    }
}

/// Appends one key value. Flink prints its internal values here, so a TIMESTAMP_LTZ has no `Z`, a DECIMAL is plain, and months
/// count as days.
fn append_part(out: &mut String, column: &ArrayRef, kind: &TypeKind, row: usize) {
    use arrow_array::cast::AsArray;
    use arrow_array::types as at;
    match kind {
        TypeKind::TimestampLtz(p) => {
            let (seconds, nanos) = java_text::timestamp_parts(column, *p, row);
            java_text::append_local_date_time(out, seconds, nanos);
        }
        TypeKind::Decimal { scale, .. } => {
            java_text::append_plain_decimal(out, column.as_primitive::<at::Decimal128Type>().value(row), *scale);
        }
        TypeKind::IntervalYearMonth => {
            out.push('P');
            java_text::append_integer(out, column.as_primitive::<at::Int32Type>().value(row).into());
            out.push('D');
        }
        kind => java_text::append_value(out, column, kind, row),
    }
}

#[cfg(test)]
mod tests {
    use wiesel_core::value::column;
    use wiesel_core::{DataType, Field, Value};

    use super::*;

    fn id(keys: &[(TypeKind, Value)], delimiter: &str) -> Result<String> {
        let names: Vec<String> = (0..keys.len()).map(|i| format!("k{i}")).collect();
        let fields = names.iter().zip(keys).map(|(n, (kind, _))| Field::new(n, DataType::new(kind.clone())));
        let schema = Schema::new(fields.collect());
        let columns = keys.iter().map(|(kind, value)| column(kind, std::slice::from_ref(value))).collect();
        let rows = RecordBatch::try_new(schema.arrow().clone(), columns).unwrap();
        let mut out = String::from("before");
        DocumentIds::new(&schema, &names, delimiter)?.append(&mut out, &rows, 0)?;
        Ok(out.split_off("before".len()))
    }

    #[test]
    fn ids_are_flinks() {
        let text = |s: &str| (TypeKind::VarChar(100), Value::String(s.to_owned()));
        let cases: &[(&[(TypeKind, Value)], &str)] = &[
            (
                &[(TypeKind::Timestamp(3), Value::Timestamp(1_704_067_200_000)), text("c-00841")],
                "2024-01-01T00:00_c-00841",
            ),
            (&[(TypeKind::TimestampLtz(3), Value::Timestamp(1_704_067_201_500))], "2024-01-01T00:00:01.500"),
            (&[(TypeKind::Int, Value::Int(4))], "4"),
            (&[(TypeKind::BigInt, Value::Int(-7)), (TypeKind::Boolean, Value::Boolean(true))], "-7_true"),
            (&[(TypeKind::Double, Value::Double(1.0))], "1.0"),
            (&[(TypeKind::Decimal { precision: 20, scale: 8 }, Value::Decimal(1))], "0.00000001"),
            (&[(TypeKind::Date, Value::Date(19_723))], "2024-01-01"),
            (&[(TypeKind::Time(0), Value::Time(36_000_000))], "10:00"),
            (&[(TypeKind::IntervalYearMonth, Value::Months(14))], "P14D"),
            (&[text("a/b?c&d \"ü")], "a/b?c&d \"ü"),
        ];
        for (keys, expected) in cases {
            assert_eq!(id(keys, "_").unwrap(), *expected);
        }
        assert_eq!(id(&[text("a"), text("b")], "$").unwrap(), "a$b");
    }

    #[test]
    fn ids_that_the_server_cannot_take_are_named() {
        let text = |s: String| [(TypeKind::VarChar(1000), Value::String(s))];
        assert!(id(&text("x".repeat(512)), "_").is_ok());
        let error = id(&text("x".repeat(513)), "_").unwrap_err().to_string();
        assert!(error.contains("513 bytes") && error.contains("`xxxxx"), "{error}");
        assert!(id(&text(String::new()), "_").unwrap_err().to_string().contains("empty"));
        let error = id(&[(TypeKind::Int, Value::Null)], "_").unwrap_err().to_string();
        assert!(error.contains("`k0` of the primary key is NULL"), "{error}");
    }
}
