//! Avro's bytes to columns: a schema and a table's columns become a plan once, and a record is one walk along it.
//!
//! Avro's bytes have no marks of their own, so everything is read in the order of the schema that wrote it: what a column takes goes straight
//! into the column, everything else is stepped over. The rules of what may become what are Avro's resolution rules between the writer's
//! schema and the one that Flink derives from the table: int to long, float, double; long to float, double; float to double; bytes and string
//! both ways; fields by name; what the writer lacks is NULL, if the column may be NULL. A branch of a union that no column could take is an
//! error only when a value comes in it.
//!
//! Where Flink drops what the writer's schema says (the unit of a timestamp, the scale of a decimal), it is heeded here.

use wiesel_core::types::{DataType, Field, TypeKind};

use super::schema::Logical;
use super::schema::{DEPTH_MAX, Named, RecordField, Schema, Type};
use crate::formats::json::column::Column;
use crate::formats::json::object::ObjectColumn;

/// Elements of one array or map; elements may take no bytes at all, so the bytes do not bound them.
const ITEMS_MAX: usize = 16 << 20;

/// How a value is read into a column.
#[derive(Debug)]
enum Read {
    /// Null, into a column that takes it.
    Null,
    Boolean,
    /// int or long, as a number, a date, or milliseconds of a day.
    Integer,
    /// int or long of other units than milliseconds, as a time of day.
    TimeOfDay {
        nanos_per_unit: i64,
    },
    /// long as a timestamp.
    Time {
        nanos_per_unit: i64,
    },
    Float,
    Double,
    /// bytes or string.
    Bytes,
    Fixed(usize),
    /// The digits of a decimal in bytes; `shift` is how many digits the column has more behind the point.
    Decimal {
        size: Option<usize>,
        shift: i32,
    },
    Enum(Vec<String>),
    Array(Box<Read>),
    Map(Box<Read>),
    Record(Box<RecordPlan>),
    /// Which branch it is says an int in front.
    Union(Vec<Result<Read, String>>),
}

/// How a record is read into the columns of a row.
#[derive(Debug)]
pub(super) struct RecordPlan {
    steps: Vec<Step>,
    /// Columns that the writer does not know.
    missing: Vec<usize>,
}

#[derive(Debug)]
enum Step {
    Read { name: String, column: usize, read: Read },
    Skip(Type),
}

/// Why a record cannot be read.
#[derive(Debug)]
pub(super) struct Fault {
    /// What is wrong.
    pub(super) reason: String,
    /// The names of the fields around it, innermost first.
    pub(super) path: Vec<String>,
}

type Outcome<T> = Result<T, Box<Fault>>;

#[cold]
fn fault<T>(reason: impl Into<String>) -> Outcome<T> {
    Err(Box::new(Fault { reason: reason.into(), path: Vec::new() }))
}

/// A plan for records of a schema.
#[derive(Debug)]
pub(super) struct Plan {
    schema: Schema,
    root: Root,
}

#[derive(Debug)]
enum Root {
    Record(RecordPlan),
    /// A union with a record in it.
    Union(Vec<Result<RecordPlan, String>>),
}

impl Plan {
    /// The plan for reading what `schema` wrote into columns of `fields`; an error says what does not fit. `defaults` are the fields that
    /// have a default other than null where the table gives a schema itself: reading does not fill it in, so such a field must be written.
    pub(super) fn new(schema: Schema, fields: &[Field], defaults: &[String]) -> Result<Plan, String> {
        let root = match &schema.root {
            Type::Union(branches) => {
                let plans: Vec<Result<RecordPlan, String>> =
                    branches.iter().map(|branch| root_record(&schema, branch, fields)).collect();
                if let Some(errors) = plans.iter().map(|p| p.as_ref().err()).collect::<Option<Vec<_>>>() {
                    return Err(errors.last().map_or_else(|| "an empty union".to_owned(), |e| (*e).clone()));
                }
                Root::Union(plans)
            }
            other => Root::Record(root_record(&schema, other, fields)?),
        };
        let plans: Vec<&RecordPlan> = match &root {
            Root::Record(plan) => vec![plan],
            Root::Union(plans) => plans.iter().flatten().collect(),
        };
        for field in plans.iter().flat_map(|plan| &plan.missing).filter_map(|column| fields.get(*column)) {
            if defaults.contains(&field.name) {
                return Err(format!(
                    "field `{}`: the default of a field that was not written is not supported yet",
                    field.name
                ));
            }
        }
        Ok(Plan { schema, root })
    }

