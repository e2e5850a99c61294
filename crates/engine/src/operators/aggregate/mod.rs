//! Aggregates over groups: what GROUP BY with and without windows have in common.
//!
//! ```text
//! batch -> prepare: argument columns in a shape, NULL and FILTER as one mask      once per batch
//!       -> assign:  key -> slot                                                    once per batch and window slice
//!       -> plan:    rows -> steps { row, slot, add or retract, first of its group }
//!       -> apply:   accumulator by accumulator, over all steps
//! ```
//! Accumulators are columns by slot, so a batch runs through one tight loop per aggregate, and no row allocates. Where the operator
//! must emit a change per row, `apply` notes the result before and after every step in a [`Trace`]; where it emits later, it collects
//! the results of the slots it touched.
//!
//! Every group counts its rows: with the first row it begins, with the last one taken back it ends. COUNT(*) is that number. Inside a window
//! a group ends with the window alone, and counts below zero when more is taken back than came, as in Flink.

mod fold;
mod history;
mod list;
mod values;
mod variance;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, RecordBatch};
use wiesel_core::{DataType, Error, Result, RowKinds, Schema, TypeKind};
use wiesel_expr::{AggregateCall, AggregateFunction};

use self::fold::{Arrival, Count, Extreme, Fields, Finish, Fold, Order, Plain, Sum};
pub(crate) use self::fold::{Cells, Fields as FieldCells};
use self::history::{ArrivalHistory, Entries, ExtremeHistory, History, HistoryPlace};
use self::list::List;
pub(crate) use self::values::Values;
use self::values::{Input, Shape};
use self::variance::{Integer, Moment, Six, Spread, Variance};
use super::sliced::Sliced;
use crate::operator::StateWriter;
pub(crate) use crate::state::codec::check_version;
use crate::state::codec::{
    KeyBuffer, Reader, STATE_VERSION, decode_column, encode_keys, order_i64, put_varint, split_key,
};
use crate::state::group_table::GroupTable;
use crate::state::store::{Loaded, StateStore};
use crate::state::vnode::{KeyHasher, hash_key, vnode_of_key};

/// The table of groups in a checkpoint; the history of aggregate `i` is table `i + 1`.
pub(crate) const GROUPS_TABLE: u8 = 0;

/// How many aggregates an operator may have: each has a state table of its own, and two numbers are kept for other uses.
const AGGREGATES_MAX: usize = 250;

/// What one row does to its group.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Step {
    pub(crate) row: u32,
    pub(crate) slot: u32,
    pub(crate) is_add: bool,
    /// The row begins its group: what the slot held before does not count.
    pub(crate) is_fresh: bool,
}

/// Results of one aggregate before and after every step.
#[derive(Debug)]
pub(crate) struct Trace {
    pub(crate) before: Values,
    pub(crate) after: Values,
}

/// The aggregates of an operator, checked, with the types they read.
#[derive(Debug, Clone)]
pub(crate) struct AggregateSpec {
    calls: Vec<AggregateCall>,
    arguments: Vec<Vec<DataType>>,
    key_types: Vec<DataType>,
    input_retracts: bool,
}

impl AggregateSpec {
    pub(crate) fn new(
        keys: &[usize],
        calls: &[AggregateCall],
        input: &Schema,
        input_retracts: bool,
    ) -> Result<AggregateSpec> {
        if calls.len() > AGGREGATES_MAX {
            return Err(Error::config(format!(
                "a GROUP BY has {} aggregates, more than {AGGREGATES_MAX} are not supported",
                calls.len()
            )));
        }
        let type_of = |column: usize| {
            input.fields().get(column).map(|f| f.data_type.clone()).ok_or_else(|| {
                Error::internal(format!("an aggregation reads column {column} of an input with {}", input.len()))
            })
        };
        let arguments =
            calls.iter().map(|c| c.args.iter().map(|a| type_of(*a)).collect()).collect::<Result<Vec<Vec<_>>>>()?;
        for (call, arguments) in calls.iter().zip(&arguments) {
            check_call(call, arguments)?;
            if let Some(filter) = call.filter
                && type_of(filter)?.kind != TypeKind::Boolean
            {
                return Err(Error::internal("the FILTER of an aggregate is not a BOOLEAN column"));
            }
        }
        let key_types = keys.iter().map(|k| type_of(*k)).collect::<Result<_>>()?;
        Ok(AggregateSpec { calls: calls.to_vec(), arguments, key_types, input_retracts })
    }

    pub(crate) fn key_types(&self) -> &[DataType] {
        &self.key_types
    }

    pub(crate) fn len(&self) -> usize {
        self.calls.len()
    }

    pub(crate) fn data_type(&self, aggregate: usize) -> &DataType {
        &self.calls[aggregate].data_type
    }

    /// Whether a COUNT(*) is among them: its result changes with every row.
    pub(crate) fn counts_rows(&self) -> bool {
        self.calls.iter().any(is_row_count)
    }

    /// Whether a group may hold one row at most.
    pub(crate) fn is_single(&self) -> bool {
        self.calls.iter().any(|call| call.function == AggregateFunction::SingleValue)
    }

    /// Empty result columns, one per aggregate.
    pub(crate) fn values(&self) -> Vec<Values> {
        self.calls.iter().map(|call| Values::new(result_shape(call, self.input_retracts))).collect()
    }

