//! TYPEOF.

use arrow_array::ArrayRef;
use wiesel_core::{DataType, Result};

use crate::eval::EvalContext;
use crate::function::binding::{takes, types_of};
use crate::function::define::Plain;
use crate::function::{Operand, Signature};
use crate::operand::TextBuilder;

pub(crate) static TYPEOF: Plain = Plain::new(
    "TYPEOF",
    "TYPEOF(value): the type of the expression, such as INT NOT NULL",
    |args| {
        if args.len() != 1 {
            return Err(takes("TYPEOF takes one value"));
        }
        Ok(Signature { args: types_of(args), returns: DataType::string().with_nullable(false) })
    },
    type_of,
)
.total();

fn type_of(_: &[Operand], call: &Signature, rows: usize, _: &EvalContext) -> Result<ArrayRef> {
    let name = call.args[0].to_string();
    let mut out = TextBuilder::new(rows, rows * name.len());
    (0..rows).for_each(|_| out.value(&name));
    out.finish()
}

#[cfg(test)]
mod tests {
    use crate::function::testing::{check, i, ints, null_s};

    #[test]
    fn types_are_named() {
        check(&[
            ("TYPEOF", vec![i(1)], "INT"),
            ("TYPEOF", vec![null_s()], "STRING"),
            ("TYPEOF", vec![ints(&[])], "ARRAY<INT>"),
        ]);
    }
}
