//! How fast one core runs the operators, beside what the machine's memory could do at best.
//!
//! ```text
//! cargo bench -p wiesel-engine                 all
//! cargo bench -p wiesel-engine -- aggregate    those whose name holds the word
//! ```
//! Every line is the best of several rounds over batches that were made before, in time on the processor where the kernel tells it, so it
//! says what the code can do and not what else the machine was doing. The last column compares the bytes of the input columns with a
//! plain copy of as many bytes.

use std::sync::Arc;

use arrow_array::types::Int64Type;
use arrow_array::{ArrayRef, BooleanArray, Int64Array, ListArray, RecordBatch, StringArray, TimestampMillisecondArray};
use wiesel_core::env::monotonic;
use wiesel_core::{ChangeBatch, ChangelogMode, DataType, Field, Schema, TypeKind};
use wiesel_engine::operator::{Operator, OperatorContext, Output};
use wiesel_engine::operators::{
    Calc, Expand, GroupAggregate, Materialize, Over, Rank, SessionAggregate, SessionTable, Sort, Unnest,
    WindowAggregate, WindowJoin, WindowRank, build,
};
use wiesel_engine::state::vnode::KeyHasher;
use wiesel_expr::{AggregateCall, AggregateFunction, EvalContext, ScalarExpr, Session};
use wiesel_plan::join::{IntervalBounds, VersionTimes, WindowEnds};
use wiesel_plan::{
    CalcNode, ExpandNode, GroupAggregateNode, JoinForm, JoinKey, JoinKind, JoinNode, JoinSide, MaterializeNode, Node,
    NodeKind, OverCall, OverFrame, OverNode, RankEnd, RankNode, RankStrategy, SessionTableNode, SortColumn, SortNode,
    UnnestNode, WindowAggregateNode, WindowKind, WindowNode, WindowProperty, WindowRankNode,
};

const ROWS_PER_BATCH: usize = 16 * 1024;
const BATCHES: usize = 16;
const ROUNDS: usize = 15;
const GROUPS: u64 = 200_000;

/// Takes all batches once and returns how many rows they had.
type Round = Box<dyn FnMut(&[RecordBatch]) -> usize>;

/// One measured thing: its name, and a round of it.
type Case = (&'static str, Round);

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let batches = batches();
    let bytes_per_row = input_bytes(&batches) as f64 / (ROWS_PER_BATCH * BATCHES) as f64;
    let copy = copy_bytes_per_ns();
    say(&format!("memory: copies {copy:.1} GB/s; input of {bytes_per_row:.0} bytes per row; one core"));
    say(&format!("{:<44} {:>9} {:>14} {:>10}", "", "ns/row", "rows/s", "of a copy"));
    for (name, mut case) in cases() {
        if !words.is_empty() && !words.iter().any(|word| name.contains(word.as_str())) {
            continue;
        }
        let mut best = f64::MAX;
        let mut rows = 0;
        for _ in 0..ROUNDS {
            let began = Clock::now();
            rows = case(&batches);
            best = best.min(began.elapsed_ns());
        }
        let ns = best / rows as f64;
        let share = 100.0 * bytes_per_row / copy / ns;
        say(&format!("{name:<44} {ns:>9.1} {:>14.0} {share:>8.1} %", 1e9 / ns));
    }
}

/// The time this thread has spent on a processor; the wall clock where that cannot be read.
struct Clock {
    on_processor_ns: Option<u64>,
    wall: std::time::Instant,
}

impl Clock {
    fn now() -> Self {
        Clock { on_processor_ns: on_processor_ns(), wall: monotonic() }
    }

    fn elapsed_ns(&self) -> f64 {
        match (self.on_processor_ns, on_processor_ns()) {
            (Some(before), Some(now)) => (now - before) as f64,
            _ => self.wall.elapsed().as_nanos() as f64,
        }
    }
}

fn on_processor_ns() -> Option<u64> {
    std::fs::read_to_string("/proc/thread-self/schedstat").ok()?.split_whitespace().next()?.parse().ok()
}

#[allow(clippy::print_stdout, reason = "a benchmark says what it measured")]
fn say(line: &str) {
    println!("{line}");
}

