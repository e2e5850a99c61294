//! TRANSLATE(string, from, to): characters replaced one by one (Flink 2.0).
//!
//! NULL as `from` leaves the text as it is, NULL as `to` counts as an empty text: only a NULL text gives NULL.

use std::collections::HashMap;

use arrow_array::ArrayRef;
use wiesel_core::{DataType, Result};

use crate::eval::EvalContext;
use crate::function::binding::{Param, accept, nullable};
use crate::function::define::Compiling;
use crate::function::{Operand, PreparedCall, Signature};
use crate::operand::TextBuilder;

pub(crate) static TRANSLATE: Compiling = Compiling::new(
    "TRANSLATE",
    "TRANSLATE(string, from, to): every character of `from` becomes the one at its place in `to`, or goes when `to` is shorter",
    |args| {
        let types = accept(args, &[Param::Text; 3], 3, "TRANSLATE takes (STRING, from STRING, to STRING)")?;
        Ok(nullable(types, DataType::string().kind))
    },
    || Box::<Translate>::default(),
);

#[derive(Debug, Default)]
struct Translate {
    from: String,
    to: String,
    /// What becomes of a character of `from`; `None` when it goes.
    table: HashMap<char, Option<char>>,
}

impl Translate {
    fn set(&mut self, from: &str, to: &str) {
        if self.from == from && self.to == to {
            return;
        }
        from.clone_into(&mut self.from);
        to.clone_into(&mut self.to);
        self.table.clear();
        let mut targets = to.chars();
        for c in from.chars() {
            let target = targets.next();
            // Of several entries of a character the first one counts.
            self.table.entry(c).or_insert(target);
        }
    }
}

impl PreparedCall for Translate {
    fn eval(&mut self, args: &[Operand], _: &Signature, rows: usize, _: &EvalContext) -> Result<ArrayRef> {
        let (texts, from, to) = (args[0].strings(), args[1].strings(), args[2].strings());
        let mut out = TextBuilder::new(rows, texts.byte_count(rows));
        for row in 0..rows {
            let Some(text) = texts.get(row) else {
                out.null();
                continue;
            };
            self.set(from.get(row).unwrap_or(""), to.get(row).unwrap_or(""));
            for c in text.chars() {
                match self.table.get(&c) {
                    None => out.push(c),
                    Some(Some(target)) => out.push(*target),
                    Some(None) => {}
                }
            }
            out.end();
        }
        out.finish()
    }
}

#[cfg(test)]
mod tests {
    use crate::function::testing::{check, null_s, s};

    #[test]
    fn characters_are_replaced_one_by_one() {
        let translate = |text: &str, from: &str, to: &str| vec![s(text), s(from), s(to)];
        check(&[
            ("TRANSLATE", translate("abcba", "ab", "xy"), "xycyx"),
            ("TRANSLATE", translate("abcba", "abc", "x"), "xx"),
            ("TRANSLATE", translate("abc", "aa", "xy"), "xbc"),
            ("TRANSLATE", translate("abc", "", "xy"), "abc"),
            ("TRANSLATE", translate("aé😀", "😀é", "12"), "a21"),
            ("TRANSLATE", vec![s("abc"), null_s(), s("x")], "abc"),
            ("TRANSLATE", vec![s("abc"), s("b"), null_s()], "ac"),
            ("TRANSLATE", vec![null_s(), s("b"), s("x")], "NULL"),
        ]);
    }
}