    /// Reads a record as the next row; returns the position behind it. On failure the caller truncates.
    pub(super) fn read(&self, bytes: &[u8], pos: usize, row: &mut ObjectColumn) -> Outcome<usize> {
        let mut reader = Reader { bytes, pos, names: &self.schema.names };
        match &self.root {
            Root::Record(plan) => reader.record(plan, row)?,
            Root::Union(branches) => match branches.get(reader.branch()?) {
                Some(Ok(plan)) => reader.record(plan, row)?,
                Some(Err(reason)) => return fault(reason.clone()),
                None => return fault("the value names a branch of a union that the schema does not have"),
            },
        }
        Ok(reader.pos)
    }
}

fn root_record(schema: &Schema, data_type: &Type, fields: &[Field]) -> Result<RecordPlan, String> {
    match data_type {
        Type::Named(index) => match schema.names.get(*index) {
            Some(Named::Record { fields: written, .. }) => record_plan(schema, written, fields),
            _ => Err(format!("expected a record, found {}", schema.describe(data_type))),
        },
        other => Err(format!("expected a record, found {}", schema.describe(other))),
    }
}

fn record_plan(schema: &Schema, written: &[RecordField], fields: &[Field]) -> Result<RecordPlan, String> {
    let mut steps = Vec::with_capacity(written.len());
    for field in written {
        let column = fields.iter().position(|f| f.name == field.name);
        steps.push(match column.and_then(|column| Some((column, fields.get(column)?))) {
            Some((column, target)) => {
                let read = plan(schema, &field.data_type, &target.data_type)
                    .map_err(|e| format!("field `{}`: {e}", field.name))?;
                Step::Read { name: field.name.clone(), column, read }
            }
            None => Step::Skip(field.data_type.clone()),
        });
    }
    let mut missing = Vec::new();
    for (column, field) in fields.iter().enumerate() {
        if written.iter().any(|w| w.name == field.name) {
            continue;
        }
        if !field.data_type.nullable {
            return Err(format!("field `{}`: the schema does not have it, and the column is NOT NULL", field.name));
        }
        missing.push(column);
    }
    Ok(RecordPlan { steps, missing })
}

