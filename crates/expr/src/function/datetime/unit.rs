//! Units of time, as EXTRACT, FLOOR, TIMESTAMPADD and TIMESTAMPDIFF take them: a literal text such as `MONTH`.

use wiesel_core::Value;

use crate::function::binding::takes;
use crate::function::{Argument, FunctionError, Operand};
use wiesel_core::{Error, Result};

/// A unit of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    Millennium,
    Century,
    Decade,
    Year,
    IsoYear,
    Quarter,
    Month,
    Week,
    Day,
    DayOfWeek,
    IsoDayOfWeek,
    DayOfYear,
    Hour,
    Minute,
    Second,
    Millisecond,
    Microsecond,
    Nanosecond,
    Epoch,
}

impl Unit {
    /// The unit of that name; `SQL_TSI_DAY` and plurals are taken too.
    pub(crate) fn new(name: &str) -> Option<Unit> {
        let name = name.to_ascii_uppercase();
        let name = name.strip_prefix("SQL_TSI_").unwrap_or(&name);
        Some(match name.strip_suffix('S').unwrap_or(name) {
            "MILLENNIUM" => Unit::Millennium,
            "CENTURY" => Unit::Century,
            "DECADE" => Unit::Decade,
            "YEAR" => Unit::Year,
            "ISOYEAR" => Unit::IsoYear,
            "QUARTER" => Unit::Quarter,
            "MONTH" => Unit::Month,
            "WEEK" => Unit::Week,
            "DAY" => Unit::Day,
            "DOW" => Unit::DayOfWeek,
            "ISODOW" => Unit::IsoDayOfWeek,
            "DOY" => Unit::DayOfYear,
            "HOUR" => Unit::Hour,
            "MINUTE" => Unit::Minute,
            "SECOND" => Unit::Second,
            "MILLISECOND" => Unit::Millisecond,
            "MICROSECOND" => Unit::Microsecond,
            "NANOSECOND" => Unit::Nanosecond,
            "EPOCH" => Unit::Epoch,
            _ => return None,
        })
    }

    /// The unit that a literal argument names.
    pub(crate) fn bind(argument: &Argument<'_>) -> std::result::Result<Unit, FunctionError> {
        match argument.literal {
            Some(Value::String(name)) => {
                Unit::new(name).ok_or_else(|| takes(&format!("`{name}` is not a unit of time")))
            }
            _ => Err(takes("a unit of time must be a literal, such as DAY")),
        }
    }

    /// The unit of a bound call, `None` when it is NULL.
    pub(crate) fn of(operand: &Operand) -> Result<Option<Unit>> {
        match operand.strings().get(0) {
            None => Ok(None),
            Some(name) => {
                Unit::new(name).map(Some).ok_or_else(|| Error::internal(format!("`{name}` is not a unit of time")))
            }
        }
    }

    /// Its months, when it is one or more of them.
    pub(crate) fn months(self) -> Option<i64> {
        Some(match self {
            Unit::Millennium => 12_000,
            Unit::Century => 1_200,
            Unit::Decade => 120,
            Unit::Year | Unit::IsoYear => 12,
            Unit::Quarter => 3,
            Unit::Month => 1,
            _ => return None,
        })
    }

    /// Its nanoseconds, when it has a fixed length.
    pub(crate) fn nanos(self) -> Option<i64> {
        Some(match self {
            Unit::Week => 604_800_000_000_000,
            Unit::Day | Unit::DayOfWeek | Unit::IsoDayOfWeek | Unit::DayOfYear => 86_400_000_000_000,
            Unit::Hour => 3_600_000_000_000,
            Unit::Minute => 60_000_000_000,
            Unit::Second | Unit::Epoch => 1_000_000_000,
            Unit::Millisecond => 1_000_000,
            Unit::Microsecond => 1_000,
            Unit::Nanosecond => 1,
            _ => return None,
        })
    }
}
