//! ELT(index, value1, ...): one of several values (Flink 2.0).

use std::sync::Arc;

use arrow_array::types::Int64Type;
use arrow_array::{Array, new_null_array};
use arrow_select::interleave::interleave;
use wiesel_core::TypeKind;

use crate::function::binding::{Param, nullable, takes, types_of};
use crate::function::define::Plain;

pub(crate) static ELT: Plain = Plain::new(
    "ELT",
    "ELT(index, value1, ...): the value of that place, counted from 1; NULL when there is none",
    |args| {
        let usage = "ELT takes (INT, value [, value]*), all texts or all binary values";
        let Some((index, values)) = args.split_first() else { return Err(takes(usage)) };
        let Some(index) = Param::BigInt.accept(index.data_type) else { return Err(takes(usage)) };
        let param = match values {
            [first, ..] if matches!(first.data_type.kind, TypeKind::Binary(_) | TypeKind::VarBinary(_)) => {
                Param::Binary
            }
            [_, ..] => Param::Text,
            [] => return Err(takes(usage)),
        };
        let types = types_of(values).iter().map(|t| param.accept(t)).collect::<Option<Vec<_>>>();
        let types = types.ok_or_else(|| takes(usage))?;
        let returns = match param {
            Param::Binary => TypeKind::VarBinary(wiesel_core::types::MAX_LENGTH),
            _ => wiesel_core::DataType::string().kind,
        };
        Ok(nullable(std::iter::once(index).chain(types).collect(), returns))
    },
    |args, call, rows, _| {
        let indices = args[0].numbers::<Int64Type>();
        let null = new_null_array(&call.returns.to_arrow(), 1);
        let mut sources: Vec<&dyn Array> = vec![&null];
        sources.extend(args[1..].iter().map(|a| a.array().as_ref()));
        let mut picks = Vec::with_capacity(rows);
        for row in 0..rows {
            let index = indices.get(row).and_then(|i| usize::try_from(i).ok()).filter(|i| (1..args.len()).contains(i));
            picks.push(index.map_or((0, 0), |index| (index, row * args[index].step())));
        }
        let picked = interleave(&sources, &picks)?;
        Ok(Arc::clone(&picked))
    },
)
.total();

#[cfg(test)]
mod tests {
    use crate::function::testing::{check, i, null, null_s, s};
    use wiesel_core::TypeKind;

    #[test]
    fn one_of_several_values_is_picked() {
        check(&[
            ("ELT", vec![i(2), s("a"), s("bc")], "bc"),
            ("ELT", vec![i(1), null_s(), s("bc")], "NULL"),
            ("ELT", vec![i(0), s("a")], "NULL"),
            ("ELT", vec![i(3), s("a"), s("b")], "NULL"),
            ("ELT", vec![null(TypeKind::Int), s("a")], "NULL"),
            ("ELT", vec![i(1)], "bind: ELT takes (INT, value [, value]*), all texts or all binary values"),
        ]);
    }
}
