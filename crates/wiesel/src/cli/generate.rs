//! `wiesel generate SYSTEM`.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use wiesel_core::diagnostic::nearest;
use wiesel_core::env::wall_clock_ms;

use super::{Exit, parse_pair};
use crate::generator::{Generator, SYSTEMS, System, Trouble};
use crate::log::Log;

/// Make data for one of the example systems
///
/// Systems: logs-to-elasticsearch, logs-to-parquet, payments-to-elasticsearch, web-traffic-to-postgresql,
/// windowed-amounts-to-elasticsearch. The same seed, count, rate and start give the same rows.
#[derive(Debug, Args)]
pub(crate) struct Generate {
    /// The system: the name of its folder under examples/
    system: String,
    /// Where to send the rows
    #[arg(long, value_enum, default_value_t = Destination::Kafka)]
    to: Destination,
    /// Rows per second, of wall-clock and event time; the system's own rate by default
    #[arg(long)]
    rate: Option<f64>,
    /// How many rows; endless by default
    #[arg(long)]
    count: Option<u64>,
    /// The seed of the random numbers
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The event time of the first row, ms since 1970; now by default
    #[arg(long, value_name = "MS")]
    start: Option<i64>,
    /// Do not keep to the rate: send as fast as the destination takes rows
    #[arg(long)]
    burst: bool,
    /// Share of rows whose event time lies back, from 0 to 1
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = parse_share)]
    late: f64,
    /// How far back, in ms, at most
    #[arg(long, value_name = "MS", default_value_t = 60_000)]
    late_by: i64,
    /// Share of rows that no reader can decode
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = parse_share)]
    broken: f64,
    /// Share of rows that all make the same choices: one key gets them
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = parse_share)]
    skew: f64,
    /// The file to write (with --to file); standard output by default
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// The broker, when it is not where the system's file says
    #[arg(long, value_name = "HOST:PORT")]
    bootstrap_servers: Option<String>,
    /// The topic, when it is not the system's
    #[arg(long)]
    topic: Option<String>,
    /// Partitions of the topic, when it has to be created
    #[arg(long, default_value_t = 4)]
    partitions: i32,
    /// A client property, such as sasl.mechanism=PLAIN; repeatable
    #[arg(long = "property", value_name = "KEY=VALUE", value_parser = parse_pair)]
    property: Vec<(String, String)>,
    /// Connect to TO wherever a broker's address is FROM; repeatable
    #[arg(long = "map", value_name = "FROM=TO", value_parser = parse_pair)]
    map: Vec<(String, String)>,
}

/// Where rows go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Destination {
    /// The system's topic; it is created when missing, and the broker is waited for up to 60 s.
    Kafka,
    /// A file of lines.
    File,
}

fn parse_share(text: &str) -> Result<f64, String> {
    let share = text.parse::<f64>().ok().filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| "expected a share from 0 to 1, for instance 0.05".to_owned())
}

impl Generate {
    pub(crate) fn run(self) -> Exit {
        let log = Log::stderr();
        let Some(system) = SYSTEMS.iter().find(|s| s.name == self.system) else {
            let names = SYSTEMS.iter().map(|s| s.name);
            let hint =
                nearest(&self.system, names.clone()).map_or_else(String::new, |n| format!("; did you mean `{n}`?"));
            log.error(&format!("no system `{}`{hint}; systems: {}", self.system, names.collect::<Vec<_>>().join(", ")));
            return Exit::Usage;
        };
        let rate = self.rate.unwrap_or(system.rate);
        if !rate.is_finite() || rate <= 0.0 {
            log.error("--rate must be a positive number");
            return Exit::Usage;
        }
        let start = self.start.unwrap_or_else(wall_clock_ms);
        let trouble = Trouble { late: self.late, late_by_ms: self.late_by, broken: self.broken, skew: self.skew };
        let generator = Generator::new(*system, self.seed, start, rate).with_trouble(trouble);
        let result = match self.to {
            Destination::File => self.to_file(&generator).map_err(|e| e.to_string()),
            Destination::Kafka => self.to_kafka(system, &generator, rate, &log),
        };
        match result {
            Ok(()) => Exit::Done,
            Err(text) => {
                log.error(&text);
                Exit::Failed
            }
        }
    }

    fn to_file(&self, generator: &Generator) -> std::io::Result<()> {
        let out: Box<dyn Write> = match &self.file {
            Some(path) => Box::new(File::create(path)?),
            None => Box::new(std::io::stdout()),
        };
        let mut out = BufWriter::new(out);
        let mut line = String::new();
        for number in 0..self.count.unwrap_or(u64::MAX) {
            generator.line(number, &mut line);
            line.push('\n');
            out.write_all(line.as_bytes())?;
        }
        out.flush()
    }

    #[cfg(feature = "kafka")]
    fn to_kafka(&self, system: &System, generator: &Generator, rate: f64, log: &Log) -> Result<(), String> {
        use std::time::Duration;
        use wiesel_connectors::kafka::admin::Target;
        const BROKER_WAIT: Duration = Duration::from_secs(60);
        let brokers = self.bootstrap_servers.as_deref().unwrap_or(system.brokers);
        let topic = self.topic.as_deref().unwrap_or(system.topic);
        let properties = self.property.iter().cloned().collect();
        let send = || -> wiesel_core::Result<u64> {
            let target = Target::new(brokers, topic, &properties, self.map.clone())?;
            if target.ensure_topic(self.partitions, BROKER_WAIT)? {
                log.info(&format!("created topic `{topic}` with {} partitions", self.partitions));
            }
            let mut lines = target.lines()?;
            if !self.burst {
                lines.set_rate(rate);
            }
            let mut line = String::new();
            for number in 0..self.count.unwrap_or(u64::MAX) {
                generator.line(number, &mut line);
                let partition = i32::try_from(number % u64::try_from(self.partitions).unwrap_or(1)).unwrap_or(0);
                lines.send(Some(partition), line.as_bytes(), None)?;
            }
            lines.finish(BROKER_WAIT)
        };
        let count = send().map_err(|e| e.to_string())?;
        log.info(&format!("{count} rows are in topic `{topic}`"));
        Ok(())
    }

    #[cfg(not(feature = "kafka"))]
    fn to_kafka(&self, _: &System, _: &Generator, _: f64, _: &Log) -> Result<(), String> {
        Err("this wiesel was built without Kafka; use --to file".to_owned())
    }
}
