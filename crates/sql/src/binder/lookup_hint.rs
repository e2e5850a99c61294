//! The hint LOOKUP: which table a lookup join asks, and whether it asks again for keys that found nothing.
//!
//! What changes only how fast answers come (async, its capacity and order) is taken without effect, because the rows of a step ask
//! together anyway.

use wiesel_core::diagnostic::Diagnostic;
use wiesel_core::options::parse_duration;
use wiesel_plan::join::LookupRetry;

use super::expr::Bound;
use crate::parser::ast;

const KEYS: [&str; 9] = [
    "table",
    "async",
    "output-mode",
    "capacity",
    "timeout",
    "retry-predicate",
    "retry-strategy",
    "fixed-delay",
    "max-attempts",
];

/// A step waits for its answers, so all pauses of a key together are bounded.
const RETRIES_MS_MAX: u64 = 600_000;

/// Whether a hint is a LOOKUP.
pub(super) fn is_lookup(hint: &ast::Hint) -> bool {
    hint.name.value.eq_ignore_ascii_case("LOOKUP")
}

/// The table that a hint is about, and its retry.
pub(super) fn read(hint: &ast::Hint) -> Bound<(String, Option<LookupRetry>)> {
    let mut pairs: Vec<&ast::OptionPair> = Vec::new();
    for arg in &hint.args {
        let ast::HintArg::Pair(pair) = arg else {
            return Err(vec![Diagnostic::error("W0305", "a LOOKUP hint takes 'key' = 'value' pairs").at(hint.span)]);
        };
        if !KEYS.contains(&pair.key.value.as_str()) {
            return Err(vec![
                Diagnostic::error("W0305", format!("unknown option '{}' of the hint LOOKUP", pair.key.value))
                    .at(pair.key.span)
                    .did_you_mean(&pair.key.value, KEYS),
            ]);
        }
        pairs.push(pair);
    }
    let of = |key: &str| pairs.iter().find(|pair| pair.key.value == key).copied();
    let Some(table) = of("table") else {
        return Err(vec![Diagnostic::error("W0305", "a LOOKUP hint needs the option 'table'").at(hint.span)]);
    };
    for (key, only) in [("retry-predicate", "lookup_miss"), ("retry-strategy", "fixed_delay")] {
        if let Some(pair) = of(key)
            && !pair.value.value.eq_ignore_ascii_case(only)
        {
            return Err(invalid(pair, &format!("'{only}'")));
        }
    }
    let retry = ["retry-predicate", "retry-strategy", "fixed-delay", "max-attempts"].map(of);
    let retry = match retry {
        [None, None, None, None] => None,
        [Some(_), Some(_), Some(delay), Some(attempts)] => {
            let delay_ms = parse_duration(&delay.value.value).and_then(|d| u64::try_from(d.as_millis()).ok());
            let Some(delay_ms) = delay_ms else { return Err(invalid(delay, "a duration such as '10 s'")) };
            let count = attempts.value.value.trim().parse::<u32>().ok().filter(|count| *count > 0);
            let Some(count) = count else { return Err(invalid(attempts, "a positive number")) };
            if delay_ms.saturating_mul(u64::from(count)) > RETRIES_MS_MAX {
                return Err(vec![
                    Diagnostic::error("W0305", "the retries of this LOOKUP hint take more than 10 minutes")
                        .at(attempts.value.span)
                        .hint("the job waits for them: ask less often, or for a shorter time"),
                ]);
            }
            Some(LookupRetry { delay_ms, attempts: count })
        }
        _ => {
            return Err(vec![
                Diagnostic::error("W0305", "the retry options of the hint LOOKUP go together, one of them is missing")
                    .at(hint.span)
                    .label("expected 'retry-predicate', 'retry-strategy', 'fixed-delay' and 'max-attempts'"),
            ]);
        }
    };
    Ok((table.value.value.clone(), retry))
}

fn invalid(pair: &ast::OptionPair, expected: &str) -> Vec<Diagnostic> {
    let message = format!("'{}' of the hint LOOKUP cannot be '{}'", pair.key.value, pair.value.value);
    vec![Diagnostic::error("W0305", message).at(pair.value.span).label(format!("expected {expected}"))]
}
