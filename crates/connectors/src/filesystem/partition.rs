//! Which directory a row goes to: `dt=2024-01-01/hour=10`, as Hive lays tables out.

use std::collections::HashMap;
use std::fmt::Write as _;

use arrow_array::cast::AsArray;
use arrow_array::types as at;
use arrow_array::{Array, RecordBatch, UInt32Array};
use wiesel_core::types::{DataType, TypeKind};
use wiesel_core::{Error, ErrorKind, Result};

use crate::formats::json::write_iso_date;

/// A column that partitions the table.
#[derive(Debug, Clone)]
pub(super) struct PartitionColumn {
    /// `dt=`, escaped.
    prefix: String,
    /// Its position in the batches.
    index: usize,
    data_type: DataType,
}

impl PartitionColumn {
    /// Checks that values of the type have a name.
    pub(super) fn new(name: &str, index: usize, data_type: &DataType, table: &str) -> Result<Self> {
        let kind = &data_type.kind;
        if !kind.is_string() && !kind.is_integer() && !matches!(kind, TypeKind::Boolean | TypeKind::Date) {
            return Err(Error::new(
                ErrorKind::Config,
                "W0503",
                format!("partition column `{name}` of table `{table}`: type {data_type} is not supported yet"),
            )
            .hint("partition by a STRING, integer, BOOLEAN or DATE column"));
        }
        let mut prefix = String::new();
        escape(name, &mut prefix);
        prefix.push('=');
        Ok(PartitionColumn { prefix, index, data_type: data_type.clone() })
    }
}

/// Rows of one partition.
pub(super) struct PartitionRows {
    /// The directory below the table's, empty when the table has no partitions.
    pub(super) directory: String,
    pub(super) rows: RecordBatch,
}

/// Splits a batch by partition; the rows of each keep their order.
pub(super) fn split(columns: &[PartitionColumn], default_name: &str, rows: &RecordBatch) -> Result<Vec<PartitionRows>> {
    if columns.is_empty() {
        return Ok(vec![PartitionRows { directory: String::new(), rows: rows.clone() }]);
    }
    let mut groups: Vec<(String, Vec<u32>)> = Vec::new();
    let mut group_of: HashMap<String, usize> = HashMap::new();
    let mut current = 0;
    let mut directory = String::new();
    for row in 0..rows.num_rows() {
        directory.clear();
        for (ordinal, column) in columns.iter().enumerate() {
            if ordinal > 0 {
                directory.push('/');
            }
            directory.push_str(&column.prefix);
            write_value(rows.column(column.index), &column.data_type, row, default_name, &mut directory)?;
        }
        // Rows of one partition mostly come together.
        if groups.get(current).is_none_or(|(name, _)| *name != directory) {
            current = match group_of.get(&directory) {
                Some(group) => *group,
                None => {
                    group_of.insert(directory.clone(), groups.len());
                    groups.push((directory.clone(), Vec::new()));
                    groups.len() - 1
                }
            };
        }
        if let Some((_, indices)) = groups.get_mut(current) {
            indices.push(u32::try_from(row).map_err(|_| Error::internal("a batch of 2^32 rows"))?);
        }
    }
    let is_single = groups.len() == 1;
    let mut parts = Vec::with_capacity(groups.len());
    for (directory, indices) in groups {
        let rows = if is_single {
            rows.clone()
        } else {
            arrow_select::take::take_record_batch(rows, &UInt32Array::from(indices))?
        };
        parts.push(PartitionRows { directory, rows });
    }
    Ok(parts)
}

fn write_value(
    array: &dyn Array,
    data_type: &DataType,
    row: usize,
    default_name: &str,
    out: &mut String,
) -> Result<()> {
    if array.is_null(row) {
        out.push_str(default_name);
        return Ok(());
    }
    let mut integer = itoa::Buffer::new();
    match &data_type.kind {
        TypeKind::Boolean => out.push_str(if array.as_boolean().value(row) { "true" } else { "false" }),
        TypeKind::TinyInt => out.push_str(integer.format(array.as_primitive::<at::Int8Type>().value(row))),
        TypeKind::SmallInt => out.push_str(integer.format(array.as_primitive::<at::Int16Type>().value(row))),
        TypeKind::Int => out.push_str(integer.format(array.as_primitive::<at::Int32Type>().value(row))),
        TypeKind::BigInt => out.push_str(integer.format(array.as_primitive::<at::Int64Type>().value(row))),
        TypeKind::Date => write_iso_date(array.as_primitive::<at::Date32Type>().value(row), out),
        TypeKind::Char(_) | TypeKind::VarChar(_) => {
            let text = array.as_string::<i32>().value(row);
            if text.trim().is_empty() {
                out.push_str(default_name);
            } else {
                escape(text, out);
            }
        }
        other => return Err(Error::internal(format!("a partition column of type {other}"))),
    }
    Ok(())
}

/// Writes a name with the characters escaped that Hive escapes, as `%` and two hexadecimal digits.
fn escape(name: &str, out: &mut String) {
    for c in name.chars() {
        let is_special = matches!(
            c,
            '"' | '#' | '%' | '\'' | '*' | '/' | ':' | '=' | '?' | '\\' | '{' | '[' | ']' | '^' | '\u{0}'
                ..='\u{1F}' | '\u{7F}'
        );
        if is_special {
            write!(out, "%{:02X}", u32::from(c)).expect("a String takes everything");
        } else {
            out.push(c);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use wiesel_core::types::{Field, Schema};
    use wiesel_core::{Value, value};

    use super::*;

    #[test]
    fn rows_are_split_by_escaped_partition_values() {
        let types = [DataType::string(), DataType::bigint(), DataType::new(TypeKind::Date)];
        let day = [Value::Date(0), Value::Date(0), Value::Null, Value::Date(0), Value::Date(0)];
        let text = ["a/b", "  ", "x", "a/b", "ü=?"].map(|s| Value::String(s.to_owned()));
        let hour = [7, 8, 9, 7, 7].map(Value::Int);
        let columns = [&text[..], &hour, &day].iter().zip(&types).map(|(v, t)| value::column(&t.kind, v)).collect();
        let fields = ["dt", "hour", "day"].iter().zip(&types).map(|(n, t)| Field::new(*n, t.clone())).collect();
        let rows = RecordBatch::try_new(Arc::clone(Schema::new(fields).arrow()), columns).unwrap();
        let partition: Vec<_> = ["dt", "hour", "day"]
            .iter()
            .enumerate()
            .map(|(i, n)| PartitionColumn::new(n, i, &types[i], "t").unwrap())
            .collect();
        let parts = split(&partition, "__DEFAULT_PARTITION__", &rows).unwrap();
        let found: Vec<(String, usize)> = parts.iter().map(|p| (p.directory.clone(), p.rows.num_rows())).collect();
        let expected = [
            ("dt=a%2Fb/hour=7/day=1970-01-01", 2),
            ("dt=__DEFAULT_PARTITION__/hour=8/day=1970-01-01", 1),
            ("dt=x/hour=9/day=__DEFAULT_PARTITION__", 1),
            ("dt=ü%3D%3F/hour=7/day=1970-01-01", 1),
        ];
        assert_eq!(found, expected.map(|(d, n)| (d.to_owned(), n)));
        assert!(PartitionColumn::new("d", 0, &DataType::double(), "t").is_err());
    }
}
