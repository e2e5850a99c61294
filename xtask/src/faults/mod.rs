//! Faults on real servers: the matrix of what may break, row by row, and a seeded random mix of it.
//!
//! A row of the matrix is a case like the end-to-end cases are (same servers, same context), in its own list: `cargo xtask faults` runs
//! all of them or those named, then the random mode for the minutes that are left, and writes `docs/faults.md`. `cargo xtask test` runs
//! a short set. Each run prints its seed; the same seed gives the same draws (what the machine's timing makes of them is free).

mod elasticsearch;
mod input;
mod kills;
mod login;
mod machine;
mod network;
pub(crate) mod page;
mod postgres;
mod pressure;
mod process;
pub(crate) mod proxy;
pub(crate) mod random;
mod store;
mod topic;
pub(crate) mod totals;
mod world;

use std::sync::OnceLock;

use crate::e2e::Case;
use crate::services::Service::{Es7, Kafka, Objects, Postgres};

static SEED: OnceLock<u64> = OnceLock::new();

/// Sets the seed of this run; the first one stands.
pub(crate) fn set_seed(seed: u64) {
    SEED.get_or_init(|| seed);
}

/// The seed of this run; drawn when nobody has set one.
pub(crate) fn seed() -> u64 {
    *SEED.get_or_init(|| fastrand::u64(..1_000_000))
}

/// The seed of a case: that of the run, told apart by the case.
fn seed_of(case: u64) -> u64 {
    seed().wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(case)
}

/// Sinks of the kills.
const SINK_COUNT: u64 = kills::SINKS.len() as u64;

/// Longest time of one cell.
const CELL_LIMIT_S: u64 = 420;

macro_rules! kill_cells {
    ($($row:literal $name:literal),* $(,)?) => {
        &[$(
            Case { name: concat!("fault_", $name, "_files"), needs: &[Kafka, Postgres], limit_s: CELL_LIMIT_S, run: kills::cell::<$row, 0> },
            Case { name: concat!("fault_", $name, "_kafka"), needs: &[Kafka, Postgres], limit_s: CELL_LIMIT_S, run: kills::cell::<$row, 1> },
            Case { name: concat!("fault_", $name, "_postgres"), needs: &[Kafka, Postgres], limit_s: CELL_LIMIT_S, run: kills::cell::<$row, 2> },
            Case { name: concat!("fault_", $name, "_elasticsearch"), needs: &[Kafka, Postgres, Es7], limit_s: CELL_LIMIT_S, run: kills::cell::<$row, 3> },
        )*]
    };
}

/// Rows 1 to 14, once per sink.
const KILLS: &[Case] = kill_cells![
    1 "01_dies_at_the_begin_of_a_checkpoint",
    2 "02_dies_while_operators_are_frozen",
    3 "03_dies_in_a_half_written_state_file",
    4 "04_dies_before_the_state_is_on_disk",
    5 "05_dies_while_the_sink_prepares",
    6 "06_dies_in_a_half_written_manifest",
    7 "07_dies_before_the_manifest_is_on_disk",
    8 "08_dies_before_the_folder_is_on_disk",
    9 "09_dies_before_the_commit",
    10 "10_dies_between_two_commits",
    11 "11_dies_before_the_commit_is_recorded",
    12 "12_dies_before_the_offsets_are_told",
    13 "13_dies_while_old_files_are_removed",
    14 "14_dies_while_it_restores",
];

/// Rows 3 to 9 and 13 once more, in an object store.
const IN_STORE: Case = Case {
    name: "fault_03_to_13_in_an_object_store",
    needs: &[Kafka, Postgres, Objects],
    limit_s: 900,
    run: store::kills,
};

