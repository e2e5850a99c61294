//! How long one JSON record takes on one core, beside a copy of the same bytes, which is what the machine can do at best.
//!
//! The documents have ten fields, of which six are declared, and 198 bytes on average: what an order stream looks like. Numbers are those
//! of the best of several rounds, since everything else on the machine only adds.

#![allow(clippy::print_stdout, reason = "a benchmark's output is its numbers")]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::Duration;

use bytes::Bytes;
use wiesel_connectors::formats::{FormatContext, decoder_factory, encoder_factory};
use wiesel_core::env::monotonic;
use wiesel_core::options::Options;
use wiesel_core::source::{RawBatch, RawRecord};
use wiesel_core::{ChangeBatch, DataType, Field, Schema, TypeKind};

const RECORDS: usize = 5_000;
const ROUNDS: usize = 60;

fn documents() -> RawBatch {
    let mut random = fastrand::Rng::with_seed(7);
    let mut arena = Vec::new();
    let mut records = Vec::new();
    for index in 0..RECORDS {
        let start = arena.len() as u32;
        let document = format!(
            concat!(
                r#"{{"createTime":"2024-05-{:02} {:02}:{:02}:{:02}","orderId":{},"payAmount":{:.2},"payPlatform":{},"#,
                r#""provinceId":{},"userName":"user-{:06}","channel":"app-store","coupon":null,"note":"left at the door","isGift":{}}}"#
            ),
            random.u32(1..29),
            random.u32(0..24),
            random.u32(0..60),
            random.u32(0..60),
            1_600_000_000_000_u64 + random.u64(0..1_000_000_000),
            random.f64() * 1000.0,
            random.u32(0..2),
            random.u32(0..34),
            random.u32(0..1_000_000),
            random.bool()
        );
        arena.extend_from_slice(document.as_bytes());
        let end = arena.len() as u32;
        records.push(RawRecord {
            key_start: start,
            key_end: start,
            value_start: start,
            value_end: end,
            offset: index as i64,
            timestamp_ms: -1,
            has_key: false,
            has_value: true,
            tag: 0,
        });
    }
    RawBatch { split: 0, arena: Bytes::from(arena), records, next: RECORDS as i64 }
}

fn best(mut work: impl FnMut()) -> Duration {
    let mut best = Duration::MAX;
    for _ in 0..ROUNDS {
        let start = monotonic();
        work();
        best = best.min(start.elapsed());
    }
    best
}

fn report(name: &str, time: Duration, bytes: usize) {
    let nanos = time.as_nanos() as f64;
    let (per_record, megabytes) = (nanos / RECORDS as f64, bytes as f64 * 1000.0 / nanos);
    println!("{name:<28} {per_record:>8.1} ns/record {megabytes:>9.0} MB/s");
}

fn main() {
    let batch = documents();
    let bytes = batch.arena.len();
    println!("{RECORDS} records of {} bytes on average", bytes / RECORDS);

    let schema = Schema::new(vec![
        Field::new("createTime", DataType::new(TypeKind::Timestamp(3))),
        Field::new("orderId", DataType::bigint()),
        Field::new("payAmount", DataType::double()),
        Field::new("payPlatform", DataType::int()),
        Field::new("provinceId", DataType::int()),
        Field::new("userName", DataType::string()),
    ]);
    let context = FormatContext::whole("orders", schema, "UTC");
    let values = BTreeMap::from([("format".to_owned(), "json".to_owned())]);
    let decoders = decoder_factory(&mut Options::new("orders", &values), "format", context.clone());
    let mut decoder = decoders.and_then(|f| f.create()).expect("the options are right");
    let encoders = encoder_factory(&mut Options::new("orders", &values), "format", context);
    let mut encoder = encoders.and_then(|f| f.create()).expect("the options are right");

    let mut copy = vec![0; bytes];
    report("memcpy", best(|| black_box(&mut copy).copy_from_slice(black_box(&batch.arena))), bytes);
    let check = best(|| assert!(simdutf8::basic::from_utf8(black_box(&batch.arena)).is_ok()));
    report("UTF-8 check", check, bytes);
    let decode = best(|| {
        black_box(decoder.decode(black_box(&batch), 0..RECORDS).expect("the documents are right"));
    });
    report("decode, 6 of 10 fields", decode, bytes);

    let rows = decoder.decode(&batch, 0..RECORDS).expect("the documents are right").rows;
    let changes = ChangeBatch::inserts(rows);
    let (mut out, mut ends) = (Vec::new(), Vec::new());
    let encode = best(|| {
        out.clear();
        ends.clear();
        encoder.encode(black_box(&changes), &mut out, &mut ends).expect("the rows are right");
    });
    report("encode, 6 fields", encode, out.len());
}