fn cases() -> Vec<Case> {
    let fold = |fold_per_step, aggregates| GroupAggregateNode {
        keys: vec![0, 1, 2],
        aggregates,
        input_retracts: false,
        fold_per_step,
        mini_batch: None,
        state_ttl_ms: 0,
    };
    let count = || call(AggregateFunction::CountStar, &[], TypeKind::BigInt);
    let many = || {
        vec![
            count(),
            call(AggregateFunction::Sum, &[4], TypeKind::BigInt),
            call(AggregateFunction::Min, &[4], TypeKind::BigInt),
            call(AggregateFunction::Max, &[2], DataType::string().kind),
            call(AggregateFunction::Avg, &[4], TypeKind::BigInt),
        ]
    };
    let distinct = AggregateCall { distinct: true, ..call(AggregateFunction::Count, &[4], TypeKind::BigInt) };
    vec![
        ("key hashing, 3 strings", {
            let mut hasher = KeyHasher::new(vec![0, 1, 2]);
            Box::new(move |batches| {
                batches.iter().map(|b| hasher.hash(b).expect("strings have an encoding").len()).sum()
            })
        }),
        ("group aggregate, fold, COUNT(*)", group_aggregate(&fold(true, vec![count()]), ChangelogMode::Upsert)),
        ("group aggregate, per row +U, COUNT(*)", group_aggregate(&fold(false, vec![count()]), ChangelogMode::Upsert)),
        ("group aggregate, per row -U +U, COUNT(*)", group_aggregate(&fold(false, vec![count()]), ChangelogMode::Full)),
        ("group aggregate, fold, 5 aggregates", group_aggregate(&fold(true, many()), ChangelogMode::Upsert)),
        (
            "group aggregate, fold, COUNT(DISTINCT n)",
            group_aggregate(&fold(true, vec![distinct]), ChangelogMode::Upsert),
        ),
        ("tumble, COUNT(*) and SUM, 3 strings", window(WindowKind::Tumble { size_ms: 10_000, offset_ms: 0 })),
        (
            "hop of 5 slices, COUNT(*) and SUM, 3 strings",
            window(WindowKind::Hop { slide_ms: 2_000, size_ms: 10_000, offset_ms: 0 }),
        ),
        (
            "cumulate of 5 steps, COUNT(*) and SUM, 3 strings",
            window(WindowKind::Cumulate { step_ms: 2_000, size_ms: 10_000, offset_ms: 0 }),
        ),
        ("session, COUNT(*) and SUM, 3 strings", session_aggregate()),
        ("session rows, 3 strings", session_table()),
        ("window top 3, 1 string", window_rank()),
        ("window join, 3 strings", window_join()),
        ("expand to 3 sets, 3 strings", expand()),
        ("unnest of 2 elements", unnest()),
        ("calc, filter half, 3 of 6 columns", calc()),
        ("top-10 per 2 strings, inserts, without rank", rank(RankStrategy::Append, false)),
        ("top-10 per 2 strings, inserts, with rank", rank(RankStrategy::Append, true)),
        ("top-10 per 2 strings, any changelog", rank(RankStrategy::Retract, false)),
        ("over, rows unbounded, SUM", over(OverFrame::Rows(None))),
        ("over, rows 9 preceding, SUM", over(OverFrame::Rows(Some(9)))),
        ("over, range 10 s preceding, SUM", over(OverFrame::Range(Some(10_000)))),
        ("sort by time and a number", sort()),
        ("upsert materializer, some 5 rows per key", materialize()),
        (
            "regular join of inserts, 3 strings",
            join(JoinKind::Inner, JoinForm::Regular([JoinSide::default(), JoinSide::default()])),
        ),
        (
            "regular left join of inserts, 3 strings",
            join(JoinKind::Left, JoinForm::Regular([JoinSide::default(), JoinSide::default()])),
        ),
        (
            "regular join by unique key, 3 strings",
            join(JoinKind::Inner, JoinForm::Regular([unique_side(), unique_side()])),
        ),
        ("semi join, 3 strings", join(JoinKind::Semi, JoinForm::Regular([JoinSide::default(), JoinSide::default()]))),
        (
            "interval join, 3 strings",
            join(
                JoinKind::Inner,
                JoinForm::Interval(IntervalBounds {
                    left_time: 3,
                    right_time: 3,
                    is_event_time: true,
                    lower_ms: -10_000,
                    upper_ms: 0,
                }),
            ),
        ),
        (
            "temporal join, 3 strings",
            join(JoinKind::Left, JoinForm::Temporal(VersionTimes { left: 3, right: 3, state_ttl_ms: 0 })),
        ),
    ]
}

