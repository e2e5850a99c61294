//! UNNEST: every row once per element of a collection, the element's columns behind it.
//!
//! | collection | columns of an element |
//! |---|---|
//! | ARRAY of ROW | the fields |
//! | ARRAY of anything else | the element |
//! | MAP | key, value |
//! | MULTISET | the element, as often as it stands in it |
//!
//! WITH ORDINALITY numbers what one collection gives, from 1, in a column behind them.
//!
//! - **Input**: any changelog. **Output**: the input's columns and the element's; kinds stay as they are. A row whose collection is NULL or
//!   empty gives nothing, or with LEFT JOIN itself with NULLs.
//! - **State**: none, nothing is held back, and no row is late here.
//! - **Cost per row**: a copy per element.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int32Type;
use arrow_array::{Array, ArrayRef, Int32Array, RecordBatch, UInt32Array};
use arrow_select::take::take;
use wiesel_core::{ChangeBatch, Error, Result, RowKind, Schema, TypeKind};
use wiesel_expr::EvalContext;
use wiesel_plan::UnnestNode;

use super::ROWS_PER_BATCH;
use crate::operator::{Output, Stateless};

/// See the module's head.
pub struct Unnest {
    column: usize,
    is_left: bool,
    with_ordinality: bool,
    shape: Shape,
    schema: Schema,
    rows: Vec<u32>,
    /// Which element of the collections' values, `None` for a row that stays without one.
    elements: Vec<Option<u32>>,
    /// The number of each element within its row, when it is asked for.
    ordinals: Vec<Option<i32>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Array,
    ArrayOfRows,
    Map,
    Multiset,
}

impl Unnest {
    /// Builds the operator of a node that gives `schema`.
    pub fn new(node: &UnnestNode, input: &Schema, schema: &Schema) -> Result<Self> {
        let data_type = input.fields().get(node.column).map(|f| &f.data_type.kind);
        let (shape, width) = match data_type {
            Some(TypeKind::Array(element)) => match &element.kind {
                TypeKind::Row(fields) => (Shape::ArrayOfRows, fields.len()),
                _ => (Shape::Array, 1),
            },
            Some(TypeKind::Map(..)) => (Shape::Map, 2),
            Some(TypeKind::Multiset(_)) => (Shape::Multiset, 1),
            _ => return Err(Error::internal("UNNEST of a column that is no collection")),
        };
        if schema.len() != input.len() + width + usize::from(node.with_ordinality) || node.input_width != input.len() {
            return Err(Error::internal("UNNEST gives other columns than its input's and its elements'"));
        }
        Ok(Unnest {
            column: node.column,
            is_left: node.is_left,
            with_ordinality: node.with_ordinality,
            shape,
            schema: schema.clone(),
            rows: Vec::new(),
            elements: Vec::new(),
            ordinals: Vec::new(),
        })
    }

    /// Lists the elements of all rows; gives the arrays they stand in.
    fn list(&mut self, collections: &ArrayRef) -> Vec<ArrayRef> {
        self.rows.clear();
        self.elements.clear();
        self.ordinals.clear();
        let (offsets, arrays): (Vec<i32>, Vec<ArrayRef>) = match self.shape {
            Shape::Array => {
                let lists = collections.as_list::<i32>();
                (lists.value_offsets().to_vec(), vec![lists.values().clone()])
            }
            Shape::ArrayOfRows => {
                let lists = collections.as_list::<i32>();
                let fields = lists.values().as_struct();
                let columns = fields.columns().iter().map(|column| with_nulls_of(fields, column)).collect();
                (lists.value_offsets().to_vec(), columns)
            }
            Shape::Map | Shape::Multiset => {
                let maps = collections.as_map();
                (maps.value_offsets().to_vec(), vec![maps.keys().clone(), maps.values().clone()])
            }
        };
        let counts = match (self.shape, arrays.get(1)) {
            (Shape::Multiset, Some(counts)) => counts.as_primitive_opt::<Int32Type>().cloned(),
            _ => None,
        };
        for (row, bounds) in (0_u32..).zip(offsets.windows(2)) {
            let before = self.rows.len();
            if !collections.is_null(row as usize)
                && let [from, to] = bounds
            {
                for element in *from..*to {
                    let element = element.cast_unsigned();
                    let times =
                        counts.as_ref().map_or(1, |counts| counts.value(element as usize).max(0).cast_unsigned());
                    for _ in 0..times {
                        self.rows.push(row);
                        self.elements.push(Some(element));
                    }
                }
            }
            if self.is_left && self.rows.len() == before {
                self.rows.push(row);
                self.elements.push(None);
            }
            if self.with_ordinality {
                let elements = self.elements[before..].iter();
                self.ordinals.extend((1..).zip(elements).map(|(number, element)| element.map(|_| number)));
            }
        }
        arrays
    }
}

