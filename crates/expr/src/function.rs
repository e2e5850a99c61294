//! The registry of scalar functions, a plain sorted list, and the trait each of them implements.

mod arithmetic;
mod array;
mod array_set;
mod binding;
mod case;
mod collection;
mod comparison;
mod concat;
mod datetime;
mod define;
mod elt;
mod encode;
mod extreme;
mod geoip;
mod hash;
mod in_list;
mod json;
mod kind_test;
mod like;
mod logic;
mod map;
mod map_build;
mod math;
mod null;
mod pad;
mod printf;
mod random;
mod regexp;
mod regexp_find;
mod regexp_matcher;
mod round;
mod search;
mod similar;
mod split;
mod substring;
#[cfg(test)]
pub(crate) mod testing;
mod text_pattern;
mod translate;
mod trim;
mod type_of;
mod url;
mod url_code;
mod user_agent;

use arrow_array::ArrayRef;
use wiesel_core::{DataType, Result, Value};

use crate::eval::EvalContext;

pub use geoip::{from_csv as places_from_csv, look_beside as look_for_places_beside};

/// Why a call does not bind; the binder adds place and caret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionError {
    /// What was expected, e.g. `SUBSTRING takes (STRING, INT [, INT])`.
    pub expected: String,
}

/// What a call binds to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// The types the arguments must be cast to before evaluation.
    pub args: Vec<DataType>,
    /// The result type, with nullability.
    pub returns: DataType,
}

/// An argument as the binder knows it.
#[derive(Debug, Clone)]
pub struct Argument<'a> {
    /// Its type.
    pub data_type: &'a DataType,
    /// Its value, when it is a literal.
    pub literal: Option<&'a Value>,
}

/// One argument column of an evaluation.
#[derive(Debug, Clone)]
pub enum Operand {
    /// A column of as many rows as the batch.
    Column(ArrayRef),
    /// A constant: a column of one row, and its value.
    Constant(ArrayRef, Value),
}

/// A scalar function.
///
/// Contract:
/// - `bind` and `eval` agree: `eval` is called with columns of exactly the types `bind` returned (trusted);
/// - `eval` returns a column of `rows` rows and of the Arrow type of `returns` (asserted);
/// - `eval` depends on its arguments and the context only (trusted).
pub trait ScalarFunction: Send + Sync + std::fmt::Debug {
    /// The SQL name in upper case; names resolve without regard to case. Operators use their symbol (`+`, `=`).
    fn name(&self) -> &'static str;
    /// One line for the reference page: signature, then what it does.
    fn doc(&self) -> &'static str;
    /// Decides argument and result types.
    fn bind(&self, args: &[Argument<'_>]) -> std::result::Result<Signature, FunctionError>;
    /// Opens what a call with these arguments needs besides its rows, such as a file. Asked once while the plan is made, so that what is
    /// missing is an error with a place in the text.
    fn open(&self, _args: &[Argument<'_>]) -> Result<()> {
        Ok(())
    }
    /// Evaluates on columns.
    fn eval(&self, args: &[Operand], call: &Signature, rows: usize, context: &EvalContext) -> Result<ArrayRef>;
    /// Whether equal arguments give equal results (RAND, NOW, UUID do not): only then may the planner fold constants.
    fn is_deterministic(&self) -> bool {
        true
    }
    /// Whether it may refuse rows ([`crate::refusal`]).
    fn refuses_rows(&self) -> bool {
        false
    }
    /// Whether the planner may call it, to fold constants.
    fn is_foldable(&self) -> bool {
        self.is_deterministic()
    }
    /// Whether no row of these types can make it fail, and it is cheap: then it is evaluated without first filtering the rows that
    /// reach it.
    fn is_total(&self, _args: &[DataType]) -> bool {
        false
    }
    /// Working state of one call in one expression: compiled patterns, formats, paths. When given, it is used instead of `eval`.
    fn prepare(&self) -> Option<Box<dyn PreparedCall>> {
        None
    }
    /// Which calls this one may be answered together with, where a call is a trip to another process.
    fn membership(&self) -> Option<Membership> {
        None
    }
    /// One function that answers calls of this one's family: its arguments are inputs of these types, its result is a ROW NOT NULL of
    /// nullable fields f0, f1, .., one per call.
    fn join(&self, _calls: Vec<JoinedCall>, _inputs: Vec<DataType>) -> Option<&'static dyn ScalarFunction> {
        None
    }
}

/// A function among those that can be called together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Membership {
    /// Functions of one family go together.
    pub family: usize,
    /// The function in its family.
    pub number: usize,
}

/// One call of several that go together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct JoinedCall {
    /// Its function's number.
    pub number: usize,
    /// Its arguments.
    pub arguments: Vec<JoinedArgument>,
}

