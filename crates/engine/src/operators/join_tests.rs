//! The joins against row-at-a-time references: any cut into batches, any restart, the same table.

use std::collections::BTreeMap;

use proptest::prelude::*;
use wiesel_core::{ChangelogMode, DataType, RowKind, Schema, TypeKind, Value};
use wiesel_expr::ScalarExpr;
use wiesel_expr::function::lookup;
use wiesel_plan::join::{IntervalBounds, VersionTimes};
use wiesel_plan::{JoinForm, JoinKey, JoinKind, JoinNode, JoinSide, Node, NodeKind};

use super::testing::{
    Change, Checkpoint, SpillStore, batch, change, changes, context, one_worker, schema, show, string,
};
use crate::operator::{Operator, Output, WATERMARK_MAX, WATERMARK_MIN};

/// One thing that happens to a join.
#[derive(Debug, Clone)]
enum Event {
    Rows(usize, Vec<Change>),
    Advance(i64, i64),
    Restart(bool),
}

const KINDS: [JoinKind; 6] =
    [JoinKind::Inner, JoinKind::Left, JoinKind::Right, JoinKind::Full, JoinKind::Semi, JoinKind::Anti];

fn output_schema(kind: JoinKind, input: &Schema) -> Schema {
    let one: Vec<TypeKind> = input.fields().iter().map(|f| f.data_type.kind.clone()).collect();
    if kind.is_semi_or_anti() { schema(&one) } else { schema(&[one.clone(), one].concat()) }
}

/// All changes. A join that can keep its state in the store must give the same, in an order of its own, when all of it goes there after
/// every event.
fn run(node: &JoinNode, input: &Schema, events: &[Event]) -> Vec<Change> {
    let sorted = |changes: &[Change]| {
        let mut lines = show(changes);
        lines.sort();
        lines
    };
    let (changes, spills) = run_once(node, input, events, false);
    if spills && (events.len() <= 8 || events.len().is_multiple_of(4)) {
        assert_eq!(sorted(&run_once(node, input, events, true).0), sorted(&changes), "spilled each time");
    }
    changes
}

fn run_once(node: &JoinNode, input: &Schema, events: &[Event], spills: bool) -> (Vec<Change>, bool) {
    let mut store = SpillStore::default();
    let output_schema = output_schema(node.kind, input);
    let plan_node = Node {
        kind: NodeKind::Join(node.clone()),
        inputs: vec![0, 1],
        schema: output_schema.clone(),
        changelog_mode: ChangelogMode::Full,
        upsert_keys: Vec::new(),
        rowtime: None,
        label: String::new(),
    };
    let new = || super::build(&plan_node, &[input, input], &one_worker()).unwrap();
    let mut operator: Box<dyn Operator> = new();
    let (mut checkpoint, mut output) = (Checkpoint::default(), Output::default());
    let (mut now_ms, mut watermark) = (0, WATERMARK_MIN);
    for event in events {
        let mut at = context(now_ms);
        at.watermark_ms = watermark;
        match event {
            Event::Rows(port, rows) => operator.process(*port, batch(input, rows), &at, &mut output).unwrap(),
            Event::Advance(to, now) => {
                (watermark, now_ms) = (*to, *now);
                let given = operator.advance(watermark, &context(now_ms), &mut output).unwrap();
                assert!(given <= watermark);
            }
            Event::Restart(full) => {
                store.snapshot(*full, &mut *operator, &mut checkpoint);
                operator = new();
                for ((table, key, vnode), value) in checkpoint.0.iter().rev() {
                    operator.restore(*table, *vnode, key, value).unwrap();
                }
                operator.restored(watermark).unwrap();
            }
        }
        if spills && operator.spills() {
            store.spill(&mut *operator, &mut checkpoint);
        }
    }
    assert!(operator.state_bytes() < 1 << 20);
    (changes(&output_schema, &output), operator.spills())
}

/// The rows that stand after a changelog, with how often each stands.
fn multiset(changes: &[Change]) -> BTreeMap<String, i64> {
    let mut table = BTreeMap::new();
    for (kind, row) in changes {
        *table.entry(show(&[(RowKind::Insert, row.clone())]).remove(0)).or_insert(0) +=
            if kind.is_add() { 1 } else { -1 };
    }
    table.retain(|_, count| *count != 0);
    table
}

