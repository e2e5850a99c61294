//! JSON_STRING(value): the JSON form of a value. Members of objects stand in the order of their names; bytes become base64, timestamps
//! ISO-8601 text (those with a zone in UTC), and a DECIMAL loses its trailing zeros, so that 100 is `1E+2`, as in Flink.

use std::fmt::Write;

use arrow_array::cast::AsArray;
use arrow_array::types::Decimal128Type;
use arrow_array::{Array, ArrayRef};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use wiesel_core::{DataType, Error, Result, TypeKind};

use super::write_text;
use crate::cast::print::write_value;
use crate::eval::EvalContext;
use crate::function::binding::{strict, takes, types_of};
use crate::function::define::Plain;
use crate::function::{Operand, Signature};
use crate::operand::TextBuilder;
use crate::time::zone::Zone;

pub(crate) static JSON_STRING: Plain = Plain::new(
    "JSON_STRING",
    "JSON_STRING(value): the JSON form of the value",
    |args| {
        if args.len() != 1 || !has_json_form(&args[0].data_type.kind) {
            return Err(takes(
                "JSON_STRING takes one value of text, number, BOOLEAN, BYTES, TIMESTAMP, ARRAY, MAP or ROW; CAST dates, times and intervals to STRING",
            ));
        }
        Ok(strict(types_of(args), DataType::string().kind))
    },
    json_string,
);

fn has_json_form(kind: &TypeKind) -> bool {
    match kind {
        TypeKind::Null
        | TypeKind::Boolean
        | TypeKind::Binary(_)
        | TypeKind::VarBinary(_)
        | TypeKind::Timestamp(_)
        | TypeKind::TimestampLtz(_) => true,
        TypeKind::Array(element) => has_json_form(&element.kind),
        TypeKind::Map(key, value) => key.kind.is_string() && has_json_form(&value.kind),
        TypeKind::Multiset(element) => element.kind.is_string(),
        TypeKind::Row(fields) => fields.iter().all(|f| has_json_form(&f.data_type.kind)),
        kind => kind.is_string() || kind.is_numeric(),
    }
}

fn json_string(args: &[Operand], call: &Signature, rows: usize, _: &EvalContext) -> Result<ArrayRef> {
    let mut out = TextBuilder::new(rows, rows * 16);
    let mut scratch = String::new();
    for row in 0..rows {
        let index = row * args[0].step();
        if args[0].array().is_null(index) || call.args[0].kind == TypeKind::Null {
            out.null();
            continue;
        }
        write_json(args[0].array(), &call.args[0].kind, index, &mut out, &mut scratch)?;
        out.end();
    }
    out.finish()
}

fn write_json(
    array: &ArrayRef,
    kind: &TypeKind,
    row: usize,
    out: &mut TextBuilder,
    scratch: &mut String,
) -> Result<()> {
    if array.is_null(row) || *kind == TypeKind::Null {
        out.push_str("null");
        return Ok(());
    }
    match kind {
        TypeKind::Boolean => out.push_str(if array.as_boolean().value(row) { "true" } else { "false" }),
        TypeKind::Char(_) | TypeKind::VarChar(_) => write_text(array.as_string::<i32>().value(row), out),
        TypeKind::Binary(_) | TypeKind::VarBinary(_) => {
            write_text(&STANDARD.encode(array.as_binary::<i32>().value(row)), out);
        }
        TypeKind::Array(element) => {
            let items = array.as_list::<i32>().value(row);
            out.push('[');
            for index in 0..items.len() {
                if index > 0 {
                    out.push(',');
                }
                write_json(&items, &element.kind, index, out, scratch)?;
            }
            out.push(']');
        }
        TypeKind::Map(_, value) => write_entries(array, &value.kind, row, out, scratch)?,
        TypeKind::Multiset(_) => write_entries(array, &TypeKind::Int, row, out, scratch)?,
        TypeKind::Row(fields) => {
            let columns = array.as_struct().columns();
            let mut order: Vec<usize> = (0..fields.len()).collect();
            order.sort_by(|a, b| fields[*a].name.cmp(&fields[*b].name));
            out.push('{');
            for (nth, index) in order.into_iter().enumerate() {
                if nth > 0 {
                    out.push(',');
                }
                write_text(&fields[index].name, out);
                out.push(':');
                write_json(&columns[index], &fields[index].data_type.kind, row, out, scratch)?;
            }
            out.push('}');
        }
        TypeKind::Timestamp(_) | TypeKind::TimestampLtz(_) => {
            scratch.clear();
            write_value(scratch, array, kind, row, &Zone::utc())
                .map_err(|_| Error::internal("text of a timestamp could not be written"))?;
            write_iso(scratch, matches!(kind, TypeKind::TimestampLtz(_)), out);
        }
        TypeKind::Decimal { scale, .. } => {
            scratch.clear();
            write_stripped(scratch, array.as_primitive::<Decimal128Type>().value(row), *scale)
                .map_err(|_| Error::internal("text of a number could not be written"))?;
            out.push_str(scratch);
        }
        kind => {
            scratch.clear();
            write_value(scratch, array, kind, row, &Zone::utc())
                .map_err(|_| Error::internal("text of a value could not be written"))?;
            // Numbers that are none have no JSON form but their name.
            if scratch.starts_with(|c: char| c.is_ascii_digit() || c == '-') && !scratch.ends_with('y') {
                out.push_str(scratch);
            } else {
                write_text(scratch, out);
            }
        }
    }
    Ok(())
}

