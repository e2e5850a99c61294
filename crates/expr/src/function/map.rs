//! MAP_KEYS, MAP_VALUES, and STR_TO_MAP, which reads a map out of text.

use std::sync::Arc;

use arrow_array::builder::StringBuilder;
use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, ListArray, MapArray, StructArray};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use arrow_schema::DataType as ArrowType;
use wiesel_core::{DataType, Error, Result, TypeKind};

use crate::eval::EvalContext;
use crate::function::binding::{Param, accept, nullable, strict, takes, types_of};
use crate::function::define::{Compiling, Plain};
use crate::function::regexp::Patterns;
use crate::function::regexp_matcher::Matcher;
use crate::function::{Argument, FunctionError, Operand, PreparedCall, Signature};

/// Which half of the entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Half {
    Keys,
    Values,
}

fn bind_half(args: &[Argument<'_>], half: Half, usage: &str) -> std::result::Result<Signature, FunctionError> {
    match args {
        [map] => match &map.data_type.kind {
            TypeKind::Map(key, value) => {
                let element = if half == Half::Keys { key } else { value };
                Ok(strict(types_of(args), TypeKind::Array(element.clone())))
            }
            _ => Err(takes(usage)),
        },
        _ => Err(takes(usage)),
    }
}

fn half_of(operand: &Operand, call: &Signature, rows: usize, half: Half) -> Result<ArrayRef> {
    let ArrowType::List(field) = call.returns.to_arrow() else {
        return Err(Error::internal("an ARRAY is not a list"));
    };
    let column = operand.clone().into_column(rows)?;
    let map = column.as_map();
    let items = if half == Half::Keys { map.keys() } else { map.values() };
    Ok(Arc::new(ListArray::try_new(field, map.offsets().clone(), Arc::clone(items), map.nulls().cloned())?))
}

pub(crate) static MAP_KEYS: Plain = Plain::new(
    "MAP_KEYS",
    "MAP_KEYS(map): the keys as an array",
    |args| bind_half(args, Half::Keys, "MAP_KEYS takes (MAP)"),
    |args, call, rows, _| half_of(&args[0], call, rows, Half::Keys),
)
.total();

pub(crate) static MAP_VALUES: Plain = Plain::new(
    "MAP_VALUES",
    "MAP_VALUES(map): the values as an array, in the order of MAP_KEYS",
    |args| bind_half(args, Half::Values, "MAP_VALUES takes (MAP)"),
    |args, call, rows, _| half_of(&args[0], call, rows, Half::Values),
)
.total();

pub(crate) static STR_TO_MAP: Compiling = Compiling::new(
    "STR_TO_MAP",
    "STR_TO_MAP(string [, pattern between pairs, pattern between key and value]): a map of texts; the patterns are `,` and `=` by default",
    |args| {
        let usage = "STR_TO_MAP takes (STRING) or (STRING, STRING, STRING)";
        let types = accept(args, &[Param::Text; 3], 1, usage)?;
        if types.len() == 2 {
            return Err(takes(usage));
        }
        Ok(nullable(types, TypeKind::Map(Box::new(DataType::string()), Box::new(DataType::string()))))
    },
    || Box::<StrToMap>::default(),
);

#[derive(Debug, Default)]
struct StrToMap {
    pairs: Patterns,
    sides: Patterns,
}

impl PreparedCall for StrToMap {
    fn eval(&mut self, args: &[Operand], call: &Signature, rows: usize, _: &EvalContext) -> Result<ArrayRef> {
        let ArrowType::Map(entry_field, sorted) = call.returns.to_arrow() else {
            return Err(Error::internal("a MAP is not a map"));
        };
        let ArrowType::Struct(fields) = entry_field.data_type().clone() else {
            return Err(Error::internal("a MAP's entries are not a struct"));
        };
        let texts = args[0].strings();
        let (between_pairs, between_sides) = (args.get(1).map(Operand::strings), args.get(2).map(Operand::strings));
        let mut entries: Vec<(&str, Option<&str>)> = Vec::new();
        let mut lengths = Vec::with_capacity(rows);
        let mut valid = Vec::with_capacity(rows);
        let (mut keys, mut values) = (StringBuilder::new(), StringBuilder::new());
        let mut byte_count = 0_usize;
        for row in 0..rows {
            let pair_pattern = between_pairs.map_or(Some(","), |p| p.get(row));
            let side_pattern = between_sides.map_or(Some("="), |p| p.get(row));
            let (Some(text), Some(pair_pattern), Some(side_pattern)) = (texts.get(row), pair_pattern, side_pattern)
            else {
                lengths.push(0);
                valid.push(false);
                continue;
            };
            byte_count = byte_count.saturating_add(text.len());
            if i32::try_from(byte_count).is_err() {
                return Err(Error::data("the texts that STR_TO_MAP reads in one batch exceed 2 GiB"));
            }
            read_entries(
                text,
                delimiter(&mut self.pairs, pair_pattern)?,
                delimiter(&mut self.sides, side_pattern)?,
                &mut entries,
            )?;
            for (key, value) in &entries {
                keys.append_value(key);
                values.append_option(*value);
            }
            lengths.push(entries.len());
            valid.push(true);
        }
        let entries = StructArray::try_new(fields, vec![Arc::new(keys.finish()), Arc::new(values.finish())], None)?;
        let offsets = OffsetBuffer::from_lengths(lengths);
        Ok(Arc::new(MapArray::try_new(entry_field, offsets, entries, Some(NullBuffer::from(valid)), sorted)?))
    }
}

fn delimiter<'a>(patterns: &'a mut Patterns, pattern: &str) -> Result<&'a Matcher> {
    patterns
        .get(pattern)?
        .ok_or_else(|| Error::data(format!("STR_TO_MAP expects patterns as delimiters, and `{pattern}` is not one")))
}

