//! Data for the example systems: what their own generators send, from a seed, so that a test knows every row.
//!
//! Row `n` of a system depends on the seed and `n` alone. Event times start at a given time and go on by one row interval.

use std::fmt::Write as _;

use fastrand::Rng;
use wiesel_expr::time::civil;

/// A system that data can be made for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct System {
    /// The name of its folder under `examples/`.
    pub(crate) name: &'static str,
    /// Its topic.
    pub(crate) topic: &'static str,
    /// Where its files look for the broker.
    pub(crate) brokers: &'static str,
    /// Rows per second of its own generator.
    pub(crate) rate: f64,
    line: fn(&mut Rng, &Row, &mut String),
}

/// What a line may depend on besides random numbers.
struct Row {
    number: u64,
    time_ms: i64,
}

/// Every system, sorted by name.
pub(crate) const SYSTEMS: &[System] = &[
    System { name: "logs-to-elasticsearch", topic: "test-logs", brokers: "localhost:9092", rate: 5.0, line: edge_log },
    System { name: "logs-to-parquet", topic: "last9Topic", brokers: "broker:9092", rate: 10.0, line: application_log },
    System { name: "payments-to-elasticsearch", topic: "payment_msg", brokers: "kafka:9092", rate: 1.0, line: payment },
    System {
        name: "web-traffic-to-postgresql",
        topic: "web_traffic_topic",
        brokers: "localhost:9093",
        rate: 10.0,
        line: web_hit,
    },
    System {
        name: "windowed-amounts-to-elasticsearch",
        topic: "client_amount",
        brokers: "kafka:9092",
        rate: 0.2,
        line: amount,
    },
];

/// What makes rows harder than they are: shares are from 0 to 1.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Trouble {
    /// Rows whose event time lies back, and how far at most.
    pub(crate) late: f64,
    pub(crate) late_by_ms: i64,
    /// Rows that no reader can decode.
    pub(crate) broken: f64,
    /// Rows that take the first value of whatever they choose from: one key gets this share and more.
    pub(crate) skew: f64,
}

/// Makes the lines of one system.
pub(crate) struct Generator {
    system: System,
    seed: u64,
    start_ms: i64,
    interval_us: i64,
    trouble: Trouble,
}

impl Generator {
    /// Lines from `start_ms` on, `rate` of them per second of event time.
    pub(crate) fn new(system: System, seed: u64, start_ms: i64, rate: f64) -> Self {
        let trouble = Trouble::default();
        Generator { system, seed, start_ms, interval_us: (1e6 / rate.max(1e-6)) as i64, trouble }
    }

    /// The same with trouble in it; rows that have none are what they were without.
    pub(crate) fn with_trouble(mut self, trouble: Trouble) -> Self {
        self.trouble = trouble;
        self
    }

