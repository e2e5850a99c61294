//! Lookup join: each row asks an external table for the rows of its key, at processing time.
//!
//! - **Input**: any changelog, its kinds pass on. **Output**: the input's columns, then those of the table.
//! - **State**: none. What the table said is remembered, if at all, by the connector (its `lookup.cache` options), and never in a checkpoint.
//! - **Emits** at the step's end, in order of arrival, so that all rows of the step ask in one round trip. **Watermark**: passes.
//! - **Late rows** are rows like others.
//! - **Cost per row**: one key encoding and one hash probe; the round trip is shared by the step's distinct keys.
//!
//! A key with a NULL matches nothing and is not asked for. An answer that does not come fails the job, after the connector's own retries.

use arrow_array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow_select::concat::concat_batches;
use arrow_select::take::take;
use wiesel_core::lookup::Lookup;
use wiesel_core::{ChangeBatch, DataType, Error, Field, Result, RowKind, Schema};
use wiesel_expr::EvalContext;
use wiesel_plan::JoinKind;
use wiesel_plan::join::{LookupJoinNode, LookupKeySource};

use super::ROWS_PER_BATCH;
use super::join::{PADDED, PairCondition, take_padded};
use super::lookup_retry::RetryingLookup;
use crate::operator::{Output, Stateless};
use crate::state::codec::{KeyBuffer, encode_keys};
use crate::state::group_table::GroupTable;
use crate::state::vnode::hash_key;

/// See the module's head.
pub struct LookupJoin {
    kind: JoinKind,
    keys: Vec<LookupKeySource>,
    key_schema: Schema,
    lookup: Box<dyn Lookup>,
    condition: Option<PairCondition>,
    types: Vec<DataType>,
    left_types: Vec<DataType>,
    schema: Schema,
    /// The step's rows.
    waiting: Vec<ChangeBatch>,
}

/// Which answers belong to which rows.
struct Partners {
    /// By row, and one more: where its pairs begin.
    offsets: Vec<usize>,
    rows: Vec<u32>,
    found: Vec<u32>,
}

impl LookupJoin {
    /// Builds the operator of a node that gives `schema`.
    pub fn new(node: &LookupJoinNode, lookup: Box<dyn Lookup>, input: &Schema, schema: &Schema) -> Result<Self> {
        let field_of = |column: &usize| {
            let column = node.table.columns.get(*column);
            column
                .map(|c| Field::new(c.name.clone(), c.data_type.clone()))
                .ok_or_else(|| Error::internal("a lookup join asks for a column that its table does not have"))
        };
        let key_fields = node.keys.iter().map(|key| field_of(&key.column)).collect::<Result<Vec<_>>>()?;
        let fields = node.columns.iter().map(field_of).collect::<Result<Vec<_>>>()?;
        Ok(LookupJoin {
            kind: node.kind,
            keys: node.keys.iter().map(|key| key.source.clone()).collect(),
            key_schema: Schema::new(key_fields),
            lookup: match node.retry {
                Some(retry) => Box::new(RetryingLookup::new(lookup, retry)),
                None => lookup,
            },
            condition: node.condition.as_ref().map(|c| PairCondition::new(c, node.left_width)),
            types: fields.iter().map(|f| f.data_type.clone()).collect(),
            left_types: input.fields().iter().map(|f| f.data_type.clone()).collect(),
            schema: schema.clone(),
            waiting: Vec::new(),
        })
    }