/// Reads `key=value` pairs as Java splits them: empty pieces at the end are dropped, a piece without `=` is a key of NULL, and of
/// several pairs of one key the last one counts.
fn read_entries<'a>(
    text: &'a str,
    pairs: &Matcher,
    sides: &Matcher,
    entries: &mut Vec<(&'a str, Option<&'a str>)>,
) -> Result<()> {
    entries.clear();
    // A match of no length at the begin does not split.
    let mut pieces = Vec::new();
    let mut start = 0;
    pairs.each(text, |from, to| {
        if to > 0 {
            pieces.push(&text[start..from]);
            start = to;
        }
    })?;
    pieces.push(&text[start..]);
    while pieces.last().is_some_and(|piece| piece.is_empty()) {
        pieces.pop();
    }
    for piece in pieces {
        let mut border = None;
        sides.each(piece, |from, to| {
            if to > 0 && border.is_none() {
                border = Some((from, to));
            }
        })?;
        entries.push(match border {
            Some((from, to)) => (&piece[..from], Some(&piece[to..])),
            None => (piece, None),
        });
    }
    keep_last(entries);
    Ok(())
}

/// Drops every entry that a later one of the same key follows. Sorting keeps long maps cheap.
fn keep_last(entries: &mut Vec<(&str, Option<&str>)>) {
    entries.reverse();
    entries.sort_by(|a, b| a.0.cmp(b.0));
    entries.dedup_by(|later, first| later.0 == first.0);
}

#[cfg(test)]
mod tests {
    use crate::function::testing::{check, map, null, null_s, s};

    #[test]
    fn maps_are_taken_apart() {
        let two = map(&[("a", Some("x")), ("b", None)]);
        check(&[
            ("MAP_KEYS", vec![two.clone()], "[a, b]"),
            ("MAP_VALUES", vec![two.clone()], "[x, NULL]"),
            ("MAP_KEYS", vec![map(&[])], "[]"),
            ("MAP_KEYS", vec![null(two.0.clone())], "NULL"),
            ("MAP_VALUES", vec![null(two.0)], "NULL"),
            ("MAP_KEYS", vec![s("a")], "bind: MAP_KEYS takes (MAP)"),
        ]);
    }

    #[test]
    fn maps_are_read_out_of_text() {
        check(&[
            ("STR_TO_MAP", vec![s("a=1,b=2,c,d=,=e,a=9,f=g=h")], "{=e, a=9, b=2, c=NULL, d=, f=g=h}"),
            ("STR_TO_MAP", vec![s("a:1;b:2"), s(";"), s(":")], "{a=1, b=2}"),
            ("STR_TO_MAP", vec![s("a1b"), s("[0-9]"), s("=")], "{a=NULL, b=NULL}"),
            ("STR_TO_MAP", vec![s("a,,b")], "{=NULL, a=NULL, b=NULL}"),
            ("STR_TO_MAP", vec![s("k1=v1,")], "{k1=v1}"),
            ("STR_TO_MAP", vec![s("a.b"), s("."), s("=")], "{}"),
            ("STR_TO_MAP", vec![s(",")], "{}"),
            ("STR_TO_MAP", vec![s("")], "{}"),
            ("STR_TO_MAP", vec![null_s()], "NULL"),
            ("STR_TO_MAP", vec![s("a=1"), null_s(), s("=")], "NULL"),
            (
                "STR_TO_MAP",
                vec![s("a=1"), s("("), s("=")],
                "error: STR_TO_MAP expects patterns as delimiters, and `(` is not one",
            ),
        ]);
    }
}
