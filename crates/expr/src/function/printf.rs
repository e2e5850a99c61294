//! PRINTF(format, value, ...): text put together as Java's Formatter does in the US locale (Flink 2.0).
//!
//! | conversion | values | |
//! |---|---|---|
//! | `%s` `%S` `%b` `%B` | all | as text; `%b` says `false` for NULL and FALSE, otherwise `true` |
//! | `%d` `%x` `%X` `%o` `%c` | integers | negative numbers in bases 16 and 8 are those of their type's width; `%c` is a character's code |
//! | `%f` `%e` `%E` | FLOAT, DOUBLE | 6 digits behind the point unless `.n` says otherwise, halves rounded up |
//! | `%n` `%%` | | a line end, a percent sign |
//!
//! Between `%` and the conversion: `n$` for the n-th value, the flags `-`, `0`, `+`, blank, `,`, `(` and `#`, a width, and `.n`. What does not
//! fit is an error that ends the job, as in Flink; `%g`, `%a`, `%h` and `%t` are not supported.

use arrow_array::ArrayRef;
use arrow_array::types::{Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type};
use wiesel_core::{DataType, Error, Result, TypeKind};

use crate::cast::print::write_double;
use crate::eval::EvalContext;
use crate::function::binding::{Param, nullable, takes};
use crate::function::define::Plain;
use crate::function::{Operand, Signature};
use crate::operand::TextBuilder;

/// The widest field and the most digits behind the point.
const WIDTH_MAX: usize = 10_000;

pub(crate) static PRINTF: Plain = Plain::new(
    "PRINTF",
    "PRINTF(format, value, ...): the format with its `%` parts replaced by the values, as Java's Formatter does",
    |args| {
        let usage = "PRINTF takes (format STRING [, value]*) with texts, integers, FLOAT, DOUBLE and BOOLEAN; CAST other values to STRING";
        let Some((format, values)) = args.split_first() else { return Err(takes(usage)) };
        let mut types = vec![Param::Text.accept(format.data_type).ok_or_else(|| takes(usage))?];
        for value in values {
            let kind = &value.data_type.kind;
            let is_taken = kind.is_string()
                || kind.is_integer()
                || matches!(kind, TypeKind::Float | TypeKind::Double | TypeKind::Boolean);
            types.push(match kind {
                TypeKind::Null => DataType::string(),
                _ if is_taken => value.data_type.clone(),
                _ => return Err(takes(usage)),
            });
        }
        Ok(nullable(types, DataType::string().kind))
    },
    printf,
);

/// A value of a row.
enum Item<'a> {
    Null,
    Text(&'a str),
    Boolean(bool),
    /// An integer, and how many bits its type has.
    Integer(i64, u32),
    /// A number with a fraction, and how Java prints it.
    Fraction(f64, String),
}

fn item<'a>(operand: &'a Operand, kind: &TypeKind, row: usize) -> Item<'a> {
    if operand.is_null(row) {
        return Item::Null;
    }
    let integer = |value: Option<i64>, bits| value.map_or(Item::Null, |v| Item::Integer(v, bits));
    match kind {
        TypeKind::TinyInt => integer(operand.numbers::<Int8Type>().get(row).map(i64::from), 8),
        TypeKind::SmallInt => integer(operand.numbers::<Int16Type>().get(row).map(i64::from), 16),
        TypeKind::Int => integer(operand.numbers::<Int32Type>().get(row).map(i64::from), 32),
        TypeKind::BigInt => integer(operand.numbers::<Int64Type>().get(row), 64),
        TypeKind::Boolean => operand.booleans().get(row).map_or(Item::Null, Item::Boolean),
        TypeKind::Float => operand.numbers::<Float32Type>().get(row).map_or(Item::Null, |value| {
            let mut text = String::new();
            crate::cast::print::write_float(&mut text, value);
            Item::Fraction(text.parse().unwrap_or(f64::from(value)), text)
        }),
        TypeKind::Double => operand.numbers::<Float64Type>().get(row).map_or(Item::Null, |value| {
            let mut text = String::new();
            write_double(&mut text, value);
            Item::Fraction(value, text)
        }),
        _ => operand.strings().get(row).map_or(Item::Null, Item::Text),
    }
}

