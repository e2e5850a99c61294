//! `${NAME}` in WITH and SET values: where the values come from, and what is said when there is none.

use super::program::Place;

const JOB: &str = "\
SET 'pipeline.name' = '${JOB_NAME:-nameless}';
CREATE TABLE t (a STRING) WITH ('connector' = 'filesystem', 'path' = '${FOLDER}/$${x}', 'format' = '${FORMAT:-csv}');
SHOW CREATE TABLE t;
SET;
INSERT INTO t VALUES ('a');
";

#[test]
fn a_value_comes_from_the_environment_else_from_the_files_else_it_is_the_default() {
    let place = Place::new();
    place.write("job.sql", JOB);
    place.write(".env", "FOLDER=out # the last one asked\nJOB_NAME=from-env\n");
    place.write(".env.dev", "JOB_NAME=\"from # dev\"\n");
    let run = place.wiesel(&["run", "job.sql"]);
    assert_eq!(run.code, Some(0), "{run:?}");
    let first = run.stderr.lines().next().unwrap();
    assert_eq!(first, "variables: JOB_NAME from `./.env.dev`; FOLDER from `./.env`");
    assert!(place.path("out/${x}").is_dir(), "`$${{` stands for itself: {:?}", place.files());
    assert!(place.path(".wiesel/from # dev").is_dir(), "{:?}", place.files());
    for shown in ["'path' = '${FOLDER}/$${x}'", "'format' = '${FORMAT:-csv}'", "${JOB_NAME:-nameless}"] {
        assert!(run.stdout.contains(shown), "{shown} in {}", run.stdout);
    }

    // A file that is asked for stands alone, and the environment goes before it.
    place.write("other", "export FOLDER='third'\nFORMAT=json\n");
    let run = place.wiesel_with(&["run", "job.sql", "--env-file", "other", "--fresh"], &[("FOLDER", "fourth")]);
    assert_eq!(run.code, Some(0), "{run:?}");
    let first = run.stderr.lines().next().unwrap();
    assert_eq!(first, "variables: FORMAT from `other`; FOLDER from the environment");
    assert!(place.path("fourth/${x}").is_dir() && place.path(".wiesel/nameless").is_dir(), "{:?}", place.files());
}

#[test]
fn what_is_not_set_is_one_error_with_its_place() {
    let place = Place::new();
    place.write("job.sql", JOB);
    let check = place.wiesel(&["check", "job.sql"]);
    assert_eq!(check.code, Some(2), "{check:?}");
    let expected = "error[W0507]: 'path': variable `FOLDER` is not set\n  --> job.sql:2:71\n";
    assert!(check.stderr.starts_with(expected), "{}", check.stderr);
    assert_eq!(check.stderr.matches("error[").count(), 1, "{}", check.stderr);

    place.write(".env", "FOLDER=x\nno equals sign\n");
    let check = place.wiesel(&["check", "job.sql"]);
    assert_eq!((check.code, check.stderr.as_str()), (Some(2), "error: `./.env`, line 2: expected NAME=value\n"));
    let check = place.wiesel(&["check", "job.sql", "--env-file", "none"]);
    assert_eq!(check.code, Some(2), "{check:?}");
    assert!(check.stderr.starts_with("error: cannot read `none`: No such file"), "{}", check.stderr);
}