/// Left value < right value.
fn less() -> ScalarExpr {
    let column = |index| ScalarExpr::Column { index, data_type: DataType::new(TypeKind::BigInt) };
    ScalarExpr::Call {
        function: lookup("<").unwrap(),
        args: vec![column(2), column(5)],
        data_type: DataType::new(TypeKind::Boolean),
    }
}

fn node(kind: JoinKind, form: JoinForm, condition: Option<ScalarExpr>) -> JoinNode {
    JoinNode { kind, left_width: 3, keys: vec![JoinKey { left: 0, right: 0, null_safe: false }], condition, form }
}

fn input() -> Schema {
    schema(&[string(), TypeKind::Timestamp(3), TypeKind::BigInt])
}

fn meets(left: &[Value], right: &[Value], node: &JoinNode) -> bool {
    let is_ordered = match (&left[2], &right[2]) {
        (Value::Int(l), Value::Int(r)) => l < r,
        _ => false,
    };
    left[0] != Value::Null && left[0] == right[0] && (node.condition.is_none() || is_ordered)
}

/// The result of a join of two tables, by definition.
fn reference(
    node: &JoinNode,
    left: &[Vec<Value>],
    right: &[Vec<Value>],
    meets: &dyn Fn(&[Value], &[Value]) -> bool,
) -> Vec<Change> {
    let mut rows = Vec::new();
    let nulls = vec![Value::Null; 3];
    for l in left {
        let partners: Vec<&Vec<Value>> = right.iter().filter(|r| meets(l, r)).collect();
        match node.kind {
            JoinKind::Semi if !partners.is_empty() => rows.push(l.clone()),
            JoinKind::Anti if partners.is_empty() => rows.push(l.clone()),
            JoinKind::Semi | JoinKind::Anti => {}
            _ => {
                rows.extend(partners.iter().map(|r| [l.clone(), (*r).clone()].concat()));
                if partners.is_empty() && node.kind.pads_right() {
                    rows.push([l.clone(), nulls.clone()].concat());
                }
            }
        }
    }
    if node.kind.pads_left() {
        let lonely = right.iter().filter(|r| !left.iter().any(|l| meets(l, r)));
        rows.extend(lonely.map(|r| [nulls.clone(), r.clone()].concat()));
    }
    rows.into_iter().map(|row| (RowKind::Insert, row)).collect()
}

fn key(number: u8) -> String {
    if number == 0 { "NULL".to_owned() } else { format!("k{number}") }
}

/// Cuts rows of two sides into batches and restarts.
fn cut(rows: Vec<(usize, Change)>, cuts: &[(usize, u8)]) -> Vec<Event> {
    let mut events: Vec<Event> = Vec::new();
    let mut cuts = cuts.iter();
    let mut until_cut = 0;
    for (port, change) in rows {
        match events.last_mut() {
            Some(Event::Rows(last, batch)) if *last == port && until_cut > 0 => batch.push(change),
            _ => events.push(Event::Rows(port, vec![change])),
        }
        if until_cut == 0 {
            match cuts.next() {
                Some((length, what)) => {
                    until_cut = *length;
                    if *what > 0 {
                        events.push(Event::Restart(*what == 2));
                    }
                }
                None => until_cut = 1000,
            }
        } else {
            until_cut -= 1;
        }
    }
    events
}