/// A fresh operator every round; a step per batch.
fn run(operator: &mut dyn Operator, batches: &[RecordBatch], watermark: impl Fn(usize) -> i64) -> usize {
    let context = EvalContext {
        now_ms: 0,
        seed: 0,
        watermark_ms: 0,
        session: Session { time_zone: "UTC".into(), legacy_cast: false },
    };
    let mut rows = 0;
    for (step, batch) in batches.iter().enumerate() {
        let mut output = Output::default();
        rows += batch.num_rows();
        operator
            .process(0, ChangeBatch::inserts(batch.clone()), &context, &mut output)
            .expect("the batches have the operator's schema");
        operator.advance(watermark(step), &context, &mut output).expect("the batches have the operator's schema");
        std::hint::black_box(&output);
    }
    rows
}

fn group_aggregate(node: &GroupAggregateNode, mode: ChangelogMode) -> Round {
    let input = schema();
    let mut fields: Vec<Field> = input.fields()[..3].to_vec();
    fields.extend(node.aggregates.iter().enumerate().map(|(i, a)| Field::new(format!("a{i}"), a.data_type.clone())));
    let output = Schema::new(fields);
    // The groups stay from round to round: the first one fills the table, the best one finds it filled.
    let mut operator = GroupAggregate::new(node, &input, &output, mode).expect("the node is one of ours");
    Box::new(move |batches| run(&mut operator, batches, |_| 0))
}

fn window(kind: WindowKind) -> Round {
    let node = WindowAggregateNode {
        window: WindowNode { kind, time_column: 3, is_event_time: true, time_zone: None },
        is_legacy: false,
        keys: vec![0, 1, 2],
        aggregates: vec![
            call(AggregateFunction::CountStar, &[], TypeKind::BigInt),
            call(AggregateFunction::Sum, &[4], TypeKind::BigInt),
        ],
        properties: vec![WindowProperty::Start, WindowProperty::End],
        input_retracts: false,
    };
    let input = schema();
    let mut fields: Vec<Field> = input.fields()[..3].to_vec();
    for (name, kind) in [("count", TypeKind::BigInt), ("sum", TypeKind::BigInt)] {
        fields.push(Field::new(name, DataType::new(kind)));
    }
    for name in ["window_start", "window_end"] {
        fields.push(Field::new(name, DataType::new(TypeKind::Timestamp(3))));
    }
    let output = Schema::new(fields);
    let context = OperatorContext { worker: 0, workers: 1, is_batch: false };
    Box::new(move |batches| {
        let mut operator = WindowAggregate::new(&node, &input, &output, &context).expect("the node is one of ours");
        run(&mut operator, batches, |step| i64::try_from((step + 1) * ROWS_PER_BATCH).unwrap_or(i64::MAX))
    })
}

fn unique_side() -> JoinSide {
    JoinSide { unique_key: Some(vec![0, 1, 2]), state_ttl_ms: 0 }
}