    pub(crate) fn traces(&self) -> Vec<Trace> {
        self.values().into_iter().zip(self.values()).map(|(before, after)| Trace { before, after }).collect()
    }

    /// Reads what the aggregates need of a batch, once for all slices it goes to.
    pub(crate) fn prepare(&self, batch: &RecordBatch, out: &mut Vec<Prepared>) -> Result<()> {
        out.resize_with(self.calls.len(), Prepared::default);
        for ((call, arguments), prepared) in self.calls.iter().zip(&self.arguments).zip(out) {
            prepared.load(call, arguments, self.input_retracts, batch)?;
        }
        Ok(())
    }
}

fn is_row_count(call: &AggregateCall) -> bool {
    call.function == AggregateFunction::CountStar && call.filter.is_none()
}

fn is_extreme(function: AggregateFunction) -> bool {
    matches!(function, AggregateFunction::Min | AggregateFunction::Max)
}

fn is_arrival(function: AggregateFunction) -> bool {
    matches!(function, AggregateFunction::FirstValue | AggregateFunction::LastValue)
}

// DISTINCT changes nothing in the smallest or largest value, and a list finds the equal values that it keeps itself.
fn is_distinct(call: &AggregateCall) -> bool {
    call.distinct && !is_extreme(call.function) && !call.function.is_list()
}

fn check_call(call: &AggregateCall, arguments: &[DataType]) -> Result<()> {
    let name = call.function.name();
    let takes = match call.function {
        AggregateFunction::CountStar => 0..=0,
        AggregateFunction::Count => 1..=usize::MAX,
        AggregateFunction::ListAgg => 1..=2,
        AggregateFunction::JsonObjectAgg { .. } => 2..=2,
        _ => 1..=1,
    };
    if !takes.contains(&arguments.len()) {
        return Err(Error::internal(format!("{name} with {} arguments", arguments.len())));
    }
    let adds = matches!(call.function, AggregateFunction::Sum | AggregateFunction::Avg) || call.function.is_variance();
    if let Some(argument) = arguments.first()
        && adds
        && !argument.kind.is_numeric()
    {
        return Err(Error::config(format!("{name} takes a number, not {argument}")));
    }
    if call.distinct && is_arrival(call.function) {
        return Err(Error::config(format!("{name} with DISTINCT is not supported")));
    }
    if is_extreme(call.function)
        && let Some(argument) = arguments.first()
        && matches!(argument.kind, TypeKind::Map(_, _) | TypeKind::Multiset(_))
    {
        return Err(Error::config(format!("{name} of {argument} is not supported: its values have no order")));
    }
    Ok(())
}

fn result_shape(call: &AggregateCall, input_retracts: bool) -> Shape {
    match call.function {
        AggregateFunction::CountStar | AggregateFunction::Count => Shape::I64,
        _ if has_history(call, input_retracts) => Shape::Bytes,
        _ => Shape::of(&call.data_type.kind),
    }
}

/// What one aggregate reads of a batch.
#[derive(Debug, Default)]
pub(crate) struct Prepared {
    input: Input,
    /// The arguments as one key, for DISTINCT.
    distinct: KeyBuffer,
    /// Rows that count: no argument NULL, FILTER true. `None` when all do.
    mask: Option<Vec<bool>>,
}

impl Prepared {
    fn load(
        &mut self,
        call: &AggregateCall,
        arguments: &[DataType],
        input_retracts: bool,
        batch: &RecordBatch,
    ) -> Result<()> {
        let rows = batch.num_rows();
        self.mask = None;
        let needed = call.function.needed_args(call.args.len());
        for &column in call.args.iter().take(needed) {
            let array = batch.column(column);
            if array.data_type() == &arrow_schema::DataType::Null {
                self.mask = Some(vec![false; rows]);
            } else if let Some(nulls) = array.nulls().filter(|nulls| nulls.null_count() > 0) {
                let mask = self.mask.get_or_insert_with(|| vec![true; rows]);
                mask.iter_mut().zip(nulls).for_each(|(counts, is_valid)| *counts &= is_valid);
            }
        }
        if let Some(filter) = call.filter {
            let filter = batch.column(filter).as_boolean();
            let mask = self.mask.get_or_insert_with(|| vec![true; rows]);
            mask.iter_mut().zip(filter).for_each(|(counts, value)| *counts &= value == Some(true));
        }
        if is_distinct(call) {
            let arrays: Vec<ArrayRef> = call.args.iter().map(|column| batch.column(*column).clone()).collect();
            self.distinct.clear();
            encode_keys(&arrays, rows, &mut self.distinct)?;
        }
        if matches!(call.function, AggregateFunction::CountStar | AggregateFunction::Count) {
            return Ok(());
        }
        if call.function.is_list() {
            // A list keeps its arguments as one key.
            let arrays: Vec<ArrayRef> = call.args.iter().map(|column| batch.column(*column).clone()).collect();
            self.input.bytes.clear();
            return encode_keys(&arrays, rows, &mut self.input.bytes);
        }
        match (call.args.first(), arguments.first()) {
            (Some(column), Some(data_type)) => {
                self.input.load(batch.column(*column), input_shape(call, data_type, input_retracts))
            }
            _ => Ok(()),
        }
    }
}

