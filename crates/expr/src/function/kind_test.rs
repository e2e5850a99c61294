//! IS_ALPHA, IS_DECIMAL and IS_DIGIT: what a text is made of. FALSE for NULL and for an empty text.

use std::sync::Arc;

use arrow_array::{ArrayRef, BooleanArray};
use arrow_buffer::BooleanBuffer;
use wiesel_core::{DataType, TypeKind};

use crate::cast::parse::parse_double;
use crate::function::binding::{Param, accept};
use crate::function::define::Plain;
use crate::function::{Argument, FunctionError, Operand, Signature};

pub(crate) static IS_ALPHA: Plain = Plain::new(
    "IS_ALPHA",
    "IS_ALPHA(string): whether the text is made of letters alone",
    |args| bind(args, "IS_ALPHA takes (STRING)"),
    |args, _, rows, _| Ok(test(args, rows, |text| text.chars().all(char::is_alphabetic))),
)
.total();

pub(crate) static IS_DECIMAL: Plain = Plain::new(
    "IS_DECIMAL",
    "IS_DECIMAL(string): whether the text is a number",
    |args| bind(args, "IS_DECIMAL takes (STRING)"),
    |args, _, rows, _| Ok(test(args, rows, |text| parse_double(text).is_some())),
)
.total();

pub(crate) static IS_DIGIT: Plain = Plain::new(
    "IS_DIGIT",
    "IS_DIGIT(string): whether the text is made of digits alone",
    |args| bind(args, "IS_DIGIT takes (STRING)"),
    |args, _, rows, _| Ok(test(args, rows, |text| text.chars().all(char::is_numeric))),
)
.total();

fn bind(args: &[Argument<'_>], usage: &str) -> Result<Signature, FunctionError> {
    let args = accept(args, &[Param::Text], 1, usage)?;
    Ok(Signature { args, returns: DataType::not_null(TypeKind::Boolean) })
}

fn test(args: &[Operand], rows: usize, holds: impl Fn(&str) -> bool) -> ArrayRef {
    let texts = args[0].strings();
    let values =
        BooleanBuffer::collect_bool(rows, |row| texts.get(row).is_some_and(|text| !text.is_empty() && holds(text)));
    Arc::new(BooleanArray::new(values, None))
}

#[cfg(test)]
mod tests {
    use crate::function::testing::{check, null_s, s};

    #[test]
    fn texts_are_told_by_their_characters() {
        check(&[
            ("IS_ALPHA", vec![s("abc")], "TRUE"),
            ("IS_ALPHA", vec![s("abc1")], "FALSE"),
            ("IS_ALPHA", vec![s("")], "FALSE"),
            ("IS_DECIMAL", vec![s("-1.5")], "TRUE"),
            ("IS_DECIMAL", vec![s("1e5")], "TRUE"),
            ("IS_DECIMAL", vec![s("a")], "FALSE"),
            ("IS_DIGIT", vec![s("12")], "TRUE"),
            ("IS_DIGIT", vec![s("1.2")], "FALSE"),
        ]);
        assert_eq!(crate::function::testing::run("IS_ALPHA", &[null_s()]), "FALSE");
    }
}