/// Batches come to both sides in turn.
fn join(kind: JoinKind, form: JoinForm) -> Round {
    let input = schema();
    let fields = input.fields().to_vec();
    let both = if kind == JoinKind::Semi { fields } else { [fields.clone(), fields].concat() };
    let keys = (0..3).map(|column| JoinKey { left: column, right: column, null_safe: false }).collect();
    let node = Node {
        kind: NodeKind::Join(JoinNode { kind, left_width: input.fields().len(), keys, condition: None, form }),
        inputs: vec![0, 1],
        schema: Schema::new(both),
        changelog_mode: ChangelogMode::Insert,
        upsert_keys: Vec::new(),
        rowtime: None,
        label: String::new(),
    };
    let context = OperatorContext { worker: 0, workers: 1, is_batch: false };
    Box::new(move |batches| {
        let mut operator = build(&node, &[&input, &input], &context).expect("the node is one of ours");
        let mut context = EvalContext {
            now_ms: 0,
            seed: 0,
            watermark_ms: i64::MIN,
            session: Session { time_zone: "UTC".into(), legacy_cast: false },
        };
        let mut rows = 0;
        for (step, batch) in batches.iter().enumerate() {
            let mut output = Output::default();
            rows += batch.num_rows();
            let changes = ChangeBatch::inserts(batch.clone());
            operator.process(step % 2, changes, &context, &mut output).expect("the batches have the operator's schema");
            let watermark = i64::try_from(step * ROWS_PER_BATCH).unwrap_or(i64::MAX);
            operator.advance(watermark, &context, &mut output).expect("the batches have the operator's schema");
            context.watermark_ms = watermark;
            std::hint::black_box(&output);
        }
        rows
    })
}

fn rank(strategy: RankStrategy, outputs_number: bool) -> Round {
    let node = RankNode {
        partition: vec![0, 1],
        order: vec![SortColumn { column: 4, descending: true, nulls_first: false }],
        start: 1,
        end: RankEnd::Constant(10),
        outputs_number,
        strategy,
        is_limit: false,
        state_ttl_ms: 0,
    };
    let input = schema();
    let mut fields = input.fields().to_vec();
    if outputs_number {
        fields.push(Field::new("rn", DataType::bigint()));
    }
    let output = Schema::new(fields);
    Box::new(move |batches| {
        let mut operator = Rank::new(&node, &input, &output, ChangelogMode::Full).expect("the node is one of ours");
        run(&mut operator, batches, |_| 0)
    })
}

fn over(frame: OverFrame) -> Round {
    let sum = OverCall::Aggregate(call(AggregateFunction::Sum, &[4], TypeKind::BigInt));
    let node = OverNode { partition: vec![0], order: Some(3), frame, calls: vec![sum], state_ttl_ms: 0 };
    let input = schema();
    let mut fields = input.fields().to_vec();
    fields.push(Field::new("sum", DataType::bigint()));
    let output = Schema::new(fields);
    Box::new(move |batches| {
        let mut operator = Over::new(&node, &input, &output).expect("the node is one of ours");
        run(&mut operator, batches, |step| i64::try_from((step + 1) * ROWS_PER_BATCH).unwrap_or(i64::MAX))
    })
}

fn sort() -> Round {
    let order = vec![SortColumn { column: 4, descending: false, nulls_first: true }];
    let node = SortNode { time: Some(3), order };
    let input = schema();
    Box::new(move |batches| {
        let mut operator = Sort::new(&node, &input).expect("the node is one of ours");
        run(&mut operator, batches, |step| i64::try_from((step + 1) * ROWS_PER_BATCH).unwrap_or(i64::MAX))
    })
}

fn materialize() -> Round {
    // A key holds about five rows, each of them looked at by the next.
    let node = MaterializeNode { primary_key: vec![0, 1, 2, 4], upsert_key: vec![3], state_ttl_ms: 0 };
    let input = schema();
    Box::new(move |batches| {
        let mut operator = Materialize::new(&node, &input).expect("the node is one of ours");
        run(&mut operator, batches, |_| 0)
    })
}

/// The input's columns and the given TIMESTAMP(3) ones behind them.
fn with_times(names: &[&str]) -> Schema {
    let mut fields: Vec<Field> = schema().fields().to_vec();
    fields.extend(names.iter().map(|name| Field::new(*name, DataType::new(TypeKind::Timestamp(3)))));
    Schema::new(fields)
}

fn event_time(kind: WindowKind) -> WindowNode {
    WindowNode { kind, time_column: 3, is_event_time: true, time_zone: None }
}

/// The watermark that stands at the last row of a step.
fn last_row(step: usize) -> i64 {
    i64::try_from((step + 1) * ROWS_PER_BATCH).unwrap_or(i64::MAX)
}