    /// Asks for the keys of all rows, each once; for every row which answers are its own.
    fn ask(&mut self, rows: &RecordBatch, now_ms: i64) -> Result<(RecordBatch, Partners)> {
        let columns: Vec<ArrayRef> = self
            .keys
            .iter()
            .zip(self.key_schema.fields())
            .map(|(source, field)| match source {
                LookupKeySource::Column(index) => rows.column(*index).clone(),
                LookupKeySource::Constant(value) => value.to_array(&field.data_type, rows.num_rows()),
            })
            .collect();
        let mut encoded = KeyBuffer::default();
        encode_keys(&columns, rows.num_rows(), &mut encoded)?;
        let mut table = GroupTable::new(0);
        let mut first_rows: Vec<u32> = Vec::new();
        let mut slot_of_row: Vec<Option<u32>> = Vec::with_capacity(rows.num_rows());
        for (row, key) in encoded.iter().enumerate() {
            if columns.iter().any(|c| c.is_null(row)) {
                slot_of_row.push(None);
                continue;
            }
            let slot = table.slot(key, hash_key(key));
            if slot as usize == first_rows.len() {
                first_rows.push(u32::try_from(row).unwrap_or(u32::MAX));
            }
            slot_of_row.push(Some(slot));
        }
        let picks = UInt32Array::from(first_rows);
        let answers = if picks.is_empty() {
            None
        } else {
            let asked = columns.iter().map(|c| take(c, &picks, None)).collect::<Result<Vec<_>, _>>()?;
            let asked = RecordBatch::try_new(self.key_schema.arrow().clone(), asked)?;
            Some(self.lookup.lookup(&asked, now_ms)?)
        };
        let mut begins = vec![0_usize; picks.len() + 1];
        if let Some(answers) = &answers {
            if answers.key_index.len() != answers.rows.num_rows() || answers.rows.num_columns() != self.types.len() {
                return Err(Error::internal("a lookup gives rows without their keys, or other columns than asked for"));
            }
            for key in &answers.key_index {
                let end = begins.get_mut(*key as usize + 1);
                *end.ok_or_else(|| Error::internal("a lookup answers a key that was not asked"))? += 1;
            }
            for key in 1..begins.len() {
                begins[key] += begins[key - 1];
            }
        }
        let mut partners = Partners { offsets: vec![0], rows: Vec::new(), found: Vec::new() };
        for (row, slot) in slot_of_row.into_iter().enumerate() {
            if let Some(slot) = slot.map(|s| s as usize) {
                for found in begins[slot]..begins[slot + 1] {
                    partners.rows.push(u32::try_from(row).unwrap_or(u32::MAX));
                    partners.found.push(u32::try_from(found).unwrap_or(u32::MAX));
                }
            }
            partners.offsets.push(partners.rows.len());
        }
        let found = match answers {
            Some(answers) => answers.rows,
            None => {
                let empty = self.types.iter().map(|t| arrow_array::new_empty_array(&t.to_arrow())).collect();
                let fields = self.types.iter().map(|t| Field::new("", t.clone())).collect();
                let options = RecordBatchOptions::new().with_row_count(Some(0));
                RecordBatch::try_new_with_options(Schema::new(fields).arrow().clone(), empty, &options)?
            }
        };
        Ok((found, partners))
    }

    fn answer(&mut self, batch: &ChangeBatch, context: &EvalContext, output: &mut Output) -> Result<()> {
        let (found, partners) = self.ask(&batch.rows, context.now_ms)?;
        let meets = match &mut self.condition {
            None => None,
            Some(_) if partners.rows.is_empty() => None,
            Some(condition) => {
                let own = UInt32Array::from(partners.rows.clone());
                let other = UInt32Array::from(partners.found.clone());
                let column = |side: usize, column: usize| {
                    Ok(match side {
                        0 => take(batch.rows.column(column), &own, None)?,
                        _ => take(found.column(column), &other, None)?,
                    })
                };
                Some(condition.evaluate(column, partners.rows.len(), context)?)
            }
        };
        let (mut own, mut other, mut kinds): (Vec<u32>, Vec<u32>, Vec<RowKind>) = Default::default();
        for row in 0..batch.len() {
            let number = u32::try_from(row).unwrap_or(u32::MAX);
            let before = own.len();
            for pair in partners.offsets[row]..partners.offsets[row + 1] {
                if meets.as_ref().is_none_or(|m| m.value(pair)) {
                    own.push(number);
                    other.push(partners.found[pair]);
                }
            }
            if own.len() == before && self.kind == JoinKind::Left {
                own.push(number);
                other.push(PADDED);
            }
            kinds.resize(own.len(), batch.kind(row));
        }
        for start in (0..own.len()).step_by(ROWS_PER_BATCH) {
            let range = start..own.len().min(start + ROWS_PER_BATCH);
            let columns = [
                take_padded(batch.rows.columns(), &own[range.clone()], &self.left_types)?,
                take_padded(found.columns(), &other[range.clone()], &self.types)?,
            ]
            .concat();
            let options = RecordBatchOptions::new().with_row_count(Some(range.len()));
            let rows = RecordBatch::try_new_with_options(self.schema.arrow().clone(), columns, &options)?;
            output.emit(ChangeBatch::new(rows, kinds[range].to_vec()));
        }
        Ok(())
    }
}

impl Stateless for LookupJoin {
    const NO_STATE: &'static str = "a checkpoint holds state of a lookup join, which has none";

    fn take(&mut self, batch: ChangeBatch, _: &EvalContext, _: &mut Output) -> Result<()> {
        self.waiting.push(batch);
        Ok(())
    }