    /// Writes line `number` (from 0) into `line`, replacing what was there.
    pub(crate) fn line(&self, number: u64, line: &mut String) {
        // A seed per row: any row can be made alone.
        let mut rng = Rng::with_seed(self.seed ^ number.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let elapsed_us = i64::try_from(number).unwrap_or(i64::MAX).saturating_mul(self.interval_us);
        let mut row = Row { number, time_ms: self.start_ms.saturating_add(elapsed_us / 1000) };
        line.clear();
        // Its own numbers: what befalls a row does not change the others.
        let mut fate = Rng::with_seed(!self.seed ^ number.wrapping_mul(0xD6E8_FEB8_6659_FD93));
        if fate.f64() < self.trouble.late {
            row.time_ms -= fate.i64(1..=self.trouble.late_by_ms.max(1));
        }
        let is_broken = fate.f64() < self.trouble.broken;
        if fate.f64() < self.trouble.skew {
            // Equal numbers make equal choices.
            rng = Rng::with_seed(self.seed);
        }
        (self.system.line)(&mut rng, &row, line);
        if is_broken {
            // Cut in the middle of a character's worth of JSON: every line here is ASCII.
            line.truncate(fate.usize(1..line.len()));
        }
    }
}

/// A date and time in UTC: `separator` between the two, `ending` behind them; with milliseconds on request.
pub(crate) fn time_text(ms: i64, separator: char, with_ms: bool, ending: &str) -> String {
    let (days, of_day) = (ms.div_euclid(86_400_000), ms.rem_euclid(86_400_000));
    let civil::Date { year, month, day } = civil::date_from_days(days);
    let (hour, minute, second) = (of_day / 3_600_000, of_day / 60_000 % 60, of_day / 1000 % 60);
    let mut text = format!("{year:04}-{month:02}-{day:02}{separator}{hour:02}:{minute:02}:{second:02}");
    if with_ms {
        // Writing to a String cannot fail.
        _ = write!(text, ".{:03}", of_day % 1000);
    }
    text + ending
}

fn payment(rng: &mut Rng, row: &Row, line: &mut String) {
    // Quarters of a unit: sums of them are exact in a DOUBLE, in whatever order they are added.
    let pay_amount = rng.u32(0..4000);
    let platform = u8::from(rng.u8(0..10) == 0);
    _ = write!(
        line,
        r#"{{"createTime": "{}", "orderId": {}, "payAmount": {}.{:02}, "payPlatform": {platform}, "branchId": {}}}"#,
        time_text(row.time_ms, ' ', false, ""),
        row.time_ms / 1000 + i64::try_from(row.number).unwrap_or(0),
        pay_amount / 4,
        pay_amount % 4 * 25,
        rng.u8(0..10),
    );
}

fn amount(rng: &mut Rng, row: &Row, line: &mut String) {
    _ = write!(
        line,
        r#"{{"client": {}, "amount": {}, "ts": "{}"}}"#,
        rng.u8(1..=4),
        rng.u8(1..=200),
        time_text(row.time_ms, ' ', false, ""),
    );
}

fn edge_log(rng: &mut Rng, row: &Row, line: &mut String) {
    let uri = ["/v1/test", "/v1/users?id=7", "/v2/orders", "/health"][rng.usize(0..4)];
    let status = [200, 201, 404, 500][rng.usize(0..4)];
    let organisation = rng.u8(1..=5);
    // The last fields are not declared by the job: a reader must pass over them.
    _ = write!(
        line,
        r#"{{"ClientRequestURI":"{uri}","EdgeResponseStatus":{status},"EdgeEndTimestamp":"{}","ResponseHeaders":{{"x-project-uid":"project{}","x-environment-uid":"production","x-org-uid":"org{organisation}"}},"ClientIP":"203.0.113.{}","ClientRequestMethod":"GET","EdgeResponseBytes":{},"RayID":"{:016x}","WAFFlags":null,"Cached":{}}}"#,
        time_text(row.time_ms, 'T', false, "Z"),
        rng.u8(1..=3),
        rng.u8(1..255),
        rng.u32(200..20_000),
        rng.u64(..),
        rng.bool(),
    );
}

fn application_log(rng: &mut Rng, row: &Row, line: &mut String) {
    let service = ["user-service", "order-service", "payment-service"][rng.usize(0..3)];
    let severity = ["DEBUG", "INFO", "WARN", "ERROR"][rng.usize(0..4)];
    let mobile = rng.u64(7_000_000_000..10_000_000_000);
    // Every third body has no number; then the attribute counts.
    let body = if row.number.is_multiple_of(3) {
        r#"{\"data\":{}}"#.to_owned()
    } else {
        format!(r#"{{\"data\":{{\"mobile\":\"{mobile}\"}}}}"#)
    };
    _ = write!(
        line,
        r#"{{"timestamp":"{}","serviceName":"{service}","severityText":"{severity}","attributes":{{"msg":"request {}","url":"/api/{}","mobile":"{}"}},"resources":{{"host":"host-{}","env":"dev"}},"body":"{body}"}}"#,
        time_text(row.time_ms, 'T', true, "Z"),
        row.number,
        rng.u8(0..20),
        mobile + 1,
        rng.u8(0..4),
    );
}

fn web_hit(rng: &mut Rng, row: &Row, line: &mut String) {
    let host = ["example.com", "shop.example.com", "blog.example.com"][rng.usize(0..3)];
    let referrer = ["https://search.example.net", "https://news.example.net", ""][rng.usize(0..3)];
    let city = ["Sydney", "Toronto", "Berlin"][rng.usize(0..3)];
    _ = write!(
        line,
        r#"{{"url":"https://{host}/p/{}","referrer":"{referrer}","user_agent":"Mozilla/5.0","host":"{host}","ip":"198.51.100.{}","headers":"{{\"city\":\"{city}\"}}","event_time":"{}"}}"#,
        rng.u8(0..50),
        rng.u8(1..255),
        time_text(row.time_ms, 'T', true, "Z"),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_befalls_its_share_of_the_rows_and_leaves_the_others_alone() {
        let trouble = Trouble { late: 0.2, late_by_ms: 60_000, broken: 0.1, skew: 0.5 };
        for system in SYSTEMS {
            let plain = Generator::new(*system, 7, 1_747_735_872_000, 10.0);
            let troubled = Generator::new(*system, 7, 1_747_735_872_000, 10.0).with_trouble(trouble);
            let (mut line, mut again) = (String::new(), String::new());
            let (mut broken, mut same) = (0, 0);
            for number in 0..1000 {
                plain.line(number, &mut line);
                troubled.line(number, &mut again);
                broken += usize::from(serde_json::from_str::<serde_json::Value>(&again).is_err());
                same += usize::from(line == again);
            }
            assert!((60..140).contains(&broken), "{}: {broken} broken", system.name);
            // Neither late nor broken nor skewed: 0.8 * 0.9 * 0.5.
            assert!((300..420).contains(&same), "{}: {same} the same", system.name);
        }
    }

    #[test]
    fn every_line_is_json_and_depends_on_seed_and_number_alone() {
        for system in SYSTEMS {
            let generator = Generator::new(*system, 7, 1_747_735_872_000, 10.0);
            let (mut line, mut again) = (String::new(), String::new());
            for number in [0, 1, 2, 3, 99] {
                generator.line(number, &mut line);
                generator.line(number, &mut again);
                assert_eq!(line, again);
                serde_json::from_str::<serde_json::Value>(&line).expect(system.name);
            }
        }
    }
}