fn session_aggregate() -> Round {
    let node = WindowAggregateNode {
        window: event_time(WindowKind::Session { gap_ms: 2_000 }),
        is_legacy: false,
        keys: vec![0, 1, 2],
        aggregates: vec![
            call(AggregateFunction::CountStar, &[], TypeKind::BigInt),
            call(AggregateFunction::Sum, &[4], TypeKind::BigInt),
        ],
        properties: vec![WindowProperty::Start, WindowProperty::End],
        input_retracts: false,
    };
    let mut fields: Vec<Field> = schema().fields()[..3].to_vec();
    for (name, kind) in [("count", TypeKind::BigInt), ("sum", TypeKind::BigInt)] {
        fields.push(Field::new(name, DataType::new(kind)));
    }
    for name in ["window_start", "window_end"] {
        fields.push(Field::new(name, DataType::new(TypeKind::Timestamp(3))));
    }
    let output = Schema::new(fields);
    Box::new(move |batches| {
        let mut operator = SessionAggregate::new(&node, &schema(), &output).expect("the node is one of ours");
        run(&mut operator, batches, last_row)
    })
}

fn session_table() -> Round {
    let node = SessionTableNode { window: event_time(WindowKind::Session { gap_ms: 2_000 }), keys: vec![0, 1, 2] };
    let output = with_times(&["window_start", "window_end", "window_time"]);
    Box::new(move |batches| {
        let mut operator = SessionTable::new(&node, &schema(), &output).expect("the node is one of ours");
        run(&mut operator, batches, last_row)
    })
}

/// Every row is a window of its own by its time: the dearest case.
fn window_rank() -> Round {
    let node = WindowRankNode {
        window: event_time(WindowKind::Attached),
        keys: vec![0],
        order: vec![SortColumn { column: 4, descending: true, nulls_first: false }],
        first: 1,
        last: 3,
        last_wins: false,
        with_number: false,
    };
    let context = OperatorContext { worker: 0, workers: 1, is_batch: false };
    Box::new(move |batches| {
        let mut operator = WindowRank::new(&node, &schema(), &schema(), &context).expect("the node is one of ours");
        run(&mut operator, batches, last_row)
    })
}

/// The left side alone: what keeping and giving back a row costs.
fn window_join() -> Round {
    let key = |column| JoinKey { left: column, right: column, null_safe: false };
    let ends = WindowEnds { left: 3, right: 3, is_event_time: true, time_zone: None };
    let node = JoinNode {
        kind: JoinKind::Anti,
        left_width: schema().len(),
        keys: vec![key(0), key(1), key(2)],
        condition: None,
        form: JoinForm::Window(ends.clone()),
    };
    let context = OperatorContext { worker: 0, workers: 1, is_batch: false };
    Box::new(move |batches| {
        let input = schema();
        let mut operator =
            WindowJoin::new(&node, &ends, &[&input, &input], &input, &context).expect("the node is one of ours");
        run(&mut operator, batches, last_row)
    })
}

fn expand() -> Round {
    let node = ExpandNode { sets: vec![vec![true, true, true], vec![true, true, false], vec![false, false, false]] };
    let mut fields: Vec<Field> = schema().fields().to_vec();
    fields.push(Field::new("$set", DataType::not_null(TypeKind::BigInt)));
    let output = Schema::new(fields);
    let mut operator = Expand::new(&node, &schema(), &output).expect("the node is one of ours");
    Box::new(move |batches| run(&mut operator, batches, |_| 0))
}

fn unnest() -> Round {
    let node = UnnestNode { column: 1, is_left: false, with_ordinality: false, input_width: 2 };
    let array = DataType::new(TypeKind::Array(Box::new(DataType::bigint())));
    let input = Schema::new(vec![Field::new("org", DataType::string()), Field::new("numbers", array)]);
    let mut fields: Vec<Field> = input.fields().to_vec();
    fields.push(Field::new("x", DataType::bigint()));
    let output = Schema::new(fields);
    let mut operator = Unnest::new(&node, &input, &output).expect("the node is one of ours");
    let mut lists: Vec<RecordBatch> = Vec::new();
    Box::new(move |batches| {
        if lists.is_empty() {
            lists = batches.iter().map(|batch| with_numbers(batch, &input)).collect();
        }
        run(&mut operator, &lists, |_| 0)
    })
}