// Histories keep encoded fields, whatever the type.
fn input_shape(call: &AggregateCall, argument: &DataType, input_retracts: bool) -> Shape {
    if has_history(call, input_retracts) { Shape::Bytes } else { Shape::of(&argument.kind) }
}

fn has_history(call: &AggregateCall, input_retracts: bool) -> bool {
    input_retracts && (is_extreme(call.function) || is_arrival(call.function))
}

/// An accumulator behind one door, so that a list of them can stand in a table of groups.
trait Column: Send {
    fn grow(&mut self, slots: usize);
    fn reset(&mut self, slot: u32);
    fn apply(&mut self, steps: &[Step], rows: Rows<'_>, trace: Option<&mut Trace>);
    fn collect(&self, slots: &[u32], out: &mut Values);
    fn merge(&mut self, other: &dyn Column, pairs: &[(u32, u32)]) -> Result<()>;
    fn encode(&self, slot: u32, out: &mut Vec<u8>);
    fn decode(&mut self, slot: u32, reader: &mut Reader<'_>) -> Result<u64>;
    fn bytes(&self) -> usize;
    fn history(&mut self) -> Option<&mut dyn History>;
    fn as_any(&self) -> &dyn std::any::Any;
}

/// What the steps' rows hold.
#[derive(Clone, Copy)]
struct Rows<'a> {
    prepared: &'a Prepared,
    /// Per step and not per row: whether it counts.
    mask: Option<&'a [bool]>,
    /// The arrival number of row 0.
    sequence: u64,
}

struct Folded<F>(F);

impl<F: Fold> Column for Folded<F> {
    fn grow(&mut self, slots: usize) {
        self.0.grow(slots);
    }

    fn reset(&mut self, slot: u32) {
        self.0.reset(slot as usize);
    }

    fn apply(&mut self, steps: &[Step], rows: Rows<'_>, mut trace: Option<&mut Trace>) {
        for (index, step) in steps.iter().enumerate() {
            let (slot, row) = (step.slot as usize, step.row as usize);
            if step.is_fresh {
                self.0.reset(slot);
            }
            if let Some(trace) = trace.as_deref_mut() {
                self.0.push(slot, &mut trace.before);
            }
            if rows.mask.is_none_or(|mask| mask[index]) {
                let value = F::value(&rows.prepared.input, row);
                if step.is_add {
                    self.0.add(slot, value, rows.sequence + u64::from(step.row));
                } else {
                    self.0.retract(slot, value);
                }
            }
            if let Some(trace) = trace.as_deref_mut() {
                self.0.push(slot, &mut trace.after);
            }
        }
    }

    fn collect(&self, slots: &[u32], out: &mut Values) {
        for &slot in slots {
            self.0.push(slot as usize, out);
        }
    }

    fn merge(&mut self, other: &dyn Column, pairs: &[(u32, u32)]) -> Result<()> {
        let other = same_kind::<Self>(other)?;
        for &(from, to) in pairs {
            self.0.merge(to as usize, &other.0, from as usize);
        }
        Ok(())
    }

    fn encode(&self, slot: u32, out: &mut Vec<u8>) {
        self.0.encode(slot as usize, out);
    }

    fn decode(&mut self, slot: u32, reader: &mut Reader<'_>) -> Result<u64> {
        self.0.decode(slot as usize, reader)
    }

    fn bytes(&self) -> usize {
        self.0.bytes()
    }

    fn history(&mut self) -> Option<&mut dyn History> {
        self.0.history()
    }

    fn as_any(&self) -> &dyn std::any::Any {
        self
    }
}

fn same_kind<T: 'static>(other: &dyn Column) -> Result<&T> {
    other.as_any().downcast_ref::<T>().ok_or_else(|| Error::internal("two slices of a window aggregate differently"))
}

/// DISTINCT: lets a value through to the accumulator behind it when it comes first, and takes it back when its last one goes.
struct Distinct<F> {
    inner: Folded<F>,
    seen: Entries<i64>,
    argument: DataType,
    mask: Vec<bool>,
}

impl<F: Fold> Column for Distinct<F> {
    fn grow(&mut self, slots: usize) {
        self.inner.grow(slots);
    }

    fn reset(&mut self, slot: u32) {
        self.inner.reset(slot);
        self.seen.clear_slot(slot as usize);
    }

    fn apply(&mut self, steps: &[Step], rows: Rows<'_>, trace: Option<&mut Trace>) {
        let mut mask = std::mem::take(&mut self.mask);
        mask.clear();
        for (index, step) in steps.iter().enumerate() {
            let slot = step.slot as usize;
            if step.is_fresh {
                self.seen.clear_slot(slot);
            }
            let mut passes = false;
            if rows.mask.is_none_or(|mask| mask[index]) {
                let field = rows.prepared.distinct.key(step.row as usize);
                let change = self.seen.count(slot, field, if step.is_add { 1 } else { -1 });
                passes = change == if step.is_add { (0, 1) } else { (1, 0) };
            }
            mask.push(passes);
        }
        self.inner.apply(steps, Rows { mask: Some(&mask), ..rows }, trace);
        self.mask = mask;
    }

