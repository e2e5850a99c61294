//! LISTAGG, ARRAY_AGG, COLLECT, JSON_ARRAYAGG and JSON_OBJECTAGG: aggregates whose result holds every value of the group.
//!
//! All of them keep what FIRST_VALUE over retracting input keeps, the values in the order they came, one entry per value ([`ArrivalHistory`]);
//! they differ only in how the result is put together out of the encoded values. So a row costs one entry in state and in a checkpoint,
//! however long the list is; only the result is as long as the list. A retraction takes the earliest equal value, as Flink does. With
//! DISTINCT the list shows the first of several equal values, and a retraction takes the latest, so that the first keeps its place.
//!
//! | aggregate | a value in state | NULLs | result of no value |
//! |---|---|---|---|
//! | LISTAGG(x [, separator]) | x, and the separator that came with it | left out | NULL |
//! | ARRAY_AGG(x) | x | kept, left out with IGNORE NULLS | NULL |
//! | COLLECT(x) | x | left out | an empty multiset |
//! | JSON_ARRAYAGG(x) | x as JSON text | left out, `null` with NULL ON NULL | `[]` |
//! | JSON_OBJECTAGG(KEY k VALUE x) | k and x as JSON text | `null`, left out with ABSENT ON NULL | `{}` |

use std::collections::{BTreeMap, BTreeSet};

use wiesel_core::DataType;
use wiesel_expr::AggregateFunction;

use super::fold::{Fold, Order};
use super::history::{ArrivalHistory, History, Taken};
use super::values::{Input, Values};
use crate::state::codec::{Reader, order_i32};

/// How the result is put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    ListAgg,
    Array,
    Multiset,
    JsonArray,
    JsonObject { absent_on_null: bool },
}

/// An aggregate over all values of a group.
#[derive(Debug)]
pub(crate) struct List {
    history: ArrivalHistory,
    form: Form,
    /// The type of the first argument, where a value in state is several fields.
    first: DataType,
    is_distinct: bool,
}

impl List {
    /// The accumulator of a list aggregate; `None` for another function.
    pub(crate) fn new(function: AggregateFunction, first: &DataType, is_distinct: bool) -> Option<Self> {
        let form = match function {
            AggregateFunction::ListAgg => Form::ListAgg,
            AggregateFunction::ArrayAgg { .. } => Form::Array,
            AggregateFunction::Collect => Form::Multiset,
            AggregateFunction::JsonArrayAgg { .. } => Form::JsonArray,
            AggregateFunction::JsonObjectAgg { absent_on_null } => Form::JsonObject { absent_on_null },
            _ => return None,
        };
        let taken = if is_distinct { Taken::Latest } else { Taken::Earliest };
        Some(List { history: ArrivalHistory::taking(Order::First, taken), form, first: first.clone(), is_distinct })
    }

    /// The values of a slot as the result shows them.
    fn shown(&self, slot: usize) -> Vec<&[u8]> {
        let mut values = self.history.values(slot);
        if self.is_distinct {
            let mut seen = BTreeSet::new();
            values.retain(|value| seen.insert(*value));
        }
        values
    }

    /// The first field of a value, and what stands behind it.
    fn split<'a>(&self, value: &'a [u8]) -> (&'a [u8], &'a [u8]) {
        let mut reader = Reader::new(value);
        match reader.skip(&self.first) {
            Ok(()) => value.split_at(value.len() - reader.rest().len()),
            Err(_) => (value, &[]),
        }
    }
}

/// The text inside a text field: escaped, without marker and end. Escaped text can be joined as it is.
fn inner(field: &[u8]) -> &[u8] {
    field.get(1..field.len().saturating_sub(2)).unwrap_or_default()
}

const PRESENT: u8 = 1;
const END: u8 = 0;
const TEXT_END: [u8; 2] = [0, 0];

fn is_null(field: &[u8]) -> bool {
    field.first() != Some(&PRESENT)
}