#[test]
fn each_kind_of_join_gives_flinks_changes() {
    let side = JoinSide::default();
    let events = [
        (0, "+I a @1 1"),
        (1, "+I a @1 5"),
        (1, "+I a @1 6"),
        (1, "-D a @1 5"),
        (1, "-U a @1 6"),
        (0, "-D a @1 1"),
        (1, "+U a @1 7"),
    ];
    let cases: [(JoinKind, &[&str]); 6] = [
        (JoinKind::Inner, &["+I a @1 1 a @1 5", "+I a @1 1 a @1 6", "-D a @1 1 a @1 5", "-U a @1 1 a @1 6"]),
        (
            JoinKind::Left,
            &[
                "+I a @1 1 NULL NULL NULL",
                "-D a @1 1 NULL NULL NULL",
                "+I a @1 1 a @1 5",
                "+I a @1 1 a @1 6",
                "-D a @1 1 a @1 5",
                "-U a @1 1 a @1 6",
                "+I a @1 1 NULL NULL NULL",
                "-D a @1 1 NULL NULL NULL",
            ],
        ),
        (
            JoinKind::Right,
            &[
                "+I a @1 1 a @1 5",
                "+I a @1 1 a @1 6",
                "-D a @1 1 a @1 5",
                "-D a @1 1 a @1 6",
                "+I NULL NULL NULL a @1 7",
            ],
        ),
        (
            JoinKind::Full,
            &[
                "+I a @1 1 NULL NULL NULL",
                "-D a @1 1 NULL NULL NULL",
                "+I a @1 1 a @1 5",
                "+I a @1 1 a @1 6",
                "-D a @1 1 a @1 5",
                "-D a @1 1 a @1 6",
                "+I a @1 1 NULL NULL NULL",
                "-D a @1 1 NULL NULL NULL",
                "+I NULL NULL NULL a @1 7",
            ],
        ),
        (JoinKind::Semi, &["+I a @1 1", "-U a @1 1"]),
        (JoinKind::Anti, &["+I a @1 1", "-D a @1 1", "+I a @1 1", "-D a @1 1"]),
    ];
    for (kind, expected) in cases {
        let node = node(kind, JoinForm::Regular([side.clone(), side.clone()]), None);
        for restarts in [false, true] {
            let rows = events.iter().flat_map(|(port, row)| {
                let restart = restarts.then_some(Event::Restart(false));
                [Some(Event::Rows(*port, vec![change(row)])), restart]
            });
            let events: Vec<Event> = rows.flatten().collect();
            assert_eq!(show(&run(&node, &input(), &events)), expected, "{kind:?}");
        }
    }
}

#[test]
fn a_row_of_one_side_is_forgotten_after_its_own_time_to_live() {
    let sides = [JoinSide { unique_key: None, state_ttl_ms: 10 }, JoinSide::default()];
    let node = node(JoinKind::Inner, JoinForm::Regular(sides), None);
    let rows = |port, row| Event::Rows(port, vec![change(row)]);
    let events = [
        Event::Advance(0, 1),
        rows(0, "+I a @1 1"),
        rows(1, "+I a @1 2"),
        Event::Advance(0, 11),
        Event::Restart(false),
        rows(1, "+I a @1 3"),
        rows(0, "+I a @1 4"),
    ];
    let expected = ["+I a @1 1 a @1 2", "+I a @1 4 a @1 2", "+I a @1 4 a @1 3"];
    assert_eq!(show(&run(&node, &input(), &events)), expected);
}

#[test]
fn a_replaced_row_of_a_unique_key_counts_as_one_partner() {
    let side = |unique: &[usize]| JoinSide { unique_key: Some(unique.to_vec()), state_ttl_ms: 0 };
    let node = node(JoinKind::Left, JoinForm::Regular([side(&[0]), side(&[0])]), None);
    let rows = |port, row| Event::Rows(port, vec![change(row)]);
    let events = [rows(0, "+I a @1 1"), rows(1, "+I a @1 2"), rows(1, "+U a @1 3"), rows(1, "-D a @1 3")];
    let expected = [
        "+I a @1 1 NULL NULL NULL",
        "-D a @1 1 NULL NULL NULL",
        "+I a @1 1 a @1 2",
        "+I a @1 1 a @1 3",
        "-D a @1 1 a @1 3",
        "+I a @1 1 NULL NULL NULL",
    ];
    assert_eq!(show(&run(&node, &input(), &events)), expected);
}