    fn collect(&self, slots: &[u32], out: &mut Values) {
        self.inner.collect(slots, out);
    }

    fn merge(&mut self, other: &dyn Column, pairs: &[(u32, u32)]) -> Result<()> {
        let other = same_kind::<Self>(other)?;
        // Values that are new here go through the accumulator as rows of a batch of their own.
        let (mut steps, mut prepared) = (Vec::new(), Prepared::default());
        for &(from, to) in pairs {
            for (field, count) in other.seen.fields(from as usize) {
                let (before, after) = self.seen.count(to as usize, field, count);
                if (before <= 0) != (after <= 0) {
                    let row = u32::try_from(steps.len()).unwrap_or(u32::MAX);
                    steps.push(Step { row, slot: to, is_add: after > 0, is_fresh: false });
                    prepared.distinct.push(field);
                }
            }
        }
        let mut readers: Vec<Reader<'_>> = prepared.distinct.iter().map(Reader::new).collect();
        let argument = decode_column(&self.argument, &mut readers)?;
        if std::any::TypeId::of::<F::In>() != std::any::TypeId::of::<()>() {
            prepared.input.load(&argument, Shape::of(&self.argument.kind))?;
        }
        self.inner.apply(&steps, Rows { prepared: &prepared, mask: None, sequence: 0 }, None);
        Ok(())
    }

    fn encode(&self, slot: u32, out: &mut Vec<u8>) {
        self.inner.encode(slot, out);
    }

    fn decode(&mut self, slot: u32, reader: &mut Reader<'_>) -> Result<u64> {
        self.inner.decode(slot, reader)
    }

    fn bytes(&self) -> usize {
        self.inner.bytes() + self.seen.bytes() + self.mask.capacity()
    }

    fn history(&mut self) -> Option<&mut dyn History> {
        Some(&mut self.seen)
    }

    fn as_any(&self) -> &dyn std::any::Any {
        self
    }
}

/// One aggregate of a table of groups.
enum Accumulator {
    /// COUNT(*), the number of rows that every group counts anyway.
    RowCount,
    Column(Box<dyn Column>),
}

impl Accumulator {
    fn column(&mut self) -> Option<&mut (dyn Column + 'static)> {
        match self {
            Accumulator::RowCount => None,
            Accumulator::Column(column) => Some(&mut **column),
        }
    }
}

fn new_accumulator(call: &AggregateCall, arguments: &[DataType], input_retracts: bool) -> Result<Accumulator> {
    if is_row_count(call) {
        return Ok(Accumulator::RowCount);
    }
    let null = DataType::new(TypeKind::Null);
    let argument = arguments.first().unwrap_or(&null);
    let order = match call.function {
        AggregateFunction::Min | AggregateFunction::FirstValue | AggregateFunction::SingleValue => Order::First,
        _ => Order::Last,
    };
    let shape = Shape::of(&argument.kind);
    Ok(Accumulator::Column(match call.function {
        AggregateFunction::CountStar | AggregateFunction::Count => column(call, argument, Count::default()),
        AggregateFunction::Sum | AggregateFunction::Avg => sum_column(call, argument),
        AggregateFunction::Min | AggregateFunction::Max if input_retracts => folded(ExtremeHistory::new(order)),
        AggregateFunction::Min | AggregateFunction::Max => match shape {
            Shape::I64 => folded(Extreme::<Plain<i64>>::new(order)),
            Shape::I128 => folded(Extreme::<Plain<i128>>::new(order)),
            Shape::Bytes => folded(Extreme::<Fields>::new(order)),
        },
        AggregateFunction::FirstValue | AggregateFunction::LastValue if input_retracts => {
            folded(ArrivalHistory::new(order))
        }
        // One row at most, so the first is the only one and taking it back empties the group.
        AggregateFunction::FirstValue | AggregateFunction::LastValue | AggregateFunction::SingleValue => match shape {
            Shape::I64 => folded(Arrival::<Plain<i64>>::new(order)),
            Shape::I128 => folded(Arrival::<Plain<i128>>::new(order)),
            Shape::Bytes => folded(Arrival::<Fields>::new(order)),
        },
        function => match List::new(function, argument, call.distinct) {
            Some(list) => folded(list),
            None => variance_column(call, argument)?,
        },
    }))
}

fn variance_column(call: &AggregateCall, argument: &DataType) -> Result<Box<dyn Column>> {
    fn of<T: Moment>(call: &AggregateCall, argument: &DataType, spread: Spread) -> Box<dyn Column> {
        column(call, argument, Variance::<T>::new(spread))
    }
    let spread = Spread::new(call.function, argument, &call.data_type)
        .ok_or_else(|| Error::internal(format!("{} has no accumulator", call.function.name())))?;
    Ok(match argument.kind {
        TypeKind::TinyInt => of::<Integer<8>>(call, argument, spread),
        TypeKind::SmallInt => of::<Integer<16>>(call, argument, spread),
        TypeKind::Int => of::<Integer<32>>(call, argument, spread),
        TypeKind::BigInt => of::<Integer<64>>(call, argument, spread),
        TypeKind::Float => of::<f32>(call, argument, spread),
        TypeKind::Decimal { .. } => of::<Six>(call, argument, spread),
        _ => of::<f64>(call, argument, spread),
    })
}

