//! How formats that are not text fill the columns: value by value, in the type they come in.
//!
//! Contract: each call adds exactly one value and returns `true`, or returns `false` because the column is of another kind or full; then the
//! caller truncates the column to its old length, as after a failed [`Column::read`].

use arrow_schema as arrow;

use super::{Column, Map, ObjectColumn, Variable};

impl Variable {
    #[inline(always)]
    fn append(&mut self, value: &[u8]) -> bool {
        self.data.extend_from_slice(value);
        let Ok(end) = i32::try_from(self.data.len()) else { return false };
        self.offsets.push(end);
        self.nulls.append_non_null();
        true
    }
}

impl Column {
    /// Adds a truth value.
    #[inline]
    pub(in crate::formats) fn append_boolean(&mut self, value: bool) -> bool {
        let Column::Boolean { values, nulls } = self else { return false };
        values.append(value);
        nulls.append_non_null();
        true
    }

    /// Adds an integer: a number of any type (TINYINT and SMALLINT keep its low bits), the days of a date, the milliseconds of a time.
    #[inline]
    #[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "as the documentation says")]
    pub(in crate::formats) fn append_integer(&mut self, value: i64) -> bool {
        match self {
            Column::BigInt(fixed) => fixed.push(value),
            Column::Int(fixed) | Column::Date(fixed) | Column::Time(fixed) => fixed.push(value as i32),
            Column::SmallInt(fixed) => fixed.push(value as i16),
            Column::TinyInt(fixed) => fixed.push(value as i8),
            Column::Float(fixed) => fixed.push(value as f32),
            Column::Double(fixed) => fixed.push(value as f64),
            _ => return false,
        }
        true
    }

    /// Adds a time of so many units of `nanos_per_unit`, since 1970.
    #[inline]
    pub(in crate::formats) fn append_time(&mut self, value: i64, nanos_per_unit: i64) -> bool {
        let Column::Timestamp { values, unit, .. } = self else { return false };
        let own = match unit {
            arrow::TimeUnit::Nanosecond => 1,
            arrow::TimeUnit::Microsecond => 1_000,
            _ => 1_000_000,
        };
        let value = if nanos_per_unit >= own {
            value.checked_mul(nanos_per_unit / own)
        } else {
            Some(value.div_euclid(own / nanos_per_unit))
        };
        match value {
            Some(value) => values.push(value),
            None => return false,
        }
        true
    }

    /// Adds a number with a fraction.
    #[inline]
    #[allow(clippy::cast_possible_truncation, reason = "a FLOAT column is fed from floats")]
    pub(in crate::formats) fn append_double(&mut self, value: f64) -> bool {
        match self {
            Column::Double(fixed) => fixed.push(value),
            Column::Float(fixed) => fixed.push(value as f32),
            _ => return false,
        }
        true
    }

    /// Adds the digits of a decimal, in the column's scale; NULL when they are too many.
    #[inline]
    pub(in crate::formats) fn append_decimal(&mut self, digits: Option<i128>) -> bool {
        let Column::Decimal { values, precision, .. } = self else { return false };
        let limit = 10_u128.checked_pow(u32::from(*precision)).unwrap_or(u128::MAX);
        match digits.filter(|d| d.unsigned_abs() < limit) {
            Some(digits) => values.push(digits),
            None => values.push_null(),
        }
        true
    }

    /// Adds bytes, or a text that the caller knows to be UTF-8.
    #[inline]
    pub(in crate::formats) fn append_bytes(&mut self, value: &[u8]) -> bool {
        match self {
            Column::String(variable) | Column::Binary(variable) => variable.append(value),
            _ => false,
        }
    }

    /// Whether the column holds text.
    #[inline]
    pub(in crate::formats) fn is_text(&self) -> bool {
        matches!(self, Column::String(_))
    }

    /// Adds an array: `fill` puts its elements into the column it is given and says how many they were.
    pub(in crate::formats) fn append_array<E>(
        &mut self,
        fill: impl FnOnce(&mut Column) -> Result<usize, E>,
    ) -> Result<bool, E> {
        let Column::Array(list) = self else { return Ok(false) };
        list.item_count += fill(&mut list.items)?;
        let Ok(end) = i32::try_from(list.item_count) else { return Ok(false) };
        list.offsets.push(end);
        list.nulls.append_non_null();
        Ok(true)
    }

    /// The column as one of maps.
    pub(in crate::formats) fn as_map(&mut self) -> Option<&mut Map> {
        if let Column::Map(map) = self { Some(map) } else { None }
    }

    /// The column as one of rows.
    #[inline]
    pub(in crate::formats) fn as_row(&mut self) -> Option<&mut ObjectColumn> {
        if let Column::Row(row) = self { Some(row) } else { None }
    }
}

impl Map {
    /// How many entries all maps have so far.
    pub(in crate::formats) fn entry_count(&self) -> usize {
        self.entry_count
    }

    /// Adds the key of an entry; its value is put into the column that comes back. `None` when there is no more room.
    pub(in crate::formats) fn append_key(&mut self, key: &[u8]) -> Option<&mut Column> {
        if !self.keys.append(key) {
            return None;
        }
        self.entry_count += 1;
        Some(&mut self.values)
    }

    /// Ordinals of the entries behind `first` that a later one of the same key replaces.
    pub(in crate::formats) fn replaced_behind(&self, first: usize) -> Vec<usize> {
        self.replaced_entries(first)
    }

    /// Forgets the entries behind `first`.
    pub(in crate::formats) fn forget_behind(&mut self, first: usize) {
        self.entry_count = first;
        self.keys.truncate(first);
        self.values.truncate(first);
    }

    /// Ends a map.
    pub(in crate::formats) fn end_map(&mut self) -> bool {
        let Ok(end) = i32::try_from(self.entry_count) else { return false };
        self.offsets.push(end);
        self.nulls.append_non_null();
        true
    }
}