fn plan(schema: &Schema, written: &Type, target: &DataType) -> Result<Read, String> {
    let kind = &target.kind;
    let is_float = matches!(kind, TypeKind::Float | TypeKind::Double);
    let read = match (written, kind) {
        (Type::Union(branches), _) => {
            let reads: Vec<Result<Read, String>> = branches.iter().map(|b| plan(schema, b, target)).collect();
            if !branches.is_empty()
                && let Some(errors) = reads.iter().map(|r| r.as_ref().err()).collect::<Option<Vec<_>>>()
            {
                return Err(errors.last().map_or_else(String::new, |e| (*e).clone()));
            }
            Read::Union(reads)
        }
        (Type::Null, _) if target.nullable || *kind == TypeKind::Null => Read::Null,
        (Type::Null, _) => return Err(format!("NULL, and the column is {kind} NOT NULL")),
        (Type::Boolean, TypeKind::Boolean) => Read::Boolean,
        (Type::Int(Some(Logical::Time(nanos))) | Type::Long(Some(Logical::Time(nanos))), TypeKind::Time(_)) => {
            Read::TimeOfDay { nanos_per_unit: *nanos }
        }
        (Type::Int(_) | Type::Long(_), TypeKind::Float | TypeKind::Double | TypeKind::BigInt) => Read::Integer,
        (Type::Int(_), TypeKind::TinyInt | TypeKind::SmallInt | TypeKind::Int | TypeKind::Date | TypeKind::Time(_)) => {
            Read::Integer
        }
        (Type::Int(logical) | Type::Long(logical), TypeKind::Timestamp(_) | TypeKind::TimestampLtz(_)) => {
            let nanos_per_unit = match logical {
                Some(Logical::Timestamp(nanos)) => *nanos,
                _ => 1_000_000,
            };
            Read::Time { nanos_per_unit }
        }
        (Type::Float, _) if is_float => Read::Float,
        (Type::Double, TypeKind::Double) => Read::Double,
        (Type::Bytes(logical), TypeKind::Decimal { scale, .. }) => {
            Read::Decimal { size: None, shift: shift(*logical, *scale) }
        }
        (Type::Bytes(_) | Type::String, TypeKind::Char(_) | TypeKind::VarChar(_)) => Read::Bytes,
        (Type::Bytes(_) | Type::String, TypeKind::Binary(_) | TypeKind::VarBinary(_)) => Read::Bytes,
        (Type::Array(items), TypeKind::Array(element)) => Read::Array(Box::new(plan(schema, items, element)?)),
        (Type::Map(values), TypeKind::Map(_, value)) => Read::Map(Box::new(plan(schema, values, value)?)),
        (Type::Map(values), TypeKind::Multiset(_)) => Read::Map(Box::new(plan(schema, values, &DataType::int())?)),
        (Type::Named(index), _) => match (schema.names.get(*index), kind) {
            (Some(Named::Record { fields: written, .. }), TypeKind::Row(fields)) => {
                Read::Record(Box::new(record_plan(schema, written, fields)?))
            }
            (Some(Named::Enum { symbols }), TypeKind::Char(_) | TypeKind::VarChar(_)) => Read::Enum(symbols.clone()),
            (Some(Named::Fixed { size, .. }), TypeKind::Binary(_) | TypeKind::VarBinary(_)) => Read::Fixed(*size),
            (Some(Named::Fixed { size, logical }), TypeKind::Decimal { scale, .. }) => {
                Read::Decimal { size: Some(*size), shift: shift(*logical, *scale) }
            }
            _ => return unfit(schema, written, kind),
        },
        _ => return unfit(schema, written, kind),
    };
    Ok(read)
}

fn unfit(schema: &Schema, written: &Type, kind: &TypeKind) -> Result<Read, String> {
    Err(format!("{} does not become {kind}", schema.describe(written)))
}