fn sum_column(call: &AggregateCall, argument: &DataType) -> Box<dyn Column> {
    let is_average = call.function == AggregateFunction::Avg;
    let plain = if is_average { Finish::Average } else { Finish::Sum };
    match (&argument.kind, &call.data_type.kind) {
        (TypeKind::Decimal { scale, .. }, TypeKind::Decimal { scale: result_scale, .. }) if is_average => {
            let digits = u32::from(result_scale.saturating_sub(*scale));
            column(call, argument, Sum::<i128>::new(Finish::AverageDecimal(digits)))
        }
        (TypeKind::Decimal { .. }, _) => column(call, argument, Sum::<i128>::new(plain)),
        (TypeKind::Float, _) if !is_average => column(call, argument, Sum::<f64>::new(Finish::SumSingle)),
        (TypeKind::Float | TypeKind::Double, _) => column(call, argument, Sum::<f64>::new(plain)),
        _ => column(call, argument, Sum::<i64>::new(plain)),
    }
}

fn folded<F: Fold>(fold: F) -> Box<dyn Column> {
    Box::new(Folded(fold))
}

fn column<F: Fold>(call: &AggregateCall, argument: &DataType, fold: F) -> Box<dyn Column> {
    if is_distinct(call) {
        Box::new(Distinct {
            inner: Folded(fold),
            seen: Entries::default(),
            argument: argument.clone(),
            mask: Vec::new(),
        })
    } else {
        folded(fold)
    }
}

/// A table of groups with its aggregates.
pub(crate) struct Groups {
    pub(crate) table: GroupTable,
    /// What stands in front of every key in a checkpoint.
    prefix: Vec<u8>,
    /// Rows per slot; 0 = the slot holds no group.
    row_counts: Vec<i64>,
    accumulators: Vec<Accumulator>,
    mask: Vec<bool>,
    loaded: [Loaded; 2],
    key: Vec<u8>,
    value: Vec<u8>,
}

impl Groups {
    pub(crate) fn new(spec: &AggregateSpec, ttl_ms: u64) -> Result<Self> {
        let accumulators = spec
            .calls
            .iter()
            .zip(&spec.arguments)
            .map(|(call, arguments)| new_accumulator(call, arguments, spec.input_retracts))
            .collect::<Result<_>>()?;
        let table = GroupTable::new(ttl_ms);
        Ok(Groups {
            table,
            prefix: Vec::new(),
            row_counts: Vec::new(),
            accumulators,
            mask: Vec::new(),
            loaded: Default::default(),
            key: Vec::new(),
            value: Vec::new(),
        })
    }

    /// Groups whose keys stand behind a number in a checkpoint: the end of a slice, the level of a session.
    pub(crate) fn numbered(spec: &AggregateSpec, number: i64) -> Result<Self> {
        Ok(Groups { prefix: order_i64(number).to_vec(), ..Groups::new(spec, 0)? })
    }

    /// No groups in memory: all are in `store`, and are loaded by [`Groups::load_created`].
    pub(crate) fn begin_anew(&mut self, spec: &AggregateSpec, store: &StateStore) -> Result<()> {
        let (table, prefix) = (self.table.begin_anew(store), std::mem::take(&mut self.prefix));
        *self = Groups { table, prefix, ..Groups::new(spec, 0)? };
        for column in self.accumulators.iter_mut().filter_map(Accumulator::column) {
            if let Some(history) = column.history() {
                history.begin_anew();
            }
        }
        Ok(())
    }

    /// Loads the groups that got slots since the last call, with their histories, as far as the store holds them.
    pub(crate) fn load_created(&mut self, spec: &AggregateSpec) -> Result<()> {
        let Some(store) = self.table.store().cloned() else { return Ok(()) };
        let [mut groups, mut histories] = std::mem::take(&mut self.loaded);
        groups.clear();
        histories.clear();
        self.table.load_created(GROUPS_TABLE, &self.prefix, &mut groups)?;
        for (accumulator, table) in self.accumulators.iter_mut().zip(GROUPS_TABLE + 1..) {
            if accumulator.column().is_some_and(|column| column.history().is_some()) {
                store.load_prefixes(table, groups.iter().map(|(_, vnode, key, _)| (vnode, key)), &mut histories)?;
            }
        }
        let prefix_bytes = self.prefix.len();
        for (table, _, key, value) in groups.iter().chain(histories.iter()) {
            self.restore(spec, table, &key[prefix_bytes..], value)?;
        }
        self.loaded = [groups, histories];
        Ok(())
    }

    /// Whether an aggregate needs more than the number of rows.
    pub(crate) fn has_columns(&self) -> bool {
        self.accumulators.iter().any(|accumulator| matches!(accumulator, Accumulator::Column(_)))
    }

    /// The slots of the keys of `rows`; new keys get one.
    pub(crate) fn assign(&mut self, keys: &KeyBuffer, hashes: &[u64], rows: &[u32], slots: &mut Vec<u32>) {
        self.table.slots(keys, hashes, rows, slots);
        self.grow();
    }

    fn grow(&mut self) {
        let slots = self.table.slot_count();
        if slots == self.row_counts.len() {
            return;
        }
        self.row_counts.resize(slots, 0);
        for accumulator in &mut self.accumulators {
            if let Some(column) = accumulator.column() {
                column.grow(slots);
            }
        }
    }

