//! REGEXP_COUNT, REGEXP_EXTRACT_ALL, REGEXP_INSTR and REGEXP_SUBSTR: what a pattern matches, how often and where (Flink 2.0).
//!
//! The patterns are those of [`super::regexp`]. One that is wrong in Java gives NULL, except in REGEXP_EXTRACT_ALL, where it ends the
//! job, as does a group that the pattern does not have.

use std::sync::Arc;

use arrow_array::builder::{ListBuilder, StringBuilder};
use arrow_array::types::Int32Type;
use arrow_array::{ArrayRef, Int32Array};
use wiesel_core::{DataType, Error, Result, TypeKind};

use crate::eval::EvalContext;
use crate::function::binding::{Param, nullable};
use crate::function::define::Compiling;
use crate::function::regexp::{Patterns, bind};
use crate::function::regexp_matcher::Matcher;
use crate::function::{Argument, FunctionError, Operand, PreparedCall, Signature};
use crate::operand::TextBuilder;

pub(crate) static REGEXP_COUNT: Compiling = Compiling::new(
    "REGEXP_COUNT",
    "REGEXP_COUNT(string, pattern): how often the pattern matches",
    |args| bind_find(args, TypeKind::Int, "REGEXP_COUNT takes (STRING, STRING)"),
    || Box::<Number<Count>>::default(),
);

pub(crate) static REGEXP_INSTR: Compiling = Compiling::new(
    "REGEXP_INSTR",
    "REGEXP_INSTR(string, pattern): where the first match begins, counted from 1; 0 without a match",
    |args| bind_find(args, TypeKind::Int, "REGEXP_INSTR takes (STRING, STRING)"),
    || Box::<Number<Position>>::default(),
);

pub(crate) static REGEXP_SUBSTR: Compiling = Compiling::new(
    "REGEXP_SUBSTR",
    "REGEXP_SUBSTR(string, pattern): the first match; NULL without one",
    |args| bind_find(args, DataType::string().kind, "REGEXP_SUBSTR takes (STRING, STRING)"),
    || Box::<Substring>::default(),
);

pub(crate) static REGEXP_EXTRACT_ALL: Compiling = Compiling::new(
    "REGEXP_EXTRACT_ALL",
    "REGEXP_EXTRACT_ALL(string, pattern [, group]): what the group of each match holds, as an array; the first group by default, 0 is the whole match",
    |args| {
        let params = [Param::Text, Param::Text, Param::Int];
        let types = bind(args, &params, "REGEXP_EXTRACT_ALL takes (STRING, STRING [, INT])")?;
        Ok(nullable(types, TypeKind::Array(Box::new(DataType::string()))))
    },
    || Box::<ExtractAll>::default(),
);