fn printf(args: &[Operand], call: &Signature, rows: usize, _: &EvalContext) -> Result<ArrayRef> {
    let formats = args[0].strings();
    let mut out = TextBuilder::new(rows, formats.byte_count(rows) * 2);
    let mut text = String::new();
    for row in 0..rows {
        let Some(format) = formats.get(row) else {
            out.null();
            continue;
        };
        text.clear();
        let values = args.iter().zip(&call.args).skip(1).map(|(arg, t)| item(arg, &t.kind, row)).collect::<Vec<_>>();
        write(&mut text, format, &values)
            .map_err(|why| Error::data(format!("PRINTF: {why} in the format `{format}`")))?;
        out.value(&text);
    }
    out.finish()
}

/// What stands between `%` and the conversion.
#[derive(Default)]
struct Form {
    flags: String,
    width: usize,
    precision: Option<usize>,
}

impl Form {
    fn has(&self, flag: char) -> bool {
        self.flags.contains(flag)
    }
}

type Written = std::result::Result<(), String>;

fn write(out: &mut String, format: &str, values: &[Item<'_>]) -> Written {
    let mut next = 0;
    let mut last = None;
    let mut rest = format;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let mut place = None;
        if let Some(behind) = rest[digits..].strip_prefix('$') {
            place = rest[..digits].parse::<usize>().ok().and_then(|n| n.checked_sub(1));
            rest = behind;
        }
        let flag_end = rest.find(|c| !"-#+ 0,(<".contains(c)).ok_or("`%` at its end")?;
        let mut form = Form { flags: rest[..flag_end].to_owned(), ..Form::default() };
        rest = &rest[flag_end..];
        form.width = number(&mut rest)?.unwrap_or(0);
        if let Some(behind) = rest.strip_prefix('.') {
            rest = behind;
            form.precision = Some(number(&mut rest)?.ok_or("a point without digits")?);
        }
        let conversion = rest.chars().next().ok_or("`%` at its end")?;
        rest = &rest[conversion.len_utf8()..];
        match conversion {
            'n' => out.push('\n'),
            '%' => fill(out, "%", &form),
            _ => {
                let index = if form.has('<') {
                    last.ok_or("`<` without a value before it")?
                } else {
                    place.unwrap_or_else(|| {
                        next += 1;
                        next - 1
                    })
                };
                last = Some(index);
                let value = values.get(index).ok_or_else(|| format!("no value for `%{conversion}`"))?;
                convert(out, conversion, value, &form)?;
            }
        }
    }
    out.push_str(rest);
    Ok(())
}

fn number(rest: &mut &str) -> std::result::Result<Option<usize>, String> {
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let (digits, behind) = rest.split_at(end);
    *rest = behind;
    if digits.is_empty() {
        return Ok(None);
    }
    let number = digits.parse::<usize>().ok().filter(|n| *n <= WIDTH_MAX);
    number.map(Some).ok_or_else(|| format!("a width above {WIDTH_MAX}"))
}

fn fill(out: &mut String, text: &str, form: &Form) {
    let missing = form.width.saturating_sub(text.encode_utf16().count());
    let blanks = " ".repeat(missing);
    out.push_str(if form.has('-') { "" } else { &blanks });
    out.push_str(text);
    out.push_str(if form.has('-') { &blanks } else { "" });
}