    fn end_step(&mut self, context: &EvalContext, output: &mut Output) -> Result<()> {
        let waiting = std::mem::take(&mut self.waiting);
        let Some(first) = waiting.first() else { return Ok(()) };
        let rows = concat_batches(first.rows.schema_ref(), waiting.iter().map(|b| &b.rows))?;
        let kinds = waiting.iter().flat_map(|b| (0..b.len()).map(|row| b.kind(row))).collect();
        self.answer(&ChangeBatch::new(rows, kinds), context, output)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::Operator;
    use crate::operators::testing::{Event, change, run, schema, show, string};
    use std::collections::BTreeMap;
    use std::sync::Arc;
    use wiesel_core::lookup::LookupRows;
    use wiesel_core::{TypeKind, Value};
    use wiesel_plan::join::LookupKey;

    /// `(key, name)` rows; panics when one key is asked twice at a time.
    struct Names(Vec<(i64, &'static str)>);

    impl Lookup for Names {
        fn lookup(&mut self, keys: &RecordBatch, _: i64) -> Result<LookupRows> {
            let data_type = DataType::new(TypeKind::BigInt);
            let mut asked = BTreeMap::new();
            let (mut ids, mut names, mut key_index) = (Vec::new(), Vec::new(), Vec::new());
            for row in 0..keys.num_rows() {
                let Value::Int(key) = Value::from_array(keys.column(0), &data_type, row) else {
                    panic!("a NULL is asked")
                };
                assert_eq!(asked.insert(key, row), None, "a key is asked twice");
                for (id, name) in self.0.iter().filter(|(id, _)| *id == key) {
                    ids.push(Value::Int(*id));
                    names.push(Value::String((*name).to_owned()));
                    key_index.push(u32::try_from(row).unwrap());
                }
            }
            let schema = schema(&[TypeKind::BigInt, string()]);
            let columns = vec![
                wiesel_core::value::column(&TypeKind::BigInt, &ids),
                wiesel_core::value::column(&string(), &names),
            ];
            Ok(LookupRows { rows: RecordBatch::try_new(schema.arrow().clone(), columns).unwrap(), key_index })
        }
    }

    fn node(kind: JoinKind) -> LookupJoinNode {
        let column = |name: &str, kind: TypeKind| wiesel_core::table::TableColumn {
            name: name.to_owned(),
            data_type: DataType::new(kind),
            kind: wiesel_core::table::ColumnKind::Physical,
        };
        LookupJoinNode {
            kind,
            left_width: 2,
            table: Arc::new(wiesel_core::table::TableDescriptor {
                name: "names".to_owned(),
                path: "names".to_owned(),
                columns: vec![column("id", TypeKind::BigInt), column("name", string())],
                primary_key: Vec::new(),
                partition_keys: Vec::new(),
                options: BTreeMap::new(),
                sink_settings: Default::default(),
            }),
            columns: vec![0, 1],
            keys: vec![LookupKey { column: 0, source: LookupKeySource::Column(0) }],
            condition: None,
            retry: None,
        }
    }

    #[test]
    fn rows_get_the_answers_of_their_key_and_keep_their_kind() {
        let input = schema(&[TypeKind::BigInt, string()]);
        let output = schema(&[TypeKind::BigInt, string(), TypeKind::BigInt, string()]);
        let rows = ["+I 1 a", "+I 2 b", "-U 1 c", "+I NULL d", "+I 9 e"];
        let rows: Vec<_> = rows.iter().map(|row| change(row)).collect();
        let cases: [(JoinKind, &[&str]); 2] = [
            (JoinKind::Inner, &["+I 1 a 1 x", "+I 1 a 1 y", "+I 2 b 2 z", "-U 1 c 1 x", "-U 1 c 1 y"]),
            (
                JoinKind::Left,
                &[
                    "+I 1 a 1 x",
                    "+I 1 a 1 y",
                    "+I 2 b 2 z",
                    "-U 1 c 1 x",
                    "-U 1 c 1 y",
                    "+I NULL d NULL NULL",
                    "+I 9 e NULL NULL",
                ],
            ),
        ];
        for (kind, expected) in cases {
            let new = || -> Box<dyn Operator> {
                let lookup = Box::new(Names(vec![(1, "x"), (1, "y"), (2, "z")]));
                Box::new(LookupJoin::new(&node(kind), lookup, &input, &output).unwrap())
            };
            // Two batches of one step ask together.
            let events = [Event::Rows(rows[..2].to_vec()), Event::Rows(rows[2..].to_vec()), Event::Advance(0, 0)];
            assert_eq!(show(&run(&new, &input, &output, 0, &events)), expected, "{kind:?}");
        }
    }
}