/// The other rows, as far as they need servers; the rest of the matrix lies in the tests of the crates and in `tests/sql`.
const OTHERS: &[Case] = &[
    Case { name: "fault_17_many_restarts", needs: &[Kafka, Postgres], limit_s: 2_400, run: process::many_restarts },
    Case {
        name: "fault_18_superseded_while_it_stood_still",
        needs: &[Kafka, Postgres, Es7],
        limit_s: 600,
        run: process::twins::<18>,
    },
    Case {
        name: "fault_20_two_with_different_state_folders",
        needs: &[Kafka, Postgres, Es7],
        limit_s: 600,
        run: process::twins::<20>,
    },
    Case {
        name: "fault_22_broker_restarts",
        needs: &[Kafka, Postgres],
        limit_s: 500,
        run: network::broker_restarts::<22>,
    },
    Case {
        name: "fault_23_broker_is_killed",
        needs: &[Kafka, Postgres],
        limit_s: 500,
        run: network::broker_restarts::<23>,
    },
    Case { name: "fault_24_network_partition", needs: &[Kafka, Postgres], limit_s: 300, run: network::partition },
    Case { name: "fault_25_half_open_connection", needs: &[Kafka, Postgres], limit_s: 400, run: network::half_open },
    Case {
        name: "fault_26_resets_and_a_slow_line",
        needs: &[Kafka, Postgres],
        limit_s: 400,
        run: network::resets_and_slow,
    },
    Case { name: "fault_27_foreign_consumer", needs: &[Kafka, Postgres], limit_s: 300, run: network::foreign_consumer },
    Case { name: "fault_29_topic_made_again", needs: &[Kafka, Postgres], limit_s: 300, run: topic::made_again },
    Case {
        name: "fault_30_retention_passed_the_offset",
        needs: &[Kafka, Postgres],
        limit_s: 300,
        run: topic::retention,
    },
    Case {
        name: "fault_31_aborted_transactions",
        needs: &[Kafka, Postgres],
        limit_s: 300,
        run: topic::aborted_transactions,
    },
    Case {
        name: "fault_33_request_refused",
        needs: &[Kafka, Postgres, Es7],
        limit_s: 400,
        run: elasticsearch::all_refused,
    },
    Case {
        name: "fault_34_items_refused",
        needs: &[Kafka, Postgres, Es7],
        limit_s: 400,
        run: elasticsearch::items_refused,
    },
    Case {
        name: "fault_35_unavailable",
        needs: &[Kafka, Postgres, Es7],
        limit_s: 400,
        run: elasticsearch::unavailable,
    },
    Case { name: "fault_37_too_large", needs: &[Kafka, Postgres, Es7], limit_s: 400, run: elasticsearch::too_large },
    Case {
        name: "fault_38_answer_lost",
        needs: &[Kafka, Postgres, Es7],
        limit_s: 400,
        run: elasticsearch::answer_lost,
    },
    Case {
        name: "fault_39_node_restarts_and_blocks",
        needs: &[Kafka, Postgres, Es7],
        limit_s: 600,
        run: elasticsearch::node_restarts_and_blocks,
    },
    Case {
        name: "fault_39_index_is_deleted",
        needs: &[Kafka, Postgres, Es7],
        limit_s: 400,
        run: elasticsearch::index_deleted,
    },
    Case {
        name: "fault_40_postgres_restarts",
        needs: &[Kafka, Postgres],
        limit_s: 400,
        run: postgres::restarts_and_killed_backends,
    },
    Case {
        name: "fault_41_answer_to_commit_lost",
        needs: &[Kafka, Postgres],
        limit_s: 400,
        run: postgres::answer_to_commit_lost,
    },
    Case {
        name: "fault_42_serialization_failures",
        needs: &[Kafka, Postgres],
        limit_s: 400,
        run: postgres::serialization_failures,
    },
    Case {
        name: "fault_44_connections_used_up",
        needs: &[Kafka, Postgres],
        limit_s: 400,
        run: postgres::connections_used_up,
    },
    Case { name: "fault_21_memory_is_limited", needs: &[Postgres], limit_s: 1500, run: pressure::memory_limit },
    Case { name: "fault_32_login_revoked", needs: &[Kafka, Postgres], limit_s: 600, run: login::revoked },
    Case { name: "fault_43_columns_change", needs: &[Kafka, Postgres], limit_s: 600, run: postgres::changed_columns },
    Case { name: "fault_47_disk_gives_errors", needs: &[], limit_s: 1800, run: machine::failing_disk },
    Case { name: "fault_51_broken_messages", needs: &[Kafka], limit_s: 600, run: input::broken },
    Case { name: "fault_52_messages_that_are_no_text", needs: &[Kafka], limit_s: 400, run: input::no_text },
    Case { name: "fault_53_message_without_a_value", needs: &[Kafka], limit_s: 120, run: input::tombstone },
    Case { name: "fault_54_huge_messages", needs: &[Kafka], limit_s: 400, run: input::huge },
    Case { name: "fault_55_values_of_other_types", needs: &[Kafka], limit_s: 400, run: input::other_types },
    Case { name: "fault_58_silent_partitions", needs: &[Kafka], limit_s: 300, run: input::silence },
    Case { name: "fault_59_wall_clock_jumps", needs: &[Kafka, Postgres], limit_s: 600, run: machine::wall_clock },
    Case { name: "fault_67_burst_into_a_slow_sink", needs: &[Kafka, Postgres], limit_s: 600, run: pressure::burst },
];

/// One list of the random mode.
pub(crate) const RANDOM: Case =
    Case { name: "random_list", needs: &[Kafka, Postgres, Es7], limit_s: 1_200, run: random::list };

/// A short list, for every change.
const RANDOM_SHORT: Case =
    Case { name: "fault_random_list", needs: &[Kafka, Postgres, Es7], limit_s: 600, run: random::short_list };

/// Short lists of the short set.
const SHORT_LISTS: usize = 5;

/// Rows whose place is the messages themselves: they are quick, and part of the short set.
const INPUT_ROWS: [&str; 5] = ["fault_51", "fault_52", "fault_53", "fault_54", "fault_55"];

/// The short set of `cargo xtask test`: the kills of one sink, drawn by the seed, broken messages, and some short random lists.
pub(crate) fn short_set() -> Vec<Case> {
    let sink = usize::try_from(seed_of(0) % SINK_COUNT).expect("one of four");
    let mut cases: Vec<Case> = KILLS.iter().skip(sink).step_by(SINK_COUNT as usize).copied().collect();
    cases.extend(OTHERS.iter().filter(|case| INPUT_ROWS.iter().any(|row| case.name.starts_with(row))));
    cases.extend([RANDOM_SHORT; SHORT_LISTS]);
    cases
}

/// Every case of the matrix, sorted by name.
pub(crate) fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = KILLS.iter().chain(OTHERS).chain([&IN_STORE]).copied().collect();
    cases.sort_by_key(|case| case.name);
    cases
}