/// The rows of a batch with an array of two numbers each.
fn with_numbers(batch: &RecordBatch, schema: &Schema) -> RecordBatch {
    let numbers = (0..batch.num_rows()).map(|row| {
        let row = i64::try_from(row).unwrap_or(0);
        Some(vec![Some(row), Some(row + 1)])
    });
    let lists = ListArray::from_iter_primitive::<Int64Type, _, _>(numbers);
    RecordBatch::try_new(schema.arrow().clone(), vec![batch.column(0).clone(), Arc::new(lists)])
        .expect("the columns are the schema's")
}

fn calc() -> Round {
    let input = schema();
    let columns = [0_usize, 2, 4];
    let column = |index: usize| ScalarExpr::Column { index, data_type: input.fields()[index].data_type.clone() };
    let node = CalcNode { filter: Some(column(5)), project: columns.iter().map(|index| column(*index)).collect() };
    let output = Schema::new(columns.iter().map(|index| input.fields()[*index].clone()).collect());
    let mut operator = Calc::new(&node, &output).expect("the node is one of ours");
    Box::new(move |batches| run(&mut operator, batches, |_| 0))
}

fn call(function: AggregateFunction, args: &[usize], kind: TypeKind) -> AggregateCall {
    AggregateCall { function, args: args.to_vec(), distinct: false, filter: None, data_type: DataType::new(kind) }
}

fn schema() -> Schema {
    Schema::new(vec![
        Field::new("org", DataType::string()),
        Field::new("day", DataType::string()),
        Field::new("url", DataType::string()),
        Field::new("ts", DataType::new(TypeKind::Timestamp(3))),
        Field::new("n", DataType::bigint()),
        Field::new("keep", DataType::boolean()),
    ])
}

/// Rows that come one per millisecond, over [`GROUPS`] keys.
fn batches() -> Vec<RecordBatch> {
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move || {
        // xorshift64*: the same rows in every run.
        random ^= random >> 12;
        random ^= random << 25;
        random ^= random >> 27;
        random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32
    };
    let mut time_ms = 0_i64;
    (0..BATCHES)
        .map(|_| {
            let groups: Vec<u64> = (0..ROWS_PER_BATCH).map(|_| next() % GROUPS).collect();
            let text = |write: &dyn Fn(u64) -> String| -> ArrayRef {
                Arc::new(StringArray::from_iter_values(groups.iter().map(|group| write(*group))))
            };
            let times = (0..ROWS_PER_BATCH).map(|_| {
                time_ms += 1;
                time_ms
            });
            let columns: Vec<ArrayRef> = vec![
                text(&|group| format!("org-{}", group % 500)),
                text(&|group| format!("2025-05-{:02}", group / 500 % 20 + 1)),
                text(&|group| format!("/api/v1/resource/{}", group / 10_000)),
                Arc::new(TimestampMillisecondArray::from_iter_values(times)),
                Arc::new(Int64Array::from_iter_values(
                    groups.iter().map(|group| i64::try_from(*group % 1000).unwrap_or(0)),
                )),
                Arc::new(BooleanArray::from_iter(groups.iter().map(|group| Some(group % 2 == 0)))),
            ];
            RecordBatch::try_new(schema().arrow().clone(), columns).expect("the columns are the schema's")
        })
        .collect()
}

fn input_bytes(batches: &[RecordBatch]) -> usize {
    batches.iter().map(RecordBatch::get_array_memory_size).sum()
}

/// What copying a block far larger than the caches gives: bytes read per nanosecond.
fn copy_bytes_per_ns() -> f64 {
    let from = vec![1_u8; 256 << 20];
    let mut to = vec![0_u8; from.len()];
    let mut best = f64::MAX;
    for _ in 0..ROUNDS {
        let began = Clock::now();
        to.copy_from_slice(&from);
        best = best.min(began.elapsed_ns());
        std::hint::black_box(&to);
    }
    from.len() as f64 / best
}