/// A field of rows, NULL where the row itself is.
fn with_nulls_of(rows: &arrow_array::StructArray, column: &ArrayRef) -> ArrayRef {
    if rows.null_count() == 0 {
        return column.clone();
    }
    let picks: UInt32Array = (0_u32..).take(rows.len()).map(|i| (!rows.is_null(i as usize)).then_some(i)).collect();
    take(column, &picks, None).unwrap_or_else(|_| column.clone())
}

impl Stateless for Unnest {
    const NO_STATE: &'static str = "a checkpoint holds state of UNNEST, which has none";

    fn take(&mut self, batch: ChangeBatch, _: &EvalContext, output: &mut Output) -> Result<()> {
        let arrays = self.list(batch.rows.column(self.column));
        let width = self.schema.len() - batch.rows.num_columns() - usize::from(self.with_ordinality);
        for start in (0..self.rows.len()).step_by(ROWS_PER_BATCH) {
            let end = (start + ROWS_PER_BATCH).min(self.rows.len());
            let rows = UInt32Array::from(self.rows[start..end].to_vec());
            let elements: UInt32Array = self.elements[start..end].iter().copied().collect();
            let mut columns: Vec<ArrayRef> =
                batch.rows.columns().iter().map(|column| take(column, &rows, None)).collect::<Result<_, _>>()?;
            for array in arrays.iter().take(width) {
                columns.push(take(array, &elements, None)?);
            }
            if self.with_ordinality {
                columns.push(Arc::new(self.ordinals[start..end].iter().copied().collect::<Int32Array>()));
            }
            let kinds: Option<Vec<RowKind>> = batch
                .kinds
                .as_ref()
                .map(|kinds| self.rows[start..end].iter().map(|row| kinds[*row as usize]).collect());
            let rows = RecordBatch::try_new(self.schema.arrow().clone(), columns)?;
            output.emit(ChangeBatch { rows, kinds: kinds.map(Into::into) });
        }
        Ok(())
    }

    fn buffer_bytes(&self) -> usize {
        self.rows.capacity() * size_of::<u32>()
            + self.elements.capacity() * size_of::<Option<u32>>()
            + self.ordinals.capacity() * size_of::<Option<i32>>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::Operator;
    use crate::operators::testing::{batch, changes, context, schema, show, string};
    use wiesel_core::{DataType, Value};

    #[test]
    fn a_row_comes_once_per_element_and_left_keeps_rows_without() {
        let input = schema(&[string(), TypeKind::Array(Box::new(DataType::new(TypeKind::BigInt)))]);
        let mut fields = input.fields().to_vec();
        fields.push(wiesel_core::Field::new("x", DataType::new(TypeKind::BigInt)));
        let output_schema = Schema::new(fields);
        let rows = [
            (RowKind::Insert, vec![Value::String("a".into()), Value::Array(vec![Value::Int(1), Value::Null])]),
            (RowKind::Insert, vec![Value::String("b".into()), Value::Array(Vec::new())]),
            (RowKind::Delete, vec![Value::String("c".into()), Value::Null]),
            (RowKind::Delete, vec![Value::String("d".into()), Value::Array(vec![Value::Int(7)])]),
        ];
        for (is_left, expected) in [
            (false, &["+I a 1", "+I a NULL", "-D d 7"][..]),
            (true, &["+I a 1", "+I a NULL", "+I b NULL", "-D c NULL", "-D d 7"][..]),
        ] {
            let node = UnnestNode { column: 1, is_left, with_ordinality: false, input_width: 2 };
            let mut operator = Unnest::new(&node, &input, &output_schema).unwrap();
            let mut output = Output::default();
            operator.process(0, batch(&input, &rows), &context(0), &mut output).unwrap();
            let told: Vec<(RowKind, Vec<Value>)> = changes(&output_schema, &output)
                .into_iter()
                .map(|(kind, row)| (kind, vec![row[0].clone(), row[2].clone()]))
                .collect();
            assert_eq!(show(&told), expected);
        }
    }
}
