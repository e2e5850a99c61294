//! The WITH keys of datagen, turned into one generator per column.

use wiesel_core::options::Options;
use wiesel_core::table::TableDescriptor;
use wiesel_core::{DataType, Error, Result, TypeKind};

use super::generator::{Generate, Generator, random};
use super::made_up;
use crate::registry::refuse_metadata;

/// Rows per second unless set.
const ROWS_PER_SECOND_DEFAULT: u64 = 10_000;
/// The length of STRING and BYTES unless set.
const TEXT_LENGTH_DEFAULT: u32 = 100;
/// The size of collections unless set.
const COLLECTION_LENGTH_DEFAULT: u32 = 3;
/// The most bytes that a row may take.
const ROW_BYTES_MAX: usize = 16 << 20;
/// The longest value that may be asked for.
const LENGTH_MAX: u32 = 1 << 20;

/// The words of `fields.<column>.kind`: Flink's two, then those of `realistic.rs`.
const KINDS: [&str; 17] = [
    "random",
    "sequence",
    "choice",
    "event-time",
    "pattern",
    "first-name",
    "last-name",
    "name",
    "email",
    "city",
    "country",
    "word",
    "sentence",
    "ipv4",
    "uuid",
    "url",
    "user-agent",
];

/// A datagen table.
pub(super) struct DatagenOptions {
    /// The rate.
    pub(super) rows_per_second: u64,
    /// When the source ends; `None` = never.
    pub(super) rows_total: Option<u64>,
    /// One per column of the table.
    pub(super) generators: Vec<Generator>,
    /// What was taken without effect.
    pub(super) notes: Vec<String>,
}

impl DatagenOptions {
    /// Reads and checks all options.
    pub(super) fn read(table: &TableDescriptor) -> Result<Self> {
        refuse_metadata(table)?;
        let mut options = Options::new(&table.name, &table.options);
        let rows_per_second = positive(&mut options, "rows-per-second")?.unwrap_or(ROWS_PER_SECOND_DEFAULT);
        let mut rows_total = positive(&mut options, "number-of-rows")?;
        let seed = options.integer("seed")?;
        let mut notes = Vec::new();
        if options.integer("scan.parallelism")?.is_some() {
            notes.push(
                "option 'scan.parallelism' has no effect: one thread makes the rows of a datagen table".to_owned(),
            );
        }
        let mut generators = Vec::with_capacity(table.columns.len());
        for (index, column) in table.columns.iter().enumerate() {
            let prefix = format!("fields.{}", column.name);
            let column_seed = index as u64 + 1;
            let column_seed = seed.map_or(column_seed, |seed| random(seed.cast_unsigned(), column_seed));
            let generator = read_generator(&mut options, &prefix, &column.data_type, column_seed)?;
            if let Generate::Sequence { start, end } = &generator.generate {
                let rows = end.wrapping_sub(*start).cast_unsigned().saturating_add(1);
                rows_total = Some(rows_total.map_or(rows, |total| total.min(rows)));
            }
            generators.push(generator);
        }
        options.finish()?;
        let width = generators.iter().fold(0_usize, |sum, g| sum.saturating_add(g.width()));
        if width > ROW_BYTES_MAX {
            return Err(Error::config(format!(
                "a row of table `{}` would take {width} bytes, more than {ROW_BYTES_MAX}",
                table.name
            ))
            .hint("make the lengths of its columns smaller"));
        }
        Ok(DatagenOptions { rows_per_second, rows_total, generators, notes })
    }
}

fn positive(options: &mut Options<'_>, key: &str) -> Result<Option<u64>> {
    let Some(number) = options.integer(key)? else { return Ok(None) };
    match u64::try_from(number) {
        Ok(number) if number > 0 => Ok(Some(number)),
        _ => Err(options.invalid(key, &number.to_string(), "a number above 0")),
    }
}

fn read_generator(options: &mut Options<'_>, prefix: &str, data_type: &DataType, seed: u64) -> Result<Generator> {
    let kind = &data_type.kind;
    let null_rate = read_null_rate(options, prefix)?;
    let generate = match options.one_of(&format!("{prefix}.kind"), &KINDS)? {
        Some("sequence") => read_sequence(options, prefix, kind)?,
        None | Some("random") => read_random(options, prefix, kind, seed)?,
        Some(name) => made_up::read(options, prefix, kind, name)?,
    };
    Ok(Generator { kind: kind.clone(), seed, null_rate, generate })
}