    pub(crate) fn row_count(&self, slot: u32) -> i64 {
        self.row_counts[slot as usize]
    }

    /// Whether a slot holds a group that a reader may see.
    pub(crate) fn is_live(&self, slot: u32, now_ms: i64) -> bool {
        self.row_counts[slot as usize] > 0 && !self.table.is_expired(slot, now_ms)
    }

    /// Turns rows into steps and counts them. Appends slots that stand without rows behind a step to `emptied`, counts of the group
    /// behind every step to `counts`, and returns how many retractions found no group.
    pub(crate) fn plan(&mut self, rows: PlannedRows<'_>, plan: &mut Plan) -> u64 {
        let mut ignored = 0;
        let has_ttl = rows.has_ttl;
        for (&row, &slot) in rows.rows.iter().zip(rows.slots) {
            let count = &mut self.row_counts[slot as usize];
            let is_add = rows.kinds.is_none_or(|kinds| kinds[row as usize].is_add());
            if has_ttl && *count > 0 && self.table.is_expired(slot, rows.now_ms) {
                *count = 0;
            }
            let is_fresh = *count == 0;
            if is_add {
                *count += 1;
            } else if is_fresh {
                // Flink drops a retraction that has nothing to take back: the first message of a key, or one behind a TTL.
                ignored += 1;
                plan.emptied.push(slot);
                continue;
            } else {
                *count -= 1;
                if *count == 0 {
                    plan.emptied.push(slot);
                }
            }
            if rows.keeps_steps {
                plan.steps.push(Step { row, slot, is_add, is_fresh });
                plan.counts.push(*count);
            }
            self.table.mark(slot, rows.now_ms);
        }
        ignored
    }

    /// Runs the steps through every accumulator. With `traces`, the results before and after each step are noted.
    pub(crate) fn apply(&mut self, plan: &Plan, prepared: &[Prepared], sequence: u64, traces: Option<&mut [Trace]>) {
        let mut traces = traces;
        for (index, (accumulator, prepared)) in self.accumulators.iter_mut().zip(prepared).enumerate() {
            let trace = traces.as_deref_mut().and_then(|traces| traces.get_mut(index));
            let Accumulator::Column(column) = accumulator else {
                if let Some(trace) = trace {
                    for (step, after) in plan.steps.iter().zip(&plan.counts) {
                        trace.before.push_number(if step.is_add { after - 1 } else { after + 1 });
                        trace.after.push_number(*after);
                    }
                }
                continue;
            };
            let mask = prepared.mask.as_ref().map(|rows| {
                self.mask.clear();
                self.mask.extend(plan.steps.iter().map(|step| rows[step.row as usize]));
                &self.mask[..]
            });
            column.apply(&plan.steps, Rows { prepared, mask, sequence }, trace);
        }
    }

    /// Adds rows to the groups of a window, or takes them back: [`assign`](Self::assign) and [`apply`](Self::apply)
    /// in one. A group without rows stays, and so does one that has more taken back than came.
    pub(crate) fn fold(&mut self, spec: &AggregateSpec, rows: FoldedRows<'_>, buffers: &mut FoldBuffers) -> Result<()> {
        let (keys, hashes) = rows.hasher.keys_and_hashes();
        buffers.slots.clear();
        self.assign(keys, hashes, rows.rows, &mut buffers.slots);
        self.load_created(spec)?;
        self.copy_aside(&buffers.slots);
        buffers.plan.clear();
        let keeps_steps = self.has_columns();
        for (&row, &slot) in rows.rows.iter().zip(&buffers.slots) {
            let is_add = rows.kinds.is_none_or(|kinds| kinds[row as usize].is_add());
            let count = &mut self.row_counts[slot as usize];
            *count += if is_add { 1 } else { -1 };
            if keeps_steps {
                // A slot is empty when it is given out, so no row has to empty it.
                buffers.plan.steps.push(Step { row, slot, is_add, is_fresh: false });
                buffers.plan.counts.push(*count);
            }
            self.table.mark(slot, rows.now_ms);
        }
        self.apply(&buffers.plan, rows.prepared, rows.sequence, None);
        Ok(())
    }

    /// Appends the results of slots, one column per aggregate.
    pub(crate) fn collect(&self, slots: &[u32], out: &mut [Values]) {
        for (accumulator, out) in self.accumulators.iter().zip(out) {
            match accumulator {
                Accumulator::RowCount => slots.iter().for_each(|slot| out.push_number(self.row_counts[*slot as usize])),
                Accumulator::Column(column) => column.collect(slots, out),
            }
        }
    }

    /// Forgets a group and frees its slot.
    pub(crate) fn release(&mut self, slot: u32) {
        self.copy_aside(&[slot]);
        let (key, vnode) = (self.table.key(slot), self.table.vnode(slot));
        for accumulator in &mut self.accumulators {
            if let Some(column) = accumulator.column() {
                if let Some(history) = column.history() {
                    history.release(slot, key, vnode);
                }
                column.reset(slot);
            }
        }
        self.row_counts[slot as usize] = 0;
        self.table.remove(slot);
    }