proptest! {
    #[test]
    fn any_cut_and_any_restart_of_a_regular_join_gives_the_join_of_both_tables(
        steps in prop::collection::vec((0_usize..2, 0_u8..4, 0_i64..3, any::<bool>()), 0..40),
        cuts in prop::collection::vec((0_usize..6, 0_u8..3), 0..20),
        kind in 0_usize..6,
        has_condition: bool,
    ) {
        let sides = [JoinSide::default(), JoinSide::default()];
        let node = node(KINDS[kind], JoinForm::Regular(sides), has_condition.then(less));
        let mut tables: [Vec<Vec<Value>>; 2] = Default::default();
        let mut rows = Vec::new();
        for (port, number, value, is_retraction) in steps {
            if is_retraction && let Some(row) = tables[port].pop() {
                rows.push((port, (RowKind::Delete, row)));
                continue;
            }
            let row = change(&format!("+I {} @1 {value}", key(number)));
            tables[port].insert(0, row.1.clone());
            rows.push((port, row));
        }
        let given = run(&node, &input(), &cut(rows, &cuts));
        let [left, right] = &tables;
        let expected = reference(&node, left, right, &|l, r| meets(l, r, &node));
        prop_assert_eq!(multiset(&given), multiset(&expected));
    }

    #[test]
    fn any_cut_and_any_restart_of_an_interval_join_gives_the_pairs_within_the_bounds(
        steps in prop::collection::vec((0_usize..2, 0_u8..4, 0_i64..3, 0_i64..4), 0..40),
        cuts in prop::collection::vec((0_usize..6, 0_u8..3), 0..20),
        kind in 0_usize..4,
        has_condition: bool,
        lower_ms in -6_i64..4,
        width_ms in 0_i64..8,
    ) {
        let upper_ms = lower_ms + width_ms;
        let bounds = IntervalBounds { left_time: 1, right_time: 1, is_event_time: true, lower_ms, upper_ms };
        let node = node(KINDS[kind], JoinForm::Interval(bounds), has_condition.then(less));
        let mut tables: [Vec<Vec<Value>>; 2] = Default::default();
        let mut rows = Vec::new();
        let mut time_ms = 100;
        for (port, number, value, later) in steps {
            time_ms += later;
            let row = change(&format!("+I {} @{time_ms} {value}", key(number)));
            tables[port].push(row.1.clone());
            rows.push((port, row));
        }
        let mut events = Vec::new();
        for event in cut(rows, &cuts) {
            // Time moves only in front of rows that come later: none is late.
            if let Event::Rows(_, rows) = &event && let Some((_, row)) = rows.first() && let Value::Timestamp(t) = row[1] {
                events.push(Event::Advance(t - 1, 0));
            }
            events.push(event);
        }
        events.push(Event::Advance(WATERMARK_MAX, 0));
        let given = run(&node, &input(), &events);
        let [left, right] = &tables;
        let within = |l: &[Value], r: &[Value]| match (&l[1], &r[1]) {
            (Value::Timestamp(l), Value::Timestamp(r)) => (lower_ms..=upper_ms).contains(&(l - r)),
            _ => false,
        };
        let expected = reference(&node, left, right, &|l, r| meets(l, r, &node) && within(l, r));
        prop_assert_eq!(multiset(&given), multiset(&expected));
    }

    #[test]
    fn any_cut_and_any_restart_of_a_temporal_join_gives_each_row_the_version_of_its_time(
        steps in prop::collection::vec((0_usize..2, 0_u8..4, 0_i64..3, 0_i64..4, any::<bool>()), 0..40),
        cuts in prop::collection::vec((0_usize..6, 0_u8..3), 0..20),
        is_left: bool,
        has_condition: bool,
    ) {
        let kind = if is_left { JoinKind::Left } else { JoinKind::Inner };
        let node = node(kind, JoinForm::Temporal(VersionTimes { left: 1, right: 1, state_ttl_ms: 0 }), has_condition.then(less));
        let mut rows = Vec::new();
        let mut expected = Vec::new();
        let mut time_ms = 100;
        for (port, number, value, later, is_deletion) in steps {
            time_ms += later;
            let kind = if port == 1 && is_deletion { "-D" } else { "+I" };
            rows.push((port, change(&format!("{kind} {} @{time_ms} {value}", key(number)))));
        }
        let time_of = |row: &[Value]| if let Value::Timestamp(t) = row[1] { t } else { 0 };
        for (_, (_, left)) in rows.iter().filter(|(port, _)| *port == 0) {
            // Of several versions of one time the last one counts.
            let versions = rows.iter().filter(|(port, (_, right))| {
                *port == 1 && right[0] == left[0] && left[0] != Value::Null && time_of(right) <= time_of(left)
            });
            let version = versions.max_by_key(|(_, (_, right))| time_of(right));
            let partner = version.filter(|(_, (kind, right))| *kind == RowKind::Insert && meets(left, right, &node));
            match partner {
                Some((_, (_, right))) => expected.push((RowKind::Insert, [left.clone(), right.clone()].concat())),
                None if is_left => {
                    expected.push((RowKind::Insert, [left.clone(), vec![Value::Null; 3]].concat()));
                }
                None => {}
            }
        }
        let mut events = Vec::new();
        for event in cut(rows, &cuts) {
            if let Event::Rows(_, rows) = &event && let Some((_, row)) = rows.first() {
                events.push(Event::Advance(time_of(row) - 1, 0));
            }
            events.push(event);
        }
        events.push(Event::Advance(WATERMARK_MAX, 0));
        prop_assert_eq!(multiset(&run(&node, &input(), &events)), multiset(&expected));
    }
}