/// An argument of such a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum JoinedArgument {
    /// An input of the trip.
    Input(usize),
    /// The result of an earlier call.
    Call(usize),
}

/// One call with its own working state; the contract is that of [`ScalarFunction::eval`].
pub trait PreparedCall: Send + std::fmt::Debug {
    /// Evaluates on columns.
    fn eval(&mut self, args: &[Operand], call: &Signature, rows: usize, context: &EvalContext) -> Result<ArrayRef>;
}

/// The function of that name, in any case.
pub fn lookup(name: &str) -> Option<&'static dyn ScalarFunction> {
    let name = name.to_ascii_uppercase();
    let index = REGISTRY.binary_search_by(|f| f.name().cmp(name.as_str())).ok()?;
    REGISTRY.get(index).copied()
}

/// Every scalar function and operator, sorted by name.
pub fn all() -> &'static [&'static dyn ScalarFunction] {
    REGISTRY
}

/// The registry: a plain list, in the order of names that the search relies on (a test checks it).
static REGISTRY: &[&dyn ScalarFunction] = &[
    &arithmetic::REMAINDER,
    &arithmetic::MULTIPLY,
    &arithmetic::PLUS,
    &arithmetic::MINUS,
    &arithmetic::DIVIDE,
    &comparison::LESS,
    &comparison::LESS_EQUAL,
    &comparison::NOT_EQUAL,
    &comparison::EQUAL,
    &comparison::GREATER,
    &comparison::GREATER_EQUAL,
    &math::ABS,
    &math::ACOS,
    &collection::ARRAY,
    &array_set::ARRAY_APPEND,
    &array_set::ARRAY_CONCAT,
    &collection::ARRAY_CONTAINS,
    &array::ARRAY_DISTINCT,
    &array_set::ARRAY_EXCEPT,
    &array_set::ARRAY_INTERSECT,
    &array::ARRAY_JOIN,
    &array_set::ARRAY_MAX,
    &array_set::ARRAY_MIN,
    &array::ARRAY_POSITION,
    &array_set::ARRAY_PREPEND,
    &array_set::ARRAY_REMOVE,
    &array::ARRAY_REVERSE,
    &array_set::ARRAY_SLICE,
    &array_set::ARRAY_SORT,
    &array_set::ARRAY_UNION,
    &encode::ASCII,
    &math::ASIN,
    &math::ATAN,
    &math::ATAN2,
    &encode::BIN,
    &trim::BTRIM,
    &collection::CARDINALITY,
    &round::CEIL,
    &round::CEILING,
    &datetime::floor::CEIL_TO,
    &substring::CHARACTER_LENGTH,
    &substring::CHAR_LENGTH,
    &encode::CHR,
    &concat::CONCAT,
    &concat::CONCAT_WS,
    &datetime::parse::CONVERT_TZ,
    &math::COS,
    &math::COSH,
    &math::COT,
    &datetime::now::CURRENT_DATE,
    &datetime::now::CURRENT_ROW_TIMESTAMP,
    &datetime::now::CURRENT_TIME,
    &datetime::now::CURRENT_TIMESTAMP,
    &datetime::now::CURRENT_WATERMARK,
    &datetime::format::DATE_FORMAT,
    &datetime::extract::DAYOFMONTH,
    &datetime::extract::DAYOFWEEK,
    &datetime::extract::DAYOFYEAR,
    &encode::DECODE,
    &math::DEGREES,
    &math::E,
    &array::ELEMENT,
    &elt::ELT,
    &encode::ENCODE,
    &search::ENDSWITH,
    &math::EXP,
    &datetime::extract::EXTRACT,
    &round::FLOOR,
    &datetime::floor::FLOOR_TO,
    &hash::FROM_BASE64,
    &datetime::epoch::FROM_UNIXTIME,
    &geoip::Geoip,
    &extreme::GREATEST,
    &encode::HEX,
    &datetime::extract::HOUR,
    &in_list::IN,
    &case::INITCAP,
    &search::INSTR,
    &comparison::IS_DISTINCT_FROM,
    &logic::IS_FALSE,
    &json::IS_JSON_ARRAY,
    &json::IS_JSON_OBJECT,
    &json::IS_JSON_SCALAR,
    &json::IS_JSON_VALUE,
    &comparison::IS_NOT_DISTINCT_FROM,
    &logic::IS_NOT_FALSE,
    &json::IS_NOT_JSON_ARRAY,
    &json::IS_NOT_JSON_OBJECT,
    &json::IS_NOT_JSON_SCALAR,
    &json::IS_NOT_JSON_VALUE,
    &null::IS_NOT_NULL,
    &logic::IS_NOT_TRUE,
    &logic::IS_NOT_UNKNOWN,
    &null::IS_NULL,
    &logic::IS_TRUE,
    &logic::IS_UNKNOWN,
    &kind_test::IS_ALPHA,
    &kind_test::IS_DECIMAL,
    &kind_test::IS_DIGIT,
    &collection::ITEM,
    &json::construct::JSON_ELEMENTS,
    &json::construct::JSON_ARRAY,
    &json::JSON_EXISTS,
    &json::construct::JSON_OBJECT,
    &json::JSON_QUERY,
    &json::quote::JSON_QUOTE,
    &json::print::JSON_STRING,
    &json::quote::JSON_UNQUOTE,
    &json::JSON_VALUE,
    &extreme::LEAST,
    &substring::LEFT,
    &like::LIKE,
    &math::LN,
    &datetime::now::LOCALTIME,
    &datetime::now::LOCALTIMESTAMP,
    &search::LOCATE,
    &math::LOG,
    &math::LOG10,
    &math::LOG2,
    &case::LOWER,
    &pad::LPAD,
    &trim::LTRIM,
    &collection::MAP,
    &map_build::MAP_ENTRIES,
    &map_build::MAP_FROM_ARRAYS,
    &map::MAP_KEYS,
    &map_build::MAP_UNION,
    &map::MAP_VALUES,
    &hash::MD5,
    &datetime::extract::MINUTE,
    &arithmetic::MOD,
    &datetime::extract::MONTH,
    &logic::Not,
    &datetime::now::NOW,
    &substring::OVERLAY,
    &url::PARSE_URL,
    &math::PI,
    &search::POSITION,
    &math::POWER,
    &printf::PRINTF,
    &datetime::now::PROCTIME,
    &datetime::extract::QUARTER,
    &math::RADIANS,
    &random::RAND,
    &random::RAND_INTEGER,
    &regexp::REGEXP,
    &regexp_find::REGEXP_COUNT,
    &regexp::REGEXP_EXTRACT,
    &regexp_find::REGEXP_EXTRACT_ALL,
    &regexp_find::REGEXP_INSTR,
    &regexp::REGEXP_REPLACE,
    &regexp_find::REGEXP_SUBSTR,
    &pad::REPEAT,
    &search::REPLACE,
    &pad::REVERSE,
    &substring::RIGHT,
    &round::ROUND,
    &collection::ROW,
    &pad::RPAD,
    &trim::RTRIM,
    &datetime::extract::SECOND,
    &hash::SHA1,
    &hash::SHA2,
    &hash::SHA224,
    &hash::SHA256,
    &hash::SHA384,
    &hash::SHA512,
    &math::SIGN,
    &similar::SIMILAR_TO,
    &math::SIN,
    &math::SINH,
    &split::SPLIT,
    &split::SPLIT_INDEX,
    &math::SQRT,
    &search::STARTSWITH,
    &map::STR_TO_MAP,
    &substring::SUBSTR,
    &substring::SUBSTRING,
    &math::TAN,
    &math::TANH,
    &datetime::add::TIMESTAMPADD,
    &datetime::diff::TIMESTAMPDIFF,
    &hash::TO_BASE64,
    &datetime::parse::TO_DATE,
    &datetime::parse::TO_TIMESTAMP,
    &datetime::epoch::TO_TIMESTAMP_LTZ,
    &translate::TRANSLATE,
    &trim::TRIM,
    &round::TRUNCATE,
    &type_of::TYPEOF,
    &encode::UNHEX,
    &datetime::epoch::UnixTimestamp,
    &case::UPPER,
    &url_code::URL_DECODE,
    &url_code::URL_ENCODE,
    &user_agent::USER_AGENT,
    &random::UUID,
    &datetime::extract::WEEK,
    &datetime::extract::YEAR,
    &concat::CONCAT_OPERATOR,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_registry_is_sorted_and_every_name_is_found() {
        for pair in REGISTRY.windows(2) {
            assert!(pair[0].name() < pair[1].name(), "`{}` must stand behind `{}`", pair[0].name(), pair[1].name());
        }
        for function in REGISTRY {
            let found = lookup(&function.name().to_ascii_lowercase()).map(|f| f.name());
            assert_eq!(found, Some(function.name()));
        }
    }
}