fn read_null_rate(options: &mut Options<'_>, prefix: &str) -> Result<f64> {
    read_share(options, &format!("{prefix}.null-rate"))
}

/// A share of all rows; none unless set.
pub(super) fn read_share(options: &mut Options<'_>, key: &str) -> Result<f64> {
    let Some(text) = options.get(key) else { return Ok(0.0) };
    match text.trim().parse::<f64>() {
        Ok(rate) if (0.0..=1.0).contains(&rate) => Ok(rate),
        _ => Err(options.invalid(key, text, "a share between 0 and 1")),
    }
}

fn read_sequence(options: &mut Options<'_>, prefix: &str, kind: &TypeKind) -> Result<Generate> {
    let is_possible = kind.is_string() || kind.is_numeric();
    if !is_possible {
        let key = format!("{prefix}.kind");
        return Err(options.invalid(&key, "sequence", &format!("random, the only kind for {kind}")));
    }
    let (start_key, end_key) = (format!("{prefix}.start"), format!("{prefix}.end"));
    let (Some(start), Some(end)) = (options.integer(&start_key)?, options.integer(&end_key)?) else {
        return Err(Error::config(format!("a sequence needs both '{start_key}' and '{end_key}'")));
    };
    if end < start {
        return Err(options.invalid(
            &end_key,
            &end.to_string(),
            &format!("a value not below '{start_key}' = '{start}'"),
        ));
    }
    let (min, max) = integer_range(kind);
    if start < min || end > max {
        return Err(options.invalid(&end_key, &end.to_string(), &format!("values that fit {kind}")));
    }
    Ok(Generate::Sequence { start, end })
}

/// The values that a number type can hold, as far as i64 reaches.
pub(super) fn integer_range(kind: &TypeKind) -> (i64, i64) {
    match kind {
        TypeKind::TinyInt => (i8::MIN.into(), i8::MAX.into()),
        TypeKind::SmallInt => (i16::MIN.into(), i16::MAX.into()),
        TypeKind::Int | TypeKind::IntervalYearMonth => (i32::MIN.into(), i32::MAX.into()),
        TypeKind::Decimal { precision, scale } => {
            let max = 10_i64.checked_pow(u32::from(precision.saturating_sub(*scale))).map_or(i64::MAX, |n| n - 1);
            (-max, max)
        }
        _ => (i64::MIN, i64::MAX),
    }
}

