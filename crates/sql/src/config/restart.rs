//! `restart-strategy.*` as Flink reads them: names with several spellings, defaults of their own.

use std::time::Duration;

use wiesel_core::diagnostic::Diagnostic;
use wiesel_core::options::parse_duration;
use wiesel_plan::restart::RestartStrategy;

use super::Config;
use crate::parser::ast::OptionPair;

/// Spellings of the strategies.
const NONE: [&str; 3] = ["none", "off", "disable"];
const FIXED: [&str; 2] = ["fixed-delay", "fixeddelay"];
const EXPONENTIAL: [&str; 2] = ["exponential-delay", "exponentialdelay"];
const RATE: [&str; 2] = ["failure-rate", "failurerate"];

/// Refuses a value that does not fit its key.
pub(super) fn check(pair: &OptionPair, value: &str) -> Result<(), Diagnostic> {
    let key = pair.key.value.as_str();
    let Some(of) = key.strip_prefix("restart-strategy") else { return Ok(()) };
    let number = value.trim().parse::<f64>().ok();
    let expected = match of.rsplit('.').next().unwrap_or("") {
        "" | "type" => {
            let is_known =
                NONE.iter().chain(&FIXED).chain(&EXPONENTIAL).chain(&RATE).any(|w| w.eq_ignore_ascii_case(value));
            (!is_known).then_some("none, fixed-delay, exponential-delay or failure-rate")
        }
        "attempts" | "attempts-before-reset-backoff" | "max-failures-per-interval" => {
            value.trim().parse::<u32>().is_err().then_some("a number of restarts")
        }
        "backoff-multiplier" => number.is_none_or(|n| !(1.0..=1e6).contains(&n)).then_some("a number from 1"),
        "jitter-factor" => number.is_none_or(|n| !(0.0..=1.0).contains(&n)).then_some("a number from 0 to 1"),
        _ => parse_duration(value).is_none().then_some("a duration such as `1 s`, `5min` (a bare number is ms)"),
    };
    match expected {
        None => Ok(()),
        Some(expected) => Err(Diagnostic::error("W0501", format!("setting '{key}' cannot be '{value}'"))
            .at(pair.value.span)
            .label(format!("expected {expected}"))),
    }
}

impl Config {
    /// The strategy in force. Without one a failed job ends: outages are retried inside the connectors, and what is left would fail again.
    pub fn restart_strategy(&self) -> RestartStrategy {
        let name = self.get("restart-strategy.type").or_else(|| self.get("restart-strategy")).unwrap_or("none");
        let is = |spellings: &[&str]| spellings.iter().any(|s| s.eq_ignore_ascii_case(name));
        let duration = |key: &str, default: u64| {
            self.get(&format!("restart-strategy.{key}"))
                .and_then(parse_duration)
                .unwrap_or(Duration::from_millis(default))
        };
        let count = |key: &str, default: u32| {
            self.get(&format!("restart-strategy.{key}")).and_then(|v| v.trim().parse().ok()).unwrap_or(default)
        };
        let number = |key: &str, default: f64| {
            self.get(&format!("restart-strategy.{key}")).and_then(|v| v.trim().parse().ok()).unwrap_or(default)
        };
        if is(&FIXED) {
            RestartStrategy::FixedDelay {
                attempts: count("fixed-delay.attempts", 1),
                delay: duration("fixed-delay.delay", 1_000),
            }
        } else if is(&EXPONENTIAL) {
            RestartStrategy::ExponentialDelay {
                initial_backoff: duration("exponential-delay.initial-backoff", 1_000),
                max_backoff: duration("exponential-delay.max-backoff", 60_000),
                backoff_multiplier: number("exponential-delay.backoff-multiplier", 1.5),
                reset_backoff_threshold: duration("exponential-delay.reset-backoff-threshold", 3_600_000),
                jitter_factor: number("exponential-delay.jitter-factor", 0.1),
                attempts_before_reset_backoff: count("exponential-delay.attempts-before-reset-backoff", u32::MAX),
            }
        } else if is(&RATE) {
            RestartStrategy::FailureRate {
                max_failures_per_interval: count("failure-rate.max-failures-per-interval", 1),
                failure_rate_interval: duration("failure-rate.failure-rate-interval", 60_000),
                delay: duration("failure-rate.delay", 1_000),
            }
        } else {
            RestartStrategy::None
        }
    }
}
