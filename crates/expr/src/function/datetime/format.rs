//! DATE_FORMAT(time | text, pattern): a time as text of a Java pattern. Text is read as `yyyy-MM-dd HH:mm:ss` first.

use arrow_array::ArrayRef;
use wiesel_core::{DataType, Error, Result, TypeKind};

use crate::eval::EvalContext;
use crate::function::binding::{Param, nullable, strict, takes};
use crate::function::datetime::Walls;
use crate::function::define::Compiling;
use crate::function::{Operand, PreparedCall, Signature};
use crate::operand::{PerText, TextBuilder};
use crate::time::civil::DateTime;
use crate::time::pattern::{Dialect, Offset, Pattern};

pub(crate) static DATE_FORMAT: Compiling = Compiling::new(
    "DATE_FORMAT",
    "DATE_FORMAT(timestamp | string, pattern): the time as text of that Java pattern, such as yyyy-MM-dd",
    |args| {
        let usage = "DATE_FORMAT takes (TIMESTAMP, DATE or STRING, pattern STRING)";
        let [time, pattern] = args else { return Err(takes(usage)) };
        let pattern = Param::Text.accept(pattern.data_type).ok_or_else(|| takes(usage))?;
        match &time.data_type.kind {
            TypeKind::Timestamp(_) | TypeKind::TimestampLtz(_) | TypeKind::Date => {
                Ok(strict(vec![time.data_type.clone(), pattern], DataType::string().kind))
            }
            _ => {
                let text = Param::Text.accept(time.data_type).ok_or_else(|| takes(usage))?;
                Ok(nullable(vec![text, pattern], DataType::string().kind))
            }
        }
    },
    || Box::<Format>::default(),
);

#[derive(Debug, Default)]
struct Format {
    pattern: PerText<Pattern>,
}

/// What text is read as.
const TEXT_PATTERN: &str = "yyyy-MM-dd HH:mm:ss";

impl PreparedCall for Format {
    fn eval(&mut self, args: &[Operand], call: &Signature, rows: usize, context: &EvalContext) -> Result<ArrayRef> {
        let kind = &call.args[0].kind;
        let patterns = args[1].strings();
        let mut out = TextBuilder::new(rows, rows * 20);
        if kind.is_string() {
            let reader = Pattern::reading(TEXT_PATTERN, Dialect::Simple)?;
            let texts = args[0].strings();
            for row in 0..rows {
                let (Some(text), Some(pattern)) = (texts.get(row), patterns.get(row)) else {
                    out.null();
                    continue;
                };
                let pattern = self.pattern.get(pattern, |p| Pattern::new(p, Dialect::Simple))?;
                match reader.parse(text) {
                    None => out.null(),
                    Some(at) => {
                        write(pattern, &mut out, at)?;
                        out.end();
                    }
                }
            }
            return out.finish();
        }
        let dialect = if *kind == TypeKind::Date { Dialect::Simple } else { Dialect::Formatter };
        let walls = Walls::new(&args[0], kind, context)?;
        for row in 0..rows {
            let (Some((seconds, nano)), Some(pattern)) = (walls.get(row), patterns.get(row)) else {
                out.null();
                continue;
            };
            let pattern = self.pattern.get(pattern, |p| {
                let pattern = Pattern::new(p, dialect)?;
                if dialect == Dialect::Formatter && pattern.needs_zone() {
                    return Err(Error::config(format!(
                        "the time pattern `{p}` prints a zone, and a TIMESTAMP has none"
                    )));
                }
                Ok(pattern)
            })?;
            write(pattern, &mut out, DateTime::from_seconds(seconds, nano))?;
            out.end();
        }
        out.finish()
    }
}

fn write(pattern: &Pattern, out: &mut TextBuilder, at: DateTime) -> Result<()> {
    pattern
        .write(out, at, Some(Offset { seconds: 0, name: "UTC" }))
        .map_err(|_| Error::internal("a time could not be written"))
}

#[cfg(test)]
mod tests {
    use crate::function::testing::{check, date, null, null_s, s, ts};
    use wiesel_core::TypeKind;

    #[test]
    fn times_are_written_by_pattern() {
        check(&[
            ("DATE_FORMAT", vec![ts("2024-03-05 14:07:09.123"), s("yyyy-MM-dd HH:mm")], "2024-03-05 14:07"),
            ("DATE_FORMAT", vec![ts("2024-03-05 14:07:09.123"), s("yyyyMMdd'T'HHmmssSSS")], "20240305T140709123"),
            ("DATE_FORMAT", vec![s("2024-03-05 14:07:09"), s("yyyy/MM/dd")], "2024/03/05"),
            ("DATE_FORMAT", vec![s("x"), s("yyyy/MM/dd")], "NULL"),
            ("DATE_FORMAT", vec![date("2024-03-05"), s("dd.MM.yyyy")], "05.03.2024"),
            ("DATE_FORMAT", vec![null(TypeKind::Timestamp(3)), s("yyyy")], "NULL"),
            ("DATE_FORMAT", vec![ts("2024-03-05"), null_s()], "NULL"),
            // The last days of a year may belong to the next year's first week.
            ("DATE_FORMAT", vec![ts("2024-12-29"), s("YYYY-'W'ww e")], "2025-W01 1"),
            ("DATE_FORMAT", vec![ts("2024-02-29 12:34:56"), s("D d F w W e u Q q")], "60 29 1 9 5 5 2024 1 1"),
            ("DATE_FORMAT", vec![ts("2024-02-29 12:00:00"), s("B, MMMMM EEEEE GGGG")], "noon, F T Anno Domini"),
            ("DATE_FORMAT", vec![ts("2024-02-29 12:34:00"), s("B")], "in the afternoon"),
            (
                "DATE_FORMAT",
                vec![ts("2024-03-05"), s("pH")],
                "error: the time pattern `pH` uses `p`, which is not supported",
            ),
        ]);
    }
}