fn convert(out: &mut String, conversion: char, value: &Item<'_>, form: &Form) -> Written {
    let text = match (conversion, value) {
        ('s' | 'S', value) => clipped(&as_text(value), form),
        ('b' | 'B', value) => {
            let truth = !matches!(value, Item::Null | Item::Boolean(false));
            clipped(if truth { "true" } else { "false" }, form)
        }
        ('d' | 'x' | 'X' | 'o' | 'c' | 'f' | 'e' | 'E', Item::Null) => clipped("null", form),
        ('c', Item::Integer(code, 8 | 16 | 32)) => {
            let c = u32::try_from(*code).ok().and_then(char::from_u32);
            c.ok_or_else(|| format!("{code} is no character"))?.to_string()
        }
        ('d', Item::Integer(value, _)) => {
            let digits = value.unsigned_abs().to_string();
            signed(*value < 0, if form.has(',') { grouped(&digits) } else { digits }, form)
        }
        ('x' | 'X' | 'o', Item::Integer(value, bits)) => {
            let value = value.cast_unsigned() & (u64::MAX >> (64 - bits));
            let (digits, sign) =
                if conversion == 'o' { (format!("{value:o}"), "0") } else { (format!("{value:x}"), "0x") };
            let sign = if form.has('#') { sign } else { "" };
            let zeros = if form.has('0') { form.width.saturating_sub(digits.len() + sign.len()) } else { 0 };
            format!("{sign}{}{digits}", "0".repeat(zeros))
        }
        ('f' | 'e' | 'E', Item::Fraction(value, _)) if !value.is_finite() => {
            let name = if value.is_nan() { "NaN" } else { "Infinity" };
            let form = Form { flags: form.flags.replace('0', ""), width: form.width, precision: None };
            if value.is_nan() { name.to_owned() } else { signed(*value < 0.0, name.to_owned(), &form) }
        }
        ('f', Item::Fraction(value, text)) => {
            let digits = fixed(text, form.precision.unwrap_or(6));
            let digits = match digits.split_once('.') {
                Some((whole, fraction)) if form.has(',') => format!("{}.{fraction}", grouped(whole)),
                None if form.has(',') => grouped(&digits),
                _ => digits,
            };
            signed(value.is_sign_negative(), digits, form)
        }
        ('e' | 'E', Item::Fraction(value, text)) => {
            signed(value.is_sign_negative(), scientific(text, form.precision.unwrap_or(6)), form)
        }
        ('d' | 'x' | 'X' | 'o' | 'c' | 'f' | 'e' | 'E', _) => {
            return Err(format!("`%{conversion}` does not take this value"));
        }
        _ => return Err(format!("`%{conversion}` is not supported")),
    };
    let text = if matches!(conversion, 'S' | 'B' | 'X' | 'E') { text.to_uppercase() } else { text };
    fill(out, &text, form);
    Ok(())
}

fn as_text(value: &Item<'_>) -> String {
    match value {
        Item::Null => "null".to_owned(),
        Item::Text(text) => (*text).to_owned(),
        Item::Boolean(value) => value.to_string(),
        Item::Integer(value, _) => value.to_string(),
        Item::Fraction(_, text) => text.clone(),
    }
}

fn clipped(text: &str, form: &Form) -> String {
    form.precision.map_or_else(|| text.to_owned(), |count| text.chars().take(count).collect())
}

fn signed(is_negative: bool, digits: String, form: &Form) -> String {
    let (before, behind) = match is_negative {
        true if form.has('(') => ("(", ")"),
        true => ("-", ""),
        false if form.has('+') => ("+", ""),
        false if form.has(' ') => (" ", ""),
        false => ("", ""),
    };
    let used = before.len() + digits.len() + behind.len();
    let zeros = if form.has('0') { form.width.saturating_sub(used) } else { 0 };
    format!("{before}{}{digits}{behind}", "0".repeat(zeros))
}