    /// Frees slots that hold no group; those that do, and those freed already, stay as they are.
    pub(crate) fn release_empty(&mut self, emptied: &mut Vec<u32>) {
        emptied.sort_unstable();
        emptied.dedup();
        for slot in emptied.drain(..) {
            if self.row_counts[slot as usize] == 0 {
                self.release(slot);
            }
        }
    }

    /// Adds all groups of another table of the same aggregates.
    pub(crate) fn merge(&mut self, other: &Groups) -> Result<()> {
        if self.table.is_empty() {
            self.table.reserve_for(&other.table);
        }
        self.merge_slots(other, other.table.used())
    }

    /// Adds the groups of some slots of another table to those with the same keys here.
    pub(crate) fn merge_slots(&mut self, other: &Groups, slots: impl Iterator<Item = u32>) -> Result<()> {
        let mut to = |from: u32| self.table.slot(other.table.key(from), other.table.hash(from));
        let pairs: Vec<(u32, u32)> = slots.map(|from| (from, to(from))).collect();
        self.merge_pairs(other, &pairs)
    }

    /// Adds the groups that the store holds of one virtual node of another table, but for those that the other has in memory.
    pub(crate) fn merge_stored(&mut self, spec: &AggregateSpec, other: &Groups, vnode: u8) -> Result<()> {
        let Some(store) = other.table.store() else { return Ok(()) };
        let (mut stored, mut loaded) = (Groups::new(spec, 0)?, Loaded::default());
        for table in stored.tables() {
            loaded.clear();
            store.load_prefixes(table, std::iter::once((vnode, &other.prefix[..])), &mut loaded)?;
            for (table, _, key, value) in loaded.iter() {
                let key = &key[other.prefix.len()..];
                let (group, _) = split_key(&spec.key_types, key)?;
                if other.table.find(group, hash_key(group)).is_none() {
                    stored.restore(spec, table, key, value)?;
                }
            }
        }
        self.merge(&stored)
    }

    /// The tables that a checkpoint holds of the groups.
    pub(crate) fn tables(&mut self) -> Vec<u8> {
        let histories =
            self.accumulators.iter_mut().zip(GROUPS_TABLE + 1..).filter_map(|(accumulator, table)| {
                accumulator.column().and_then(|column| column.history()).map(|_| table)
            });
        std::iter::once(GROUPS_TABLE).chain(histories).collect()
    }

    /// Adds the group of one slot of another table to the group with the same key here.
    pub(crate) fn merge_slot(&mut self, other: &Groups, from: u32, now_ms: i64) -> Result<()> {
        let to = self.table.slot(other.table.key(from), other.table.hash(from));
        self.merge_pairs(other, &[(from, to)])?;
        self.table.mark(to, now_ms);
        Ok(())
    }

    fn merge_pairs(&mut self, other: &Groups, pairs: &[(u32, u32)]) -> Result<()> {
        self.grow();
        for &(from, to) in pairs {
            self.row_counts[to as usize] += other.row_counts[from as usize];
        }
        for (accumulator, other) in self.accumulators.iter_mut().zip(&other.accumulators) {
            if let (Accumulator::Column(column), Accumulator::Column(other)) = (accumulator, other) {
                column.merge(&**other, pairs)?;
            }
        }
        Ok(())
    }

    /// Draws the line of a snapshot that is written by and by.
    pub(crate) fn freeze(&mut self, full: bool) {
        self.table.freeze(full);
        for history in self.accumulators.iter_mut().filter_map(|a| a.column().and_then(|column| column.history())) {
            history.freeze(full);
        }
    }

    fn encode(&self, slot: u32, value: &mut Vec<u8>) {
        value.clear();
        value.push(STATE_VERSION);
        put_varint(self.row_counts[slot as usize].cast_unsigned(), value);
        put_varint(self.table.last_write_ms(slot).cast_unsigned(), value);
        for accumulator in &self.accumulators {
            if let Accumulator::Column(column) = accumulator {
                column.encode(slot, value);
            }
        }
    }

    /// Deletes the next group that an earlier checkpoint holds and that is gone; returns whether there was one.
    fn write_gone_group(&mut self, writer: &mut dyn StateWriter) -> bool {
        let Some(key) = self.table.next_gone() else { return false };
        writer.delete(GROUPS_TABLE, vnode_of_key(&key), &[&self.prefix, &key[..]].concat());
        true
    }

    /// Writes a group without its histories.
    fn write_group(&mut self, slot: u32, writer: &mut dyn StateWriter) {
        let (mut key, mut value) = (std::mem::take(&mut self.key), std::mem::take(&mut self.value));
        key.clear();
        key.extend_from_slice(&self.prefix);
        key.extend_from_slice(self.table.key(slot));
        self.encode(slot, &mut value);
        writer.put(GROUPS_TABLE, self.table.vnode(slot), &key, &value);
        (self.key, self.value) = (key, value);
    }

    /// Writes changed groups, or all of them. Deletes come before puts.
    pub(crate) fn snapshot(&mut self, full: bool, writer: &mut dyn StateWriter) {
        self.table.freeze(full);
        while self.write_gone_group(writer) {}
        while let Some(slot) = self.table.next_pending() {
            self.write_group(slot, writer);
        }
        for (accumulator, table) in self.accumulators.iter_mut().zip(GROUPS_TABLE + 1..) {
            if let Some(history) = accumulator.column().and_then(|column| column.history()) {
                let place = HistoryPlace { table, prefix: &self.prefix, groups: &self.table };
                history.snapshot(full, place, writer);
            }
        }
    }