fn joined(list: &List, values: &[&[u8]], out: &mut Vec<u8>) {
    out.push(PRESENT);
    // As in Flink, the separator that came last joins all values.
    let separator = values.last().map_or(&[][..], |value| list.split(value).1);
    let separator = if separator.is_empty() { b"," } else { inner(separator) };
    for (index, value) in values.iter().enumerate() {
        if index > 0 {
            out.extend_from_slice(separator);
        }
        out.extend_from_slice(inner(list.split(value).0));
    }
    out.extend(TEXT_END);
}

fn multiset(values: &[&[u8]], out: &mut Vec<u8>) {
    let mut counts: BTreeMap<&[u8], i32> = BTreeMap::new();
    for value in values {
        *counts.entry(value).or_default() += 1;
    }
    out.push(PRESENT);
    for value in values {
        // Every value once, in the order of the first ones.
        if let Some(count) = counts.remove(value) {
            out.push(PRESENT);
            out.extend_from_slice(value);
            out.push(PRESENT);
            out.extend(order_i32(count));
        }
    }
    out.push(END);
}

fn json_array(values: &[&[u8]], out: &mut Vec<u8>) {
    out.extend([PRESENT, b'[']);
    for (index, value) in values.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(if is_null(value) { b"null" } else { inner(value) });
    }
    out.push(b']');
    out.extend(TEXT_END);
}

fn json_object(list: &List, values: &[&[u8]], absent_on_null: bool, out: &mut Vec<u8>) {
    // A later value of a key replaces the earlier one at its place.
    let mut members: Vec<(&[u8], &[u8])> = Vec::with_capacity(values.len());
    let mut places: BTreeMap<&[u8], usize> = BTreeMap::new();
    for value in values {
        let (key, content) = list.split(value);
        match places.get(key).and_then(|place| members.get_mut(*place)) {
            Some(member) => member.1 = content,
            None => {
                places.insert(key, members.len());
                members.push((key, content));
            }
        }
    }
    out.extend([PRESENT, b'{']);
    let mut is_first = true;
    for (key, content) in members {
        if is_null(content) && absent_on_null {
            continue;
        }
        if !is_first {
            out.push(b',');
        }
        is_first = false;
        out.extend_from_slice(inner(key));
        out.push(b':');
        out.extend_from_slice(if is_null(content) { b"null" } else { inner(content) });
    }
    out.push(b'}');
    out.extend(TEXT_END);
}

impl Fold for List {
    type In = [u8];
    fn value(input: &Input, row: usize) -> &[u8] {
        input.bytes.key(row)
    }
    fn grow(&mut self, slots: usize) {
        self.history.grow(slots);
    }
    fn reset(&mut self, slot: usize) {
        self.history.reset(slot);
    }
    fn add(&mut self, slot: usize, value: &[u8], sequence: u64) {
        self.history.add(slot, value, sequence);
    }
    fn retract(&mut self, slot: usize, value: &[u8]) {
        self.history.retract(slot, value);
    }
    fn push(&self, slot: usize, out: &mut Values) {
        let values = self.shown(slot);
        if values.is_empty() && matches!(self.form, Form::ListAgg | Form::Array) {
            out.push_null();
            return;
        }
        let mut field = Vec::with_capacity(values.iter().map(|value| value.len() + 2).sum::<usize>() + 4);
        match self.form {
            Form::ListAgg => joined(self, &values, &mut field),
            Form::Array => {
                field.push(PRESENT);
                for value in &values {
                    field.push(PRESENT);
                    field.extend_from_slice(value);
                }
                field.push(END);
            }
            Form::Multiset => multiset(&values, &mut field),
            Form::JsonArray => json_array(&values, &mut field),
            Form::JsonObject { absent_on_null } => json_object(self, &values, absent_on_null, &mut field),
        }
        out.push_bytes(&field);
    }
    fn merge(&mut self, slot: usize, other: &Self, other_slot: usize) {
        self.history.merge(slot, &other.history, other_slot);
    }
    fn encode(&self, _: usize, _: &mut Vec<u8>) {}
    fn decode(&mut self, _: usize, _: &mut Reader<'_>) -> wiesel_core::Result<u64> {
        Ok(0)
    }
    fn bytes(&self) -> usize {
        self.history.bytes()
    }
    fn history(&mut self) -> Option<&mut dyn History> {
        self.history.history()
    }
}
