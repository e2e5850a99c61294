//! A bare SELECT on the terminal, in the form of Flink's tableau: an `op` column, columns as wide as their type may need, within
//! `table.display.max-column-width`.

use std::io::{self, BufWriter, Write};

use wiesel_core::{ChangeBatch, DataType, Error, Result, Schema, TypeKind};
use wiesel_expr::Session;
use wiesel_expr::text::RowTexts;

/// No column is narrower.
const WIDTH_MIN: usize = 6;

/// How NULL is shown.
pub(crate) const NULL: &str = "<NULL>";

/// Prints a table row by row.
pub(crate) struct Tableau<W: Write> {
    out: BufWriter<W>,
    widths: Vec<usize>,
    texts: RowTexts,
    rows: u64,
}

impl<W: Write> Tableau<W> {
    /// Prints the head of a table.
    pub(crate) fn new(out: W, schema: &Schema, session: Session, width_max: usize) -> Result<Self> {
        let widths = schema.fields().iter().map(|f| width_of(&f.data_type, &f.name, width_max)).collect();
        let texts = RowTexts::new(schema, session);
        let mut tableau = Tableau { out: BufWriter::new(out), widths, texts, rows: 0 };
        tableau.border()?;
        let names: Vec<String> = schema.fields().iter().map(|f| f.name.clone()).collect();
        tableau.line("op", names.iter().map(String::as_str))?;
        tableau.border()?;
        tableau.flush()?;
        Ok(tableau)
    }

    /// Prints changes.
    pub(crate) fn print(&mut self, batch: &ChangeBatch) -> Result<()> {
        for (kind, values) in self.texts.rows(batch)? {
            self.line(kind.symbol(), values.iter().map(|v| v.as_deref().unwrap_or(NULL)))?;
            self.rows += 1;
        }
        self.flush()
    }

    fn finish(&mut self) -> Result<()> {
        self.border()?;
        let rows = self.rows;
        let plural = if rows == 1 { "row" } else { "rows" };
        writeln!(self.out, "Received a total of {rows} {plural}").map_err(closed)?;
        self.flush()
    }

    fn border(&mut self) -> Result<()> {
        write!(self.out, "+----+").map_err(closed)?;
        for width in &self.widths {
            write!(self.out, "{}+", "-".repeat(width + 2)).map_err(closed)?;
        }
        writeln!(self.out).map_err(closed)
    }

    fn line<'a>(&mut self, op: &str, values: impl Iterator<Item = &'a str>) -> Result<()> {
        write!(self.out, "| {op} |").map_err(closed)?;
        for (value, width) in values.zip(&self.widths) {
            let length = value.chars().count();
            if length <= *width {
                write!(self.out, " {}{value} |", " ".repeat(width - length)).map_err(closed)?;
            } else {
                let cut: String = value.chars().take(width.saturating_sub(3)).collect();
                write!(self.out, " {cut}... |").map_err(closed)?;
            }
        }
        writeln!(self.out).map_err(closed)
    }

    fn flush(&mut self) -> Result<()> {
        self.out.flush().map_err(closed)
    }
}

impl<W: Write> Drop for Tableau<W> {
    /// Prints the foot.
    fn drop(&mut self) {
        // A reader that is gone needs no foot.
        _ = self.finish();
    }
}

fn closed(error: io::Error) -> Error {
    Error::config(format!("stdout does not take rows any more: {error}"))
}

fn width_of(data_type: &DataType, name: &str, width_max: usize) -> usize {
    let by_type = match &data_type.kind {
        TypeKind::Boolean => 7,
        TypeKind::TinyInt => 4,
        TypeKind::SmallInt => 6,
        TypeKind::Int => 11,
        TypeKind::BigInt => 20,
        TypeKind::Decimal { precision, .. } => usize::from(*precision) + 3,
        TypeKind::Char(n) | TypeKind::VarChar(n) => usize::try_from(*n).unwrap_or(width_max),
        TypeKind::Date => 10,
        TypeKind::Time(_) => 8,
        TypeKind::Timestamp(0) | TypeKind::TimestampLtz(0) => 19,
        TypeKind::Timestamp(p) | TypeKind::TimestampLtz(p) => 20 + usize::from(*p),
        _ => width_max,
    };
    by_type.max(name.chars().count()).clamp(WIDTH_MIN, width_max.max(WIDTH_MIN))
}

/// A small table of text (SHOW, DESCRIBE).
pub(crate) fn text_table(columns: &[String], rows: &[Vec<Option<String>>]) -> String {
    let cell = |value: &Option<String>| value.clone().unwrap_or_else(|| NULL.to_owned());
    let widths: Vec<usize> = columns
        .iter()
        .enumerate()
        .map(|(i, name)| {
            let longest = rows.iter().filter_map(|r| r.get(i)).map(|v| cell(v).chars().count()).max();
            longest.unwrap_or(0).max(name.chars().count())
        })
        .collect();
    let border: String = widths.iter().map(|w| format!("+{}", "-".repeat(w + 2))).collect::<String>() + "+\n";
    let line = |values: Vec<String>| {
        let cells: String = values
            .iter()
            .zip(&widths)
            .map(|(v, w)| format!("| {}{v} ", " ".repeat(w.saturating_sub(v.chars().count()))))
            .collect();
        cells + "|\n"
    };
    let mut text = border.clone() + &line(columns.to_vec()) + &border;
    for row in rows {
        text.push_str(&line(row.iter().map(cell).collect()));
    }
    let plural = if rows.len() == 1 { "row" } else { "rows" };
    text + &border + &format!("{} {plural} in set\n", rows.len())
}