    /// The slot of a group that a checkpoint speaks of.
    pub(crate) fn restore_slot(&mut self, group: &[u8]) -> u32 {
        let slot = self.table.slot(group, hash_key(group));
        self.grow();
        slot
    }

    /// Takes an entry back, its key without the prefix, and returns the highest sequence number in it.
    pub(crate) fn restore(&mut self, spec: &AggregateSpec, table: u8, key: &[u8], value: &[u8]) -> Result<u64> {
        let (group, suffix) = split_key(&spec.key_types, key)?;
        let slot = self.restore_slot(group);
        if table != GROUPS_TABLE {
            let history = self
                .accumulators
                .get_mut(usize::from(table - GROUPS_TABLE) - 1)
                .and_then(Accumulator::column)
                .and_then(|column| column.history())
                .ok_or_else(|| Error::internal(format!("a checkpoint holds a state table {table} of no aggregate")))?;
            return history.restore(slot, suffix, value);
        }
        let mut reader = Reader::new(value);
        check_version(reader.byte()?)?;
        self.row_counts[slot as usize] = reader.varint()?.cast_signed();
        let last_write_ms = reader.varint()?.cast_signed();
        // Written without a TTL: the time to live begins with the next write.
        self.table.set_restored(slot, if last_write_ms == 0 { i64::MAX } else { last_write_ms });
        let mut sequence = 0;
        for accumulator in &mut self.accumulators {
            if let Some(column) = accumulator.column() {
                sequence = sequence.max(column.decode(slot, &mut reader)?);
            }
        }
        if reader.is_empty() {
            Ok(sequence)
        } else {
            Err(Error::internal("a state entry of a group holds more than its aggregates"))
        }
    }

    /// Bytes held.
    pub(crate) fn bytes(&self) -> usize {
        let columns = self.accumulators.iter().map(|a| match a {
            Accumulator::RowCount => 0,
            Accumulator::Column(column) => column.bytes(),
        });
        self.table.bytes()
            + self.row_counts.capacity() * size_of::<i64>()
            + self.mask.capacity()
            + self.loaded.iter().map(Loaded::bytes).sum::<usize>()
            + columns.sum::<usize>()
    }
}

/// Whoever changes what stands in a history changes its group too.
impl Sliced for Groups {
    fn table(&mut self) -> &mut GroupTable {
        &mut self.table
    }

    fn write_slot(&mut self, slot: u32, writer: &mut dyn StateWriter) {
        self.write_group(slot, writer);
        for (accumulator, table) in self.accumulators.iter_mut().zip(GROUPS_TABLE + 1..) {
            if let Some(history) = accumulator.column().and_then(|column| column.history()) {
                let place = HistoryPlace { table, prefix: &self.prefix, groups: &self.table };
                history.write_slot(slot, place, writer);
            }
        }
    }

    fn write_gone(&mut self, writer: &mut dyn StateWriter) -> Result<bool> {
        if self.write_gone_group(writer) {
            return Ok(true);
        }
        let mut histories = self.accumulators.iter_mut().zip(GROUPS_TABLE + 1..);
        let (prefix, groups) = (&self.prefix, &self.table);
        Ok(histories.any(|(accumulator, table)| {
            let history = accumulator.column().and_then(|column| column.history());
            history.is_some_and(|h| h.write_gone(HistoryPlace { table, prefix, groups }, writer))
        }))
    }
}

/// The rows of a batch that go into one table of groups.
pub(crate) struct PlannedRows<'a> {
    pub(crate) rows: &'a [u32],
    pub(crate) slots: &'a [u32],
    pub(crate) kinds: Option<&'a RowKinds>,
    pub(crate) now_ms: i64,
    pub(crate) has_ttl: bool,
    /// Off when nobody reads the steps: COUNT(*) alone, and no change per row.
    pub(crate) keeps_steps: bool,
}

/// The rows of a batch that [`Groups::fold`] takes in.
pub(crate) struct FoldedRows<'a> {
    pub(crate) rows: &'a [u32],
    /// The keys of the batch.
    pub(crate) hasher: &'a KeyHasher,
    pub(crate) kinds: Option<&'a RowKinds>,
    pub(crate) prepared: &'a [Prepared],
    /// The arrival number of row 0.
    pub(crate) sequence: u64,
    pub(crate) now_ms: i64,
}

/// What [`Groups::fold`] needs for the time of a call, kept for the next one.
#[derive(Debug, Default)]
pub(crate) struct FoldBuffers {
    slots: Vec<u32>,
    plan: Plan,
}

impl FoldBuffers {
    /// Bytes held between calls.
    pub(crate) fn bytes(&self) -> usize {
        self.slots.capacity() * size_of::<u32>()
    }
}

/// What the rows do, see [`Groups::plan`].
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) steps: Vec<Step>,
    pub(crate) counts: Vec<i64>,
    pub(crate) emptied: Vec<u32>,
}

impl Plan {
    pub(crate) fn clear(&mut self) {
        self.steps.clear();
        self.counts.clear();
        self.emptied.clear();
    }
}