fn bind_find(args: &[Argument<'_>], returns: TypeKind, usage: &str) -> std::result::Result<Signature, FunctionError> {
    Ok(nullable(bind(args, &[Param::Text; 2], usage)?, returns))
}

/// A number about the matches in a text.
trait Measure: Default + Send + std::fmt::Debug {
    fn of(regex: &Matcher, text: &str) -> Result<usize>;
}

#[derive(Debug, Default)]
struct Count;

impl Measure for Count {
    fn of(regex: &Matcher, text: &str) -> Result<usize> {
        let mut count = 0;
        regex.each(text, |_, _| count += 1)?;
        Ok(count)
    }
}

#[derive(Debug, Default)]
struct Position;

impl Measure for Position {
    fn of(regex: &Matcher, text: &str) -> Result<usize> {
        // Java counts units of UTF-16.
        let before = |start: usize| text[..start].chars().map(char::len_utf16).sum::<usize>();
        Ok(regex.find(text)?.map_or(0, |(start, _)| before(start) + 1))
    }
}

#[derive(Debug, Default)]
struct Number<M> {
    patterns: Patterns,
    measure: std::marker::PhantomData<M>,
}

impl<M: Measure> PreparedCall for Number<M> {
    fn eval(&mut self, args: &[Operand], _: &Signature, rows: usize, _: &EvalContext) -> Result<ArrayRef> {
        let (texts, patterns) = (args[0].strings(), args[1].strings());
        let mut out = Vec::with_capacity(rows);
        for row in 0..rows {
            out.push(match (texts.get(row), patterns.get(row)) {
                (Some(text), Some(pattern)) => {
                    let number = self.patterns.get(pattern)?.map(|regex| M::of(regex, text)).transpose()?;
                    number.map(|n| i32::try_from(n).unwrap_or(i32::MAX))
                }
                _ => None,
            });
        }
        Ok(Arc::new(Int32Array::from(out)))
    }
}

#[derive(Debug, Default)]
struct Substring {
    patterns: Patterns,
}

impl PreparedCall for Substring {
    fn eval(&mut self, args: &[Operand], _: &Signature, rows: usize, _: &EvalContext) -> Result<ArrayRef> {
        let (texts, patterns) = (args[0].strings(), args[1].strings());
        let mut out = TextBuilder::new(rows, texts.byte_count(rows));
        for row in 0..rows {
            match (texts.get(row), patterns.get(row)) {
                (Some(text), Some(pattern)) => {
                    let regex = self.patterns.get(pattern)?;
                    out.option(regex.map(|regex| regex.group(text, 0)).transpose()?.flatten());
                }
                _ => out.null(),
            }
        }
        out.finish()
    }
}

#[derive(Debug, Default)]
struct ExtractAll {
    patterns: Patterns,
}

impl PreparedCall for ExtractAll {
    fn eval(&mut self, args: &[Operand], _: &Signature, rows: usize, _: &EvalContext) -> Result<ArrayRef> {
        let (texts, patterns) = (args[0].strings(), args[1].strings());
        let groups = args.get(2).map(Operand::numbers::<Int32Type>);
        let mut out = ListBuilder::new(StringBuilder::with_capacity(rows, texts.byte_count(rows)));
        for row in 0..rows {
            let group = groups.map_or(Some(1), |g| g.get(row));
            let (Some(text), Some(pattern), Some(group)) = (texts.get(row), patterns.get(row), group) else {
                out.append(false);
                continue;
            };
            let regex = self.patterns.get(pattern)?.ok_or_else(|| {
                Error::data(format!("REGEXP_EXTRACT_ALL expects a regular expression, and `{pattern}` is none"))
            })?;
            let last = regex.group_count();
            let group = usize::try_from(group).ok().filter(|g| *g <= last).ok_or_else(|| {
                Error::data(format!("REGEXP_EXTRACT_ALL: `{pattern}` has no group {group}, expected 0 to {last}"))
            })?;
            regex.each_group(text, group, |found| out.values().append_option(found))?;
            out.append(true);
        }
        Ok(Arc::new(out.finish()))
    }
}

#[cfg(test)]
mod tests {
    use crate::function::testing::{check, i, null_s, s};

    #[test]
    fn matches_are_counted_placed_and_cut_out() {
        check(&[
            ("REGEXP_COUNT", vec![s("abcab"), s("ab")], "2"),
            ("REGEXP_COUNT", vec![s("abc"), s("x")], "0"),
            ("REGEXP_COUNT", vec![s("abc"), s("(")], "NULL"),
            ("REGEXP_COUNT", vec![null_s(), s("a")], "NULL"),
            ("REGEXP_INSTR", vec![s("ab12"), s("\\d")], "3"),
            ("REGEXP_INSTR", vec![s("ab"), s("\\d")], "0"),
            ("REGEXP_INSTR", vec![s("😀1"), s("\\d")], "3"),
            ("REGEXP_INSTR", vec![s("ab"), null_s()], "NULL"),
            ("REGEXP_SUBSTR", vec![s("ab12c3"), s("\\d+")], "12"),
            ("REGEXP_SUBSTR", vec![s("ab"), s("\\d+")], "NULL"),
            ("REGEXP_SUBSTR", vec![s("ab"), s("[")], "NULL"),
            ("REGEXP_EXTRACT_ALL", vec![s("100-200, 300-400"), s("(\\d+)-(\\d+)")], "[100, 300]"),
            ("REGEXP_EXTRACT_ALL", vec![s("100-200, 300-400"), s("(\\d+)-(\\d+)"), i(2)], "[200, 400]"),
            ("REGEXP_EXTRACT_ALL", vec![s("a1b2"), s("\\d"), i(0)], "[1, 2]"),
            ("REGEXP_EXTRACT_ALL", vec![s("ab"), s("(x)|b"), i(1)], "[NULL]"),
            ("REGEXP_EXTRACT_ALL", vec![s("ab"), s("(x)")], "[]"),
            ("REGEXP_EXTRACT_ALL", vec![null_s(), s("(x)")], "NULL"),
            (
                "REGEXP_EXTRACT_ALL",
                vec![s("ab"), s("b")],
                "error: REGEXP_EXTRACT_ALL: `b` has no group 1, expected 0 to 0",
            ),
            (
                "REGEXP_EXTRACT_ALL",
                vec![s("ab"), s("(")],
                "error: REGEXP_EXTRACT_ALL expects a regular expression, and `(` is none",
            ),
        ]);
    }
}
