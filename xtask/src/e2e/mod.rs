//! End-to-end cases: the built program against real servers, seen only through its command line and through what the servers hold.
//!
//! **Adding a case.** Write a function in a file under `cases/` and add one entry, in the order of the names, to `CASES` below:
//!
//! ```text
//! Case { name: "filter_reaches_elasticsearch", needs: &[Kafka, Es7], limit_s: 60, run: filter::reaches_elasticsearch },
//!
//! pub(crate) fn reaches_elasticsearch(context: &Context) -> Result<()> {
//!     let kafka = context.kafka()?;
//!     let topic = context.unique("clicks");                            // free of other cases
//!     kafka.create_topic(&topic, 4)?;
//!     kafka.produce(&topic, [r#"{"user_id":"a"}"#, r#"{"user_id":"b"}"#])?;
//!     let job = context.write("job.sql", &format!("CREATE TABLE ... '{topic}' ..."))?;
//!     context.run(["run", &job], 30)?.expect_code(0)?;                 // wiesel, with a time limit in seconds
//!     let elasticsearch = context.elasticsearch(Line::Seven)?;
//!     elasticsearch.refresh("clicks")?;
//!     ensure!(elasticsearch.count("clicks")? == 2, "both rows must be there");
//!     Ok(())
//! }
//! ```
//!
//! `context.spawn([...])` starts wiesel in the background (`kill`, `terminate`, `wait`, `wait_until`); `context.postgres()?.query(...)`
//! asks PostgreSQL; `context.wait_until(limit_s, what, || ...)` waits for a state of the outside world, which is the only kind of
//! waiting here: no case sleeps for a guessed time. `context.note(...)` says what a reader of a failure needs.
//!
//! Cases run one after another, sorted by name, each in its own folder and thread with its own time limit. The servers are shared, so
//! a case uses names of its own (`unique`), and may stop or kill a server only if it starts it again (`context.services()`). A case
//! that fails or panics does not stop the others; what wiesel printed in it is shown then.

pub(crate) mod cases;
pub(crate) mod context;
pub(crate) mod elasticsearch;
pub(crate) mod kafka;
pub(crate) mod postgres;
pub(crate) mod program;
pub(crate) mod runner;

use anyhow::Result;

use crate::services::Service::{self, Es7, Es8, Es9, Kafka, MariaDb, Objects, OpenSearch, Postgres};
use cases::{
    avro, bad_input, change_metadata, compose, counters, delivery, demo, elasticsearch as elasticsearch_cases,
    elasticsearch_options, examples, filesystem, filesystem_source, format_options, harness, jdbc, jdbc_databases,
    jdbc_source, kafka_keys, kafka_sink, kafka_source, lookup_join, objects, options, outage, peek, pipelines, redrive,
    state, stop, workload,
};
use context::Context;

/// One end-to-end test.
#[derive(Clone, Copy)]
pub(crate) struct Case {
    /// What must hold, as words joined by underscores; the list is sorted by it and filters look at it.
    pub(crate) name: &'static str,
    /// The servers it talks to; only those that some chosen case needs are started.
    pub(crate) needs: &'static [Service],
    /// After so many seconds the case has failed and the programs that it started are killed.
    pub(crate) limit_s: u64,
    /// The case itself.
    pub(crate) run: fn(&Context) -> Result<()>,
}

