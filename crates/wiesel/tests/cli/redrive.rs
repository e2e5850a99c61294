//! What `wiesel redrive` says where nothing can be sent; that it sends each letter once needs servers (`redrive_sends_each_letter_once`).

use super::program::Place;

#[test]
fn letters_that_cannot_be_sent_are_counted_with_the_reason_and_wrong_names_are_refused() {
    let place = Place::new();
    place.write("lines/rows", "1\nno number\n3\nnone either\n");
    let files = |path: &str, format: &str| {
        format!("'connector' = 'filesystem', 'path' = '{}', 'format' = '{format}'", place.path(path).display())
    };
    let job = format!(
        "SET 'wiesel.on-refused' = 'dead-letter';\nSET 'wiesel.dead-letter.table' = 'letters';\n\
         CREATE TABLE `lines` (v INT) WITH ({});\n\
         CREATE TABLE letters (`at` TIMESTAMP(3), table_name STRING, topic STRING, `partition` INT, `offset` BIGINT, `raw` STRING, \
         reason STRING) WITH ({});\n\
         CREATE TABLE dst (v INT) WITH ('connector' = 'blackhole');\nINSERT INTO dst SELECT v FROM `lines`;\n",
        files("lines", "csv"),
        files("letters", "json"),
    );
    place.write("job.sql", &job);
    let run = place.wiesel(&["run", "job.sql"]);
    assert_eq!(run.code, Some(0), "{run:?}");
    // Twice the same: nothing was sent.
    for _ in 0..2 {
        let redrive = place.wiesel(&["redrive", "letters", "--job", "job.sql"]);
        assert_eq!(redrive.code, Some(0), "{redrive:?}");
        for part in [
            "`letters` holds 2 letters: 0 to be sent, 0 sent before, 2 that cannot be sent",
            "2 letters stay in `letters`: `lines` is read by connector 'filesystem', which has no topic",
        ] {
            assert!(redrive.stderr.contains(part), "{part}: {redrive:?}");
        }
    }
    for (table, expected) in [("leters", "no table `leters`"), ("dst", "dst")] {
        let refused = place.wiesel(&["redrive", table, "--job", "job.sql"]);
        assert_eq!(refused.code, Some(2), "{refused:?}");
        assert!(refused.stderr.contains(expected), "{refused:?}");
    }
    let remote = place.wiesel(&["redrive", "letters", "--job", "job.sql", "--state", "s3://bucket/state"]);
    assert_eq!(remote.code, Some(2), "{remote:?}");
    assert!(remote.stderr.contains("give a folder on a disk"), "{remote:?}");
}