fn grouped(digits: &str) -> String {
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// The digits of a printed number without sign, point and zeros in front, and how many of them stand before the point.
fn digits_of(text: &str) -> (Vec<u8>, i64) {
    let (mantissa, exponent) = text.split_once('E').unwrap_or((text, "0"));
    let mantissa = mantissa.trim_start_matches('-');
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let mut digits: Vec<u8> = whole.bytes().chain(fraction.bytes()).map(|b| b.wrapping_sub(b'0')).collect();
    let mut point = i64::try_from(whole.len()).unwrap_or(0) + exponent.parse::<i64>().unwrap_or(0);
    let zeros = digits.iter().take_while(|d| **d == 0).count();
    digits.drain(..zeros);
    point -= i64::try_from(zeros).unwrap_or(0);
    (digits, point)
}

/// Rounds to that many digits, halves up; one more digit before the point when it carries over.
fn round(digits: &mut Vec<u8>, point: &mut i64, count: i64) {
    let Ok(count) = usize::try_from(count) else {
        digits.clear();
        return;
    };
    if digits.len() <= count {
        return;
    }
    let carries = digits[count] >= 5;
    digits.truncate(count);
    if !carries {
        return;
    }
    for digit in digits.iter_mut().rev() {
        if *digit < 9 {
            *digit += 1;
            return;
        }
        *digit = 0;
    }
    digits.insert(0, 1);
    *point += 1;
}

fn fixed(text: &str, precision: usize) -> String {
    let (mut digits, mut point) = digits_of(text);
    let wanted = point + i64::try_from(precision).unwrap_or(0);
    round(&mut digits, &mut point, wanted);
    let digit = |place: i64| usize::try_from(place).ok().and_then(|i| digits.get(i)).copied().unwrap_or(0);
    let mut out = String::new();
    if point <= 0 {
        out.push('0');
    }
    (0..point).for_each(|place| out.push(char::from(b'0' + digit(place))));
    if precision > 0 {
        out.push('.');
        let precision = i64::try_from(precision).unwrap_or(0);
        (point..point + precision).for_each(|place| out.push(char::from(b'0' + digit(place))));
    }
    out
}

fn scientific(text: &str, precision: usize) -> String {
    let (mut digits, mut point) = digits_of(text);
    let is_zero = digits.is_empty();
    round(&mut digits, &mut point, i64::try_from(precision).unwrap_or(0) + 1);
    let digit = |place: usize| char::from(b'0' + digits.get(place).copied().unwrap_or(0));
    let mut out = String::from(digit(0));
    if precision > 0 {
        out.push('.');
        (1..=precision).for_each(|place| out.push(digit(place)));
    }
    let exponent = if is_zero { 0 } else { point - 1 };
    let sign = if exponent < 0 { '-' } else { '+' };
    out.push_str(&format!("e{sign}{:02}", exponent.abs()));
    out
}

#[cfg(test)]
mod tests {
    use crate::function::testing::{b, check, d, i, l, null, null_s, s};
    use wiesel_core::TypeKind;

    #[test]
    fn values_are_put_into_the_format() {
        check(&[
            ("PRINTF", vec![s("%s is %d"), s("x"), i(5)], "x is 5"),
            ("PRINTF", vec![s("%2$s %1$s %<s"), s("a"), s("b")], "b a a"),
            (
                "PRINTF",
                vec![s("[%5d|%-5d|%05d|%+d|%,d|%(d]"), i(42), i(42), i(42), i(42), l(1_234_567), i(-3)],
                "[   42|42   |00042|+42|1,234,567|(3)]",
            ),
            ("PRINTF", vec![s("%x %X %#x %o %c"), i(-1), i(255), i(255), i(8), i(65)], "ffffffff FF 0xff 10 A"),
            (
                "PRINTF",
                vec![s("%f %.2f %.0f %8.3f %e"), d(1.5), d(2.345), d(2.5), d(-1.0), d(12345.678)],
                "1.500000 2.35 3   -1.000 1.234568e+04",
            ),
            ("PRINTF", vec![s("%.3s|%5s|%S|%b"), s("abcdef"), s("ab"), s("ab"), b(true)], "abc|   ab|AB|true"),
            ("PRINTF", vec![s("%s %d %b"), null_s(), null(TypeKind::Int), null_s()], "null null false"),
            ("PRINTF", vec![s("100%%%n")], "100%\n"),
            ("PRINTF", vec![null_s(), i(1)], "NULL"),
            ("PRINTF", vec![s("%.1f %.1f %f"), d(0.05), d(9.96), d(0.0)], "0.1 10.0 0.000000"),
            ("PRINTF", vec![s("%d"), s("a")], "error: PRINTF: `%d` does not take this value in the format `%d`"),
            ("PRINTF", vec![s("%s %s"), s("a")], "error: PRINTF: no value for `%s` in the format `%s %s`"),
        ]);
    }
}