fn read_random(options: &mut Options<'_>, prefix: &str, kind: &TypeKind, seed: u64) -> Result<Generate> {
    Ok(match kind {
        TypeKind::Null | TypeKind::Boolean => Generate::Boolean,
        TypeKind::TinyInt | TypeKind::SmallInt | TypeKind::Int | TypeKind::BigInt => {
            let (lowest, highest) = integer_range(kind);
            let (min_key, max_key) = (format!("{prefix}.min"), format!("{prefix}.max"));
            let min = options.integer(&min_key)?.unwrap_or(lowest);
            let max = options.integer(&max_key)?.unwrap_or(highest);
            if min < lowest || max > highest || min > max {
                let found = format!("{min} to {max}");
                return Err(options.invalid(&max_key, &found, &format!("bounds in order that fit {kind}")));
            }
            let skew = made_up::read_skew(options, prefix)?;
            Generate::Integer { min, max, skew }
        }
        TypeKind::IntervalYearMonth => Generate::Integer { min: 0, max: 120_000, skew: 0.0 },
        TypeKind::IntervalDayTime => Generate::Integer { min: 0, max: i64::from(i32::MAX), skew: 0.0 },
        TypeKind::Float => read_float(options, prefix, f64::from(f32::MAX))?,
        TypeKind::Double => read_float(options, prefix, f64::MAX)?,
        TypeKind::Decimal { precision, scale } => {
            let highest = 10_f64.powi(i32::from(*precision) - i32::from(*scale));
            let Generate::Float { min, max } = read_float(options, prefix, highest)? else {
                return Err(Error::internal("bounds of a random DECIMAL"));
            };
            let unit = 10_f64.powi(i32::from(*scale));
            let largest = 10_i128.pow(u32::from(*precision)) - 1;
            // A float to integer cast saturates, so bounds outside the type end at the type's own.
            let bound = |x: f64| ((x * unit) as i128).clamp(-largest, largest);
            Generate::Decimal { min: bound(min), max: bound(max) }
        }
        TypeKind::Char(length) | TypeKind::Binary(length) => {
            Generate::Text { length: read_length(options, prefix, *length, *length)?, is_var_len: false }
        }
        TypeKind::VarChar(longest) | TypeKind::VarBinary(longest) => {
            let default = if *longest == wiesel_core::types::MAX_LENGTH { TEXT_LENGTH_DEFAULT } else { *longest };
            let length = read_length(options, prefix, default, *longest)?;
            Generate::Text { length, is_var_len: options.boolean(&format!("{prefix}.var-len"), false)? }
        }
        TypeKind::Date => Generate::Today,
        TypeKind::Time(_) => Generate::TimeOfDay,
        TypeKind::Timestamp(_) | TypeKind::TimestampLtz(_) => {
            let key = format!("{prefix}.max-past");
            let max_past = options.duration(&key)?.unwrap_or_default();
            Generate::Timestamp { past_ms_max: u64::try_from(max_past.as_millis()).unwrap_or(u64::MAX) }
        }
        TypeKind::Array(element) | TypeKind::Multiset(element) => {
            let children = vec![read_generator(options, &format!("{prefix}.element"), element, child_seed(seed, 0))?];
            read_collection(options, prefix, children)?
        }
        TypeKind::Map(key, value) => {
            let children = vec![
                read_generator(options, &format!("{prefix}.key"), key, child_seed(seed, 0))?,
                read_generator(options, &format!("{prefix}.value"), value, child_seed(seed, 1))?,
            ];
            read_collection(options, prefix, children)?
        }
        TypeKind::Row(fields) => {
            let mut children = Vec::with_capacity(fields.len());
            for (index, field) in fields.iter().enumerate() {
                let prefix = format!("{prefix}.{}", field.name);
                children.push(read_generator(options, &prefix, &field.data_type, child_seed(seed, index as u64))?);
            }
            Generate::Row(children)
        }
    })
}

fn read_collection(options: &mut Options<'_>, prefix: &str, children: Vec<Generator>) -> Result<Generate> {
    let length = read_length(options, prefix, COLLECTION_LENGTH_DEFAULT, LENGTH_MAX)?;
    let is_var_len = options.boolean(&format!("{prefix}.var-len"), false)?;
    Ok(Generate::Collection { length, is_var_len, children })
}

fn read_float(options: &mut Options<'_>, prefix: &str, highest: f64) -> Result<Generate> {
    let mut bound = |name: &str, default: f64| {
        let key = format!("{prefix}.{name}");
        let Some(text) = options.get(&key) else { return Ok(default) };
        match text.trim().parse::<f64>() {
            Ok(x) if x.is_finite() && x.abs() <= highest => Ok(x),
            _ => Err(options.invalid(&key, text, "a number that fits the column")),
        }
    };
    let (min, max) = (bound("min", 0.0)?, bound("max", highest)?);
    if min > max {
        return Err(options.invalid(&format!("{prefix}.max"), &max.to_string(), "a bound not below `min`"));
    }
    Ok(Generate::Float { min, max })
}

fn read_length(options: &mut Options<'_>, prefix: &str, default: u32, longest: u32) -> Result<u32> {
    let key = format!("{prefix}.length");
    let length = match options.integer(&key)? {
        None => default,
        Some(length) => u32::try_from(length)
            .ok()
            .filter(|l| *l <= longest)
            .ok_or_else(|| options.invalid(&key, &length.to_string(), &format!("a length between 0 and {longest}")))?,
    };
    if length > LENGTH_MAX {
        return Err(options.invalid(&key, &length.to_string(), &format!("a length between 0 and {LENGTH_MAX}")));
    }
    Ok(length)
}

fn child_seed(seed: u64, index: u64) -> u64 {
    seed.wrapping_mul(0x100_0000_01B3).wrapping_add(index + 1)
}