/// Every case, sorted by name.
pub(crate) const CASES: &[Case] = &[
    Case {
        name: "avro_a_registry_that_is_away_holds_up_new_schemas_alone",
        needs: &[Kafka],
        limit_s: 300,
        run: avro::a_registry_that_is_away_holds_up_new_schemas_alone,
    },
    Case {
        name: "avro_plain_records_are_those_of_fastavro",
        needs: &[Kafka],
        limit_s: 180,
        run: avro::plain_records_are_those_of_fastavro,
    },
    Case {
        name: "avro_registered_records_are_those_of_confluents_client",
        needs: &[Kafka],
        limit_s: 180,
        run: avro::registered_records_are_those_of_confluents_client,
    },
    Case {
        name: "bad_input_a_broken_row_ends_the_job_with_its_place",
        needs: &[Kafka],
        limit_s: 120,
        run: bad_input::a_broken_row_ends_the_job_with_its_place,
    },
    Case {
        name: "bad_input_a_missing_topic_is_named",
        needs: &[Kafka],
        limit_s: 120,
        run: bad_input::a_missing_topic_is_named,
    },
    Case {
        name: "bad_input_a_misspelt_column_is_shown_with_a_caret",
        needs: &[],
        limit_s: 120,
        run: bad_input::a_misspelt_column_is_shown_with_a_caret,
    },
    Case {
        name: "bad_input_a_wrong_password_is_said_and_not_shown",
        needs: &[Kafka],
        limit_s: 120,
        run: bad_input::a_wrong_password_is_said_and_not_shown,
    },
    Case {
        name: "bad_input_an_unknown_option_is_refused_with_the_nearest",
        needs: &[],
        limit_s: 120,
        run: bad_input::an_unknown_option_is_refused_with_the_nearest,
    },
    Case {
        name: "bad_input_an_updating_query_cannot_go_to_files",
        needs: &[],
        limit_s: 120,
        run: bad_input::an_updating_query_cannot_go_to_files,
    },
    Case {
        name: "bad_input_check_names_every_system_that_does_not_answer",
        needs: &[Kafka],
        limit_s: 120,
        run: bad_input::check_names_every_system_that_does_not_answer,
    },
    Case {
        name: "bad_input_check_tells_all_errors_of_a_file_at_once",
        needs: &[],
        limit_s: 60,
        run: bad_input::check_tells_all_errors_of_a_file_at_once,
    },
    Case {
        name: "compose_services_run_as_processes",
        needs: &[Kafka, Es7, Postgres],
        limit_s: 300,
        run: compose::services_run_as_processes,
    },
    Case { name: "delivery_counters_add_up", needs: &[Kafka, Es7, Postgres], limit_s: 240, run: counters::add_up },
    Case {
        name: "delivery_elasticsearch_versioned_survives_kills",
        needs: &[Kafka, Es7],
        limit_s: 300,
        run: delivery::elasticsearch_versioned_survives_kills,
    },
    Case {
        name: "delivery_elasticsearch_versioned_twin_supersedes_the_first_run",
        needs: &[Kafka, Es7],
        limit_s: 300,
        run: delivery::elasticsearch_versioned_twin_supersedes_the_first_run,
    },
    Case {
        name: "delivery_kafka_a_twin_supersedes_the_first_run",
        needs: &[Kafka],
        limit_s: 300,
        run: delivery::kafka_a_twin_supersedes_the_first_run,
    },
    Case { name: "delivery_kafka_survives_kills", needs: &[Kafka], limit_s: 300, run: delivery::kafka_survives_kills },
    Case {
        name: "delivery_postgres_a_twin_supersedes_the_first_run",
        needs: &[Kafka, Postgres],
        limit_s: 300,
        run: delivery::postgres_a_twin_supersedes_the_first_run,
    },
    Case {
        name: "delivery_postgres_no_checkpoint_is_no_licence_to_write_again",
        needs: &[Kafka, Postgres],
        limit_s: 240,
        run: delivery::postgres_no_checkpoint_is_no_licence_to_write_again,
    },
    Case {
        name: "delivery_postgres_survives_kills",
        needs: &[Kafka, Postgres],
        limit_s: 300,
        run: delivery::postgres_survives_kills,
    },
    Case {
        name: "delivery_refused_rows_become_dead_letters",
        needs: &[Kafka, Es7, Postgres],
        limit_s: 240,
        run: delivery::refused_rows_become_dead_letters,
    },
    Case {
        name: "delivery_rows_refused_at_a_commit_become_dead_letters",
        needs: &[Kafka, Postgres],
        limit_s: 300,
        run: delivery::rows_refused_at_a_commit_become_dead_letters,
    },
    Case {
        name: "demo_shows_totals_and_writes_sums",
        needs: &[],
        limit_s: 120,
        run: demo::shows_totals_and_writes_sums,
    },
    Case {
        name: "elasticsearch_8_takes_keyed_and_unkeyed_rows",
        needs: &[Es8],
        limit_s: 120,
        run: elasticsearch_cases::eight_takes_keyed_and_unkeyed_rows,
    },
    Case {
        name: "elasticsearch_every_line_takes_upserts_and_deletes",
        needs: &[Kafka, Es7, Es8, Es9, OpenSearch],
        limit_s: 300,
        run: elasticsearch_cases::every_line_takes_upserts_and_deletes,
    },
    Case {
        name: "elasticsearch_index_names_follow_the_rows",
        needs: &[Es7, Es8, Es9, OpenSearch],
        limit_s: 180,
        run: elasticsearch_cases::index_names_follow_the_rows,
    },
    Case {
        name: "elasticsearch_without_a_right_ends_the_job_with_the_items_reason",
        needs: &[Es7, Es8],
        limit_s: 120,
        run: elasticsearch_cases::a_missing_right_ends_the_job_with_the_items_reason,
    },
    Case {
        name: "example_amounts_give_their_windows",
        needs: &[Kafka, Es7],
        limit_s: 180,
        run: examples::amounts_give_their_windows,
    },
    Case {
        name: "example_amounts_survive_kills",
        needs: &[Kafka, Es7],
        limit_s: 300,
        run: examples::amounts_survive_kills,
    },
    Case {
        name: "example_application_logs_are_partitioned_by_day_and_hour",
        needs: &[Kafka],
        limit_s: 180,
        run: examples::application_logs_are_partitioned_by_day_and_hour,
    },
    Case {
        name: "example_application_logs_give_their_parquet",
        needs: &[Kafka],
        limit_s: 180,
        run: examples::application_logs_give_their_parquet,
    },
    Case {
        name: "example_application_logs_survive_kills",
        needs: &[Kafka],
        limit_s: 300,
        run: examples::application_logs_survive_kills,
    },
    Case {
        name: "example_edge_logs_fill_three_indices",
        needs: &[Kafka, Es7],
        limit_s: 180,
        run: examples::edge_logs_fill_three_indices,
    },
    Case {
        name: "example_edge_logs_survive_kills",
        needs: &[Kafka, Es7],
        limit_s: 300,
        run: examples::edge_logs_survive_kills,
    },
    Case {
        name: "example_edge_logs_windowed_give_their_hours",
        needs: &[Kafka, Es7],
        limit_s: 180,
        run: examples::edge_logs_windowed_give_their_hours,
    },
    Case {
        name: "example_payments_give_their_totals",
        needs: &[Kafka, Es7],
        limit_s: 180,
        run: examples::payments_give_their_totals,
    },
    Case {
        name: "example_payments_survive_kills",
        needs: &[Kafka, Es7],
        limit_s: 300,
        run: examples::payments_survive_kills,
    },
    Case {
        name: "example_web_traffic_gives_its_hits",
        needs: &[Kafka, Postgres],
        limit_s: 180,
        run: examples::web_traffic_gives_its_hits,
    },
    Case {
        name: "example_web_traffic_is_analysed_by_day",
        needs: &[Postgres],
        limit_s: 120,
        run: examples::web_traffic_is_analysed_by_day,
    },
    Case {
        name: "example_web_traffic_survives_kills",
        needs: &[Kafka, Postgres],
        limit_s: 300,
        run: examples::web_traffic_survives_kills,
    },
    Case {
        name: "filesystem_json_is_partitioned_and_rolls_by_size",
        needs: &[],
        limit_s: 120,
        run: filesystem::json_is_partitioned_and_rolls_by_size,
    },
    Case {
        name: "filesystem_source_a_bad_line_ends_the_job_with_its_place",
        needs: &[],
        limit_s: 180,
        run: filesystem_source::a_bad_line_ends_the_job_with_its_place,
    },
    Case {
        name: "filesystem_source_what_one_job_writes_another_reads",
        needs: &[],
        limit_s: 180,
        run: filesystem_source::what_one_job_writes_another_reads,
    },
    Case {
        name: "filesystem_waits_for_a_full_disk_and_says_it_once",
        needs: &[Kafka],
        limit_s: 240,
        run: filesystem::a_full_disk_is_said_once_and_waited_for,
    },
    Case {
        name: "harness_elasticsearch_7_takes_a_bulk_and_finds_it",
        needs: &[Es7],
        limit_s: 60,
        run: harness::elasticsearch_7_takes_a_bulk_and_finds_it,
    },
    Case {
        name: "harness_elasticsearch_8_takes_a_bulk_and_finds_it",
        needs: &[Es8],
        limit_s: 60,
        run: harness::elasticsearch_8_takes_a_bulk_and_finds_it,
    },
    Case {
        name: "harness_kafka_accepts_each_login_and_refuses_a_wrong_one",
        needs: &[Kafka],
        limit_s: 60,
        run: harness::kafka_accepts_each_login_and_refuses_a_wrong_one,
    },
    Case {
        name: "harness_kafka_gives_back_what_it_was_given",
        needs: &[Kafka],
        limit_s: 60,
        run: harness::kafka_gives_back_what_it_was_given,
    },
    Case {
        name: "harness_kafka_survives_a_kill_with_its_data",
        needs: &[Kafka],
        limit_s: 120,
        run: harness::kafka_survives_a_kill_with_its_data,
    },
    Case {
        name: "harness_postgres_answers_a_query",
        needs: &[Postgres],
        limit_s: 60,
        run: harness::postgres_answers_a_query,
    },
    Case {
        name: "harness_programs_are_watched_and_killed",
        needs: &[],
        limit_s: 60,
        run: harness::programs_are_watched_and_killed,
    },
    Case {
        name: "harness_servers_come_back_after_a_kill",
        needs: &[Es7, Es8, Postgres],
        limit_s: 120,
        run: harness::servers_come_back_after_a_kill,
    },
    Case {
        name: "jdbc_every_type_comes_back_as_it_went",
        needs: &[Postgres],
        limit_s: 120,
        run: jdbc::every_type_comes_back_as_it_went,
    },
    Case {
        name: "jdbc_mysql_every_type_comes_back_as_it_went",
        needs: &[MariaDb],
        limit_s: 180,
        run: jdbc_databases::mysql_every_type_comes_back_as_it_went,
    },
    Case {
        name: "jdbc_mysql_rows_are_upserted_read_and_looked_up",
        needs: &[MariaDb],
        limit_s: 240,
        run: jdbc_databases::mysql_rows_are_upserted_read_and_looked_up,
    },
    Case {
        name: "jdbc_mysql_survives_kills",
        needs: &[Kafka, MariaDb],
        limit_s: 300,
        run: jdbc_databases::mysql_survives_kills,
    },
    Case {
        name: "jdbc_rows_without_a_key_are_appended",
        needs: &[Postgres],
        limit_s: 120,
        run: jdbc::rows_without_a_key_are_appended,
    },
    Case {
        name: "jdbc_source_a_missing_column_is_named",
        needs: &[Postgres],
        limit_s: 180,
        run: jdbc_source::a_missing_column_is_named,
    },
    Case {
        name: "jdbc_source_every_type_is_read",
        needs: &[Postgres],
        limit_s: 180,
        run: jdbc_source::every_type_is_read,
    },
    Case {
        name: "jdbc_source_parts_bring_the_rows_between_the_bounds",
        needs: &[Postgres],
        limit_s: 180,
        run: jdbc_source::parts_bring_the_rows_between_the_bounds,
    },
    Case {
        name: "jdbc_sqlite_every_type_comes_back_as_it_went",
        needs: &[],
        limit_s: 180,
        run: jdbc_databases::sqlite_every_type_comes_back_as_it_went,
    },
    Case {
        name: "jdbc_sqlite_rows_are_upserted_read_and_looked_up",
        needs: &[],
        limit_s: 240,
        run: jdbc_databases::sqlite_rows_are_upserted_read_and_looked_up,
    },
    Case {
        name: "jdbc_sqlite_survives_kills",
        needs: &[Kafka],
        limit_s: 300,
        run: jdbc_databases::sqlite_survives_kills,
    },
    Case {
        name: "kafka_keys_aborted_transactions_are_hidden_on_request",
        needs: &[Kafka],
        limit_s: 240,
        run: kafka_keys::aborted_transactions_are_hidden_on_request,
    },
    Case {
        name: "kafka_keys_changes_are_written_as_documents",
        needs: &[Kafka],
        limit_s: 240,
        run: kafka_keys::changes_are_written_as_documents,
    },
    Case {
        name: "kafka_keys_headers_are_written_and_read",
        needs: &[Kafka],
        limit_s: 180,
        run: kafka_keys::headers_are_written_and_read,
    },
    Case {
        name: "kafka_keys_keys_are_written_and_read",
        needs: &[Kafka],
        limit_s: 240,
        run: kafka_keys::keys_are_written_and_read,
    },
    Case {
        name: "kafka_keys_new_partitions_and_topics_are_found",
        needs: &[Kafka],
        limit_s: 240,
        run: kafka_keys::new_partitions_and_topics_are_found,
    },
    Case {
        name: "kafka_keys_partitions_are_chosen_as_asked",
        needs: &[Kafka],
        limit_s: 240,
        run: kafka_keys::partitions_are_chosen_as_asked,
    },
    Case {
        name: "kafka_keys_upserts_are_read_with_tombstones",
        needs: &[Kafka],
        limit_s: 240,
        run: kafka_keys::upserts_are_read_with_tombstones,
    },
    Case {
        name: "kafka_keys_upserts_are_written_exactly_once",
        needs: &[Kafka],
        limit_s: 240,
        run: kafka_keys::upserts_are_written_exactly_once,
    },
    Case {
        name: "kafka_metadata_says_where_a_change_comes_from",
        needs: &[Kafka],
        limit_s: 180,
        run: change_metadata::columns_say_where_a_change_comes_from,
    },
    Case {
        name: "kafka_sink_records_larger_than_the_topic_takes_are_refused",
        needs: &[Kafka],
        limit_s: 240,
        run: kafka_sink::records_larger_than_the_topic_takes_are_refused_one_by_one,
    },
    Case {
        name: "kafka_sink_rows_arrive_through_kills",
        needs: &[Kafka],
        limit_s: 300,
        run: kafka_sink::rows_arrive_through_kills,
    },
    Case {
        name: "kafka_source_a_bounded_end_stays_where_the_first_start_found_it",
        needs: &[Kafka],
        limit_s: 180,
        run: kafka_source::a_bounded_end_stays_where_the_first_start_found_it,
    },
    Case {
        name: "kafka_source_goes_on_where_its_group_stands",
        needs: &[Kafka],
        limit_s: 180,
        run: kafka_source::goes_on_where_its_group_stands,
    },
    Case {
        name: "kafka_source_latest_offset_shows_only_what_comes_later",
        needs: &[Kafka],
        limit_s: 180,
        run: kafka_source::latest_offset_shows_only_what_comes_later,
    },
    Case {
        name: "kafka_source_logs_in_with_scram_over_tls",
        needs: &[Kafka],
        limit_s: 120,
        run: kafka_source::logs_in_with_scram_over_tls,
    },
    Case {
        name: "kafka_source_reads_from_and_to_the_offsets_that_were_asked_for",
        needs: &[Kafka],
        limit_s: 180,
        run: kafka_source::reads_from_and_to_the_offsets_that_were_asked_for,
    },
    Case {
        name: "kafka_source_reads_from_and_to_the_times_that_were_asked_for",
        needs: &[Kafka],
        limit_s: 240,
        run: kafka_source::reads_from_and_to_the_times_that_were_asked_for,
    },
    Case {
        name: "kafka_source_waits_for_a_broker_that_is_away",
        needs: &[Kafka],
        limit_s: 300,
        run: outage::a_broker_that_is_away_is_said_once_and_waited_for,
    },
    Case {
        name: "lookup_join_a_retry_waits_for_a_row_that_comes_late",
        needs: &[Postgres],
        limit_s: 120,
        run: lookup_join::a_retry_waits_for_a_row_that_comes_late,
    },
    Case {
        name: "lookup_join_rows_meet_what_postgres_holds",
        needs: &[Postgres],
        limit_s: 120,
        run: lookup_join::rows_meet_what_postgres_holds,
    },
    Case {
        name: "lookup_join_views_and_every_cache_give_the_same_rows",
        needs: &[Postgres],
        limit_s: 120,
        run: lookup_join::views_and_every_cache_give_the_same_rows,
    },
    Case {
        name: "object_store_kafka_to_parquet_survives_kills_and_faults",
        needs: &[Kafka, Objects],
        limit_s: 600,
        run: objects::kafka_to_parquet_survives_kills_and_faults,
    },
    Case {
        name: "object_store_sources_and_savepoints_lie_there_too",
        needs: &[Objects],
        limit_s: 240,
        run: objects::sources_and_savepoints_lie_there_too,
    },
    Case { name: "options_of_canal_json", needs: &[], limit_s: 120, run: format_options::of_canal },
    Case { name: "options_of_csv", needs: &[], limit_s: 120, run: options::of_csv },
    Case { name: "options_of_datagen_and_print", needs: &[], limit_s: 120, run: options::of_datagen_and_print },
    Case {
        name: "options_of_elasticsearch_and_its_network",
        needs: &[Es7],
        limit_s: 240,
        run: elasticsearch_options::of_its_network,
    },
    Case { name: "options_of_file_partitions", needs: &[], limit_s: 120, run: options::of_file_partitions },
    Case { name: "options_of_jdbc_sinks", needs: &[Postgres], limit_s: 120, run: options::of_jdbc_sinks },
    Case { name: "options_of_json", needs: &[], limit_s: 120, run: options::of_json },
    Case {
        name: "options_of_parquet_timestamps",
        needs: &[],
        limit_s: 240,
        run: format_options::of_parquet_timestamps,
    },
    Case { name: "options_of_partition_commit", needs: &[], limit_s: 120, run: format_options::of_partition_commit },
    Case { name: "options_of_raw", needs: &[], limit_s: 120, run: format_options::of_raw },
    Case { name: "options_of_shown_columns", needs: &[], limit_s: 120, run: options::of_shown_columns },
    Case {
        name: "peek_shows_keys_tombstones_and_what_is_no_text",
        needs: &[Kafka],
        limit_s: 120,
        run: peek::shows_keys_tombstones_and_what_is_no_text,
    },
    Case {
        name: "peek_shows_the_newest_records_and_a_table_that_reads_them",
        needs: &[Kafka],
        limit_s: 120,
        run: peek::shows_the_newest_records_and_a_table_that_reads_them,
    },
    Case {
        name: "pipeline_flink_kafka_to_parquet_runs_as_its_document_says",
        needs: &[Kafka],
        limit_s: 180,
        run: pipelines::flink_kafka_to_parquet,
    },
    Case {
        name: "pipelines_of_a_workflow_run_side_by_side_and_go_on_after_a_kill",
        needs: &[Kafka],
        limit_s: 240,
        run: pipelines::workflow,
    },
    Case {
        name: "redrive_sends_each_letter_once",
        needs: &[Kafka, Postgres],
        limit_s: 300,
        run: redrive::sends_each_letter_once,
    },
    Case {
        name: "state_on_a_full_disk_fails_checkpoints_and_the_job_goes_on",
        needs: &[],
        limit_s: 240,
        run: state::a_full_disk_fails_checkpoints_and_the_job_goes_on,
    },
    Case {
        name: "stop_a_filesystem_sink_goes_on",
        needs: &[Kafka],
        limit_s: 240,
        run: stop::a_filesystem_sink_goes_on,
    },
    Case { name: "stop_a_jdbc_sink_goes_on", needs: &[Kafka, Postgres], limit_s: 240, run: stop::a_jdbc_sink_goes_on },
    Case { name: "stop_a_kafka_sink_goes_on", needs: &[Kafka], limit_s: 240, run: stop::a_kafka_sink_goes_on },
    Case {
        name: "stop_a_stalled_reader_of_the_printed_rows_does_not_hold_the_job",
        needs: &[],
        limit_s: 60,
        run: stop::a_stalled_reader_of_the_printed_rows_does_not_hold_the_job,
    },
    Case {
        name: "stop_an_elasticsearch_sink_goes_on",
        needs: &[Kafka, Es7],
        limit_s: 240,
        run: stop::an_elasticsearch_sink_goes_on,
    },
    Case {
        name: "wheel_runs_in_a_clean_environment",
        needs: &[],
        limit_s: 600,
        run: cases::wheel::runs_in_a_clean_environment,
    },
    Case {
        name: "workload_count_by_key_counts_every_message",
        needs: &[Kafka],
        limit_s: 180,
        run: workload::count_by_key_counts_every_message,
    },
    Case {
        name: "workload_decode_prints_every_message",
        needs: &[Kafka],
        limit_s: 180,
        run: workload::decode_prints_every_message,
    },
    Case {
        name: "workload_tumble_sum_sums_each_minute",
        needs: &[Kafka],
        limit_s: 180,
        run: workload::tumble_sum_sums_each_minute,
    },
];

#[cfg(test)]
mod tests {
    use super::CASES;

    #[test]
    fn the_list_of_cases_is_sorted_by_name() {
        for pair in CASES.windows(2) {
            assert!(pair[0].name < pair[1].name, "`{}` must stand before `{}`", pair[1].name, pair[0].name);
        }
    }
}