/// How many digits behind the point a column has more than the written decimal. Bytes that say no scale have the column's.
fn shift(logical: Option<Logical>, scale: u8) -> i32 {
    match logical {
        Some(Logical::Decimal { scale: written }) => i32::from(scale) - i32::from(written),
        _ => 0,
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    pos: usize,
    names: &'a [Named],
}

impl<'a> Reader<'a> {
    fn record(&mut self, plan: &RecordPlan, row: &mut ObjectColumn) -> Outcome<()> {
        let columns = row.columns_mut();
        for step in &plan.steps {
            match step {
                Step::Read { name, column, read } => {
                    let Some(column) = columns.get_mut(*column) else { return fault("a column that is not there") };
                    self.value(read, column).map_err(|mut fault| {
                        fault.path.push(name.clone());
                        fault
                    })?;
                }
                Step::Skip(data_type) => self.skip(data_type, 0)?,
            }
        }
        for column in &plan.missing {
            if let Some(column) = columns.get_mut(*column) {
                column.push_null();
            }
        }
        row.end_row();
        Ok(())
    }

    #[inline]
    fn value(&mut self, read: &Read, column: &mut Column) -> Outcome<()> {
        let is_taken = match read {
            Read::Union(branches) => {
                return match branches.get(self.branch()?) {
                    Some(Ok(read)) => self.value(read, column),
                    Some(Err(reason)) => fault(reason.clone()),
                    None => fault("the value names a branch of a union that the schema does not have"),
                };
            }
            Read::Null => {
                column.push_null();
                true
            }
            Read::Integer => {
                let value = self.long()?;
                column.append_integer(value)
            }
            Read::Bytes => {
                let bytes = self.sized()?;
                if column.is_text() && simdutf8::basic::from_utf8(bytes).is_err() {
                    return fault("a text that is not UTF-8");
                }
                column.append_bytes(bytes)
            }
            Read::Time { nanos_per_unit } => {
                let value = self.long()?;
                if !column.append_time(value, *nanos_per_unit) {
                    return fault(format!("the time {value} is beyond what the column's type can hold"));
                }
                true
            }
            Read::Double => {
                let bytes = self.array::<8>()?;
                column.append_double(f64::from_le_bytes(bytes))
            }
            Read::Float => {
                let bytes = self.array::<4>()?;
                column.append_double(f64::from(f32::from_le_bytes(bytes)))
            }
            Read::Boolean => {
                let [byte] = self.array::<1>()?;
                column.append_boolean(byte != 0)
            }
            other => return self.rare(other, column),
        };
        if is_taken { Ok(()) } else { fault("the values of one batch exceed 2 GiB") }
    }

    #[inline(never)]
    fn rare(&mut self, read: &Read, column: &mut Column) -> Outcome<()> {
        let is_taken = match read {
            Read::TimeOfDay { nanos_per_unit } => {
                let value = self.long()?;
                column.append_integer(value.div_euclid(1_000_000 / nanos_per_unit.max(&1)))
            }
            Read::Fixed(size) => {
                let bytes = self.take(*size)?;
                column.append_bytes(bytes)
            }
            Read::Decimal { size, shift } => {
                let bytes = match size {
                    Some(size) => self.take(*size)?,
                    None => self.sized()?,
                };
                column.append_decimal(integer(bytes).and_then(|digits| shifted(digits, *shift)))
            }
            Read::Enum(symbols) => match symbols.get(self.branch()?) {
                Some(symbol) => column.append_bytes(symbol.as_bytes()),
                None => return fault("the value names a symbol that the enum does not have"),
            },
            Read::Array(items) => column.append_array(|column| {
                let mut total = 0;
                while let Some(count) = self.block(total)? {
                    for _ in 0..count {
                        self.value(items, column)?;
                    }
                    total += count;
                }
                Ok::<usize, Box<Fault>>(total)
            })?,
            Read::Map(values) => self.map(values, column)?,
            Read::Record(plan) => match column.as_row() {
                Some(row) => return self.record(plan, row),
                None => false,
            },
            _ => false,
        };
        if is_taken { Ok(()) } else { fault("the values of one batch exceed 2 GiB") }
    }

    /// A map, in which the last entry of a key counts, as in Java's.
    fn map(&mut self, values: &Read, column: &mut Column) -> Outcome<bool> {
        let Some(map) = column.as_map() else { return Ok(false) };
        let (first, begin) = (map.entry_count(), self.pos);
        let mut left_out: Vec<usize> = Vec::new();
        loop {
            let (mut ordinal, mut total) = (0, 0);
            while let Some(count) = self.block(total)? {
                for _ in 0..count {
                    let key = self.sized()?;
                    if simdutf8::basic::from_utf8(key).is_err() {
                        return fault("a key of a map that is not UTF-8");
                    }
                    let is_left_out = left_out.binary_search(&ordinal).is_ok();
                    ordinal += 1;
                    // The value has to be read to know where it ends; one that is left out is forgotten again below.
                    let before = map.entry_count();
                    let Some(column) = map.append_key(key) else { return Ok(false) };
                    self.value(values, column)?;
                    if is_left_out {
                        map.forget_behind(before);
                    }
                }
                total += count;
            }
            if !left_out.is_empty() {
                break;
            }
            left_out = map.replaced_behind(first);
            if left_out.is_empty() {
                break;
            }
            map.forget_behind(first);
            self.pos = begin;
        }
        Ok(map.end_map())
    }

    /// The number of elements of the next block; `None` at the end.
    fn block(&mut self, total: usize) -> Outcome<Option<usize>> {
        let mut count = self.long()?;
        if count < 0 {
            // The bytes of the block follow, for those who step over it.
            self.long()?;
            count = count.checked_neg().unwrap_or(i64::MAX);
        }
        match usize::try_from(count) {
            Ok(0) => Ok(None),
            Ok(count) if count.saturating_add(total) <= ITEMS_MAX => Ok(Some(count)),
            _ => fault(format!("an array or map of more than {ITEMS_MAX} elements")),
        }
    }

    /// Steps over a value.
    fn skip(&mut self, data_type: &Type, depth: usize) -> Outcome<()> {
        if depth > DEPTH_MAX {
            return fault(format!("a value that nests deeper than {DEPTH_MAX}"));
        }
        match data_type {
            Type::Null => {}
            Type::Boolean => drop(self.take(1)?),
            Type::Int(_) | Type::Long(_) => drop(self.long()?),
            Type::Float => drop(self.take(4)?),
            Type::Double => drop(self.take(8)?),
            Type::Bytes(_) | Type::String => drop(self.sized()?),
            Type::Array(items) => self.skip_items(items, false, depth)?,
            Type::Map(values) => self.skip_items(values, true, depth)?,
            Type::Union(branches) => match branches.get(self.branch()?) {
                Some(branch) => self.skip(branch, depth + 1)?,
                None => return fault("the value names a branch of a union that the schema does not have"),
            },
            Type::Named(index) => match self.names.get(*index) {
                Some(Named::Record { fields, .. }) => {
                    for field in fields {
                        self.skip(&field.data_type, depth + 1)?;
                    }
                }
                Some(Named::Enum { .. }) => drop(self.long()?),
                Some(Named::Fixed { size, .. }) => drop(self.take(*size)?),
                Some(Named::Open) | None => return fault("a type without a definition"),
            },
        }
        Ok(())
    }

    fn skip_items(&mut self, items: &Type, has_keys: bool, depth: usize) -> Outcome<()> {
        let mut total = 0;
        loop {
            let mark = self.pos;
            let count = self.long()?;
            if count < 0 {
                let bytes = self.long()?;
                let Ok(bytes) = usize::try_from(bytes) else { return fault("a block of a negative size") };
                self.take(bytes)?;
                continue;
            }
            self.pos = mark;
            let Some(count) = self.block(total)? else { return Ok(()) };
            for _ in 0..count {
                if has_keys {
                    self.sized()?;
                }
                self.skip(items, depth + 1)?;
            }
            total += count;
        }
    }

    /// The number of a union's branch or of an enum's symbol.
    #[inline]
    fn branch(&mut self) -> Outcome<usize> {
        let number = self.long()?;
        Ok(usize::try_from(number).unwrap_or(usize::MAX))
    }

    /// A number in zig-zag form, seven bits a byte.
    #[inline]
    fn long(&mut self) -> Outcome<i64> {
        let mut value = 0_u64;
        let mut shift = 0;
        loop {
            let Some(byte) = self.bytes.get(self.pos).copied() else { return fault("the record ends too early") };
            self.pos += 1;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                break;
            }
            shift += 7;
            if shift > 63 {
                return fault("a number of more than ten bytes");
            }
        }
        Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }

    #[inline]
    fn take(&mut self, size: usize) -> Outcome<&'a [u8]> {
        let end = self.pos.checked_add(size);
        match end.and_then(|end| self.bytes.get(self.pos..end)) {
            Some(bytes) => {
                self.pos += size;
                Ok(bytes)
            }
            None => fault("the record ends too early"),
        }
    }

    #[inline]
    fn sized(&mut self) -> Outcome<&'a [u8]> {
        match usize::try_from(self.long()?) {
            Ok(size) => self.take(size),
            Err(_) => fault("a text of a negative size"),
        }
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Outcome<[u8; N]> {
        let bytes = self.take(N)?;
        bytes.try_into().or_else(|_| fault("the record ends too early"))
    }
}

/// Digits as big-endian two's complement; `None` when they are too many.
fn integer(bytes: &[u8]) -> Option<i128> {
    let is_negative = bytes.first().is_some_and(|b| *b >= 0x80);
    let fill = if is_negative { 0xff } else { 0 };
    let (head, tail) = bytes.split_at(bytes.len().saturating_sub(16));
    if head.iter().any(|b| *b != fill) {
        return None;
    }
    let mut wide = [fill; 16];
    wide.get_mut(16 - tail.len()..)?.copy_from_slice(tail);
    let value = i128::from_be_bytes(wide);
    ((value < 0) == is_negative).then_some(value)
}

/// The digits with more, or rounded to fewer, behind the point.
fn shifted(digits: i128, shift: i32) -> Option<i128> {
    let factor = 10_i128.checked_pow(shift.unsigned_abs())?;
    if shift >= 0 {
        return digits.checked_mul(factor);
    }
    let (quotient, rest) = (digits / factor, digits % factor);
    let away = i128::from(rest.unsigned_abs() * 2 >= factor.unsigned_abs());
    Some(quotient + away * digits.signum())
}