/// Writes `date time[.fraction]` as ISO-8601, without zeros at the end of the fraction.
fn write_iso(text: &str, is_instant: bool, out: &mut TextBuilder) {
    out.push('"');
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text };
    text.chars().for_each(|c| out.push(if c == ' ' { 'T' } else { c }));
    out.push_str(if is_instant { "Z\"" } else { "\"" });
}

/// Writes a DECIMAL as Java's BigDecimal does once its trailing zeros are gone: plain, or scientific for long runs of zeros.
fn write_stripped(out: &mut String, mut digits: i128, scale: u8) -> std::fmt::Result {
    let mut scale = i32::from(scale);
    if digits == 0 {
        return out.write_str("0");
    }
    while digits % 10 == 0 {
        digits /= 10;
        scale -= 1;
    }
    let sign = if digits < 0 { "-" } else { "" };
    let text = digits.unsigned_abs().to_string();
    let count = i32::try_from(text.len()).unwrap_or(i32::MAX);
    let exponent = count - 1 - scale;
    if scale < 0 || exponent < -6 {
        let (first, rest) = text.split_at(1);
        let point = if rest.is_empty() { "" } else { "." };
        return write!(out, "{sign}{first}{point}{rest}E{exponent:+}");
    }
    let point = usize::try_from(count - scale).unwrap_or(0);
    match text.split_at_checked(point) {
        _ if scale == 0 => write!(out, "{sign}{text}"),
        Some((whole, fraction)) if point > 0 => write!(out, "{sign}{whole}.{fraction}"),
        _ => write!(out, "{sign}0.{text:0>width$}", width = usize::try_from(scale).unwrap_or(0)),
    }
}

fn write_entries(
    array: &ArrayRef,
    value: &TypeKind,
    row: usize,
    out: &mut TextBuilder,
    scratch: &mut String,
) -> Result<()> {
    let entries = array.as_map().value(row);
    let keys = entries.column(0).as_string::<i32>();
    let mut order: Vec<usize> = (0..entries.len()).collect();
    order.sort_by(|a, b| keys.value(*a).cmp(keys.value(*b)));
    out.push('{');
    for (nth, index) in order.into_iter().enumerate() {
        if nth > 0 {
            out.push(',');
        }
        write_text(keys.value(index), out);
        out.push(':');
        write_json(entries.column(1), value, index, out, scratch)?;
    }
    out.push('}');
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::function::testing::{b, check, d, date, dec, i, ints, map, null_s, s, ts};

    #[test]
    fn values_become_json() {
        check(&[
            ("JSON_STRING", vec![s("a\"b\n")], r#""a\"b\n""#),
            ("JSON_STRING", vec![i(-1)], "-1"),
            ("JSON_STRING", vec![d(1.5)], "1.5"),
            ("JSON_STRING", vec![d(f64::NEG_INFINITY)], r#""-Infinity""#),
            ("JSON_STRING", vec![b(true)], "true"),
            ("JSON_STRING", vec![ints(&[Some(1), None])], "[1,null]"),
            ("JSON_STRING", vec![map(&[("b", Some("x")), ("a", None)])], r#"{"a":null,"b":"x"}"#),
            ("JSON_STRING", vec![null_s()], "NULL"),
            ("JSON_STRING", vec![ts("2024-02-29 12:34:56.780")], "\"2024-02-29T12:34:56.78\""),
            ("JSON_STRING", vec![ts("2024-01-01")], "\"2024-01-01T00:00:00\""),
            ("JSON_STRING", vec![dec(10050, 10, 2)], "100.5"),
            ("JSON_STRING", vec![dec(100, 10, 0)], "1E+2"),
            ("JSON_STRING", vec![dec(-12, 12, 9)], "-1.2E-8"),
            ("JSON_STRING", vec![dec(-12, 12, 4)], "-0.0012"),
            ("JSON_STRING", vec![dec(0, 12, 4)], "0"),
            (
                "JSON_STRING",
                vec![date("2024-01-01")],
                "bind: JSON_STRING takes one value of text, number, BOOLEAN, BYTES, TIMESTAMP, ARRAY, MAP or ROW; CAST dates, times and intervals to STRING",
            ),
        ]);
    }
}
