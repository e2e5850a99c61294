//! `wiesel pipeline`: where values come from, what is said of wrong ones, and that the template sees them.

use super::program::Place;

const DECLARATION: &str = "\
doc: Copies numbers.
properties: config/properties/files.properties
parameters:
  - {name: count, doc: How many numbers., type: integer, env: NUMBERS, default: 3}
  - {name: folder, doc: Where they go., env: SINK_PATH, property: sink.path}
  - {name: format, doc: The form of the files., values: [csv, json], property: sink.format, default: csv}
  - {name: password, doc: A secret., env: COPY_PASSWORD, optional: true}
  - {name: pace, doc: Rows a second., type: integer, optional: true, options: [numbers.rows-per-second]}
";
const TEMPLATE: &str = "\
CREATE TABLE numbers (n BIGINT) WITH (
  'connector' = 'datagen', 'number-of-rows' = '${count}', 'fields.n.kind' = 'sequence',
  'fields.n.start' = '1', 'fields.n.end' = '1000');
CREATE TABLE copied (n BIGINT) WITH ('connector' = 'filesystem', 'path' = '${folder}', 'format' = '${format}');
INSERT INTO copied SELECT n FROM numbers;
";

fn place() -> Place {
    let place = Place::new();
    place.write("pipelines/copy/pipeline.yaml", DECLARATION);
    place.write("pipelines/copy/job.sql", TEMPLATE);
    place
}

/// The lines of all data files below a folder, sorted.
pub(crate) fn lines(place: &Place, folder: &str) -> Vec<String> {
    let of_folder = |path: &std::path::Path| {
        let inside = path.strip_prefix(place.path(folder)).ok();
        inside.is_some_and(|p| !p.to_string_lossy().starts_with(['.', '_']))
    };
    let mut lines: Vec<String> = place
        .files()
        .into_iter()
        .filter(|(path, _)| of_folder(path))
        .flat_map(|(_, bytes)| String::from_utf8(bytes).unwrap().lines().map(str::to_owned).collect::<Vec<_>>())
        .collect();
    lines.sort();
    lines
}

#[test]
fn a_value_comes_from_the_first_place_that_has_it() {
    let place = place();
    place.write(".env", "SINK_PATH='from env' # where\nNUMBERS=2\nCOPY_PASSWORD=verborgen-91\n");
    place
        .write("config/properties/files.properties", "# files\nsink.path=from-properties\nsink.format=${KIND:-json}\n");
    let show = place.wiesel_with(&["pipeline", "copy", "--show", "pace=5"], &[("NUMBERS", "4")]);
    assert_eq!((show.code, show.stderr.as_str()), (Some(0), ""), "{show:?}");
    let row = |name: &str| {
        let line = show.stdout.lines().find(|line| line.contains(&format!(" {name} "))).unwrap();
        line.split('|').map(str::trim).filter(|cell| !cell.is_empty()).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(row("count"), ["count", "4", "the environment"]);
    assert_eq!(row("folder"), ["folder", "from env", "`./.env`"]);
    assert_eq!(row("format"), ["format", "json", "`config/properties/files.properties`"]);
    assert_eq!(row("password"), ["password", "******", "`./.env`"]);
    assert_eq!(row("pace"), ["pace", "5", "the command line"]);

    let run = place.wiesel(&["pipeline", "copy", "folder=out", "format=csv"]);
    assert_eq!(run.code, Some(0), "{run:?}");
    assert_eq!(lines(&place, "out"), ["1", "2"]);
    assert!(place.path(".wiesel/copy").is_dir(), "{:?}", place.files());
    assert!(!run.all().contains("verborgen-91"), "{run:?}");
}

#[test]
fn wrong_and_missing_values_are_told_together_and_nothing_runs() {
    let place = place();
    let run = place.wiesel(&["pipeline", "copy", "count=many", "fodler=x"]);
    let expected = "\
error: there is no parameter `fodler`
hint: did you mean `folder`?
parameter `count`: expected a whole number, found `many`, from the command line
parameter `folder` has no value: Where they go.
hint: give `folder=...` on the command line, or `SINK_PATH` in the environment or an environment file, or `sink.path` in the properties file
";
    assert_eq!((run.code, run.stderr.as_str()), (Some(2), expected));
    let run = place.wiesel(&["pipeline", "kopy"]);
    assert_eq!(run.stderr, "error: there is no pipeline `kopy`\nhint: did you mean `copy`?\n");
    place.write("pipelines/copy/pipeline.yaml", "doc: x\nparametres: []\n");
    let run = place.wiesel(&["pipeline", "copy"]);
    assert_eq!(run.code, Some(2));
    assert!(run.stderr.contains("`pipelines/copy/pipeline.yaml`: ") && run.stderr.contains("parametres"), "{run:?}");
}

#[test]
fn the_pipelines_of_the_program_are_listed_and_planned() {
    let place = Place::new();
    let list = place.wiesel(&["pipeline"]);
    assert_eq!(list.code, Some(0), "{list:?}");
    for name in ["data_transformer", "flink_kafka_to_parquet", "kafka_extractor", "parquet_loader"] {
        assert!(list.stdout.contains(&format!("{name}: ")), "{name} in {}", list.stdout);
    }
    // Files to files, as the second and third step do it, to their ends.
    let row = r#"{"timestamp":"2025-08-06T09:12:30Z","serviceName":"s","attributes":{"msg":"m","mobile":"2"},"body":"{\"data\":{\"mobile\":\"1\"}}"}"#;
    place.write("data/extracted/part-0", &format!("{row}\n"));
    for name in ["data_transformer", "parquet_loader"] {
        let run = place.wiesel(&["pipeline", name, "monitor_interval="]);
        assert_eq!(run.code, Some(0), "{run:?}");
    }
    let found = lines(&place, "data/transformed");
    assert_eq!(found.len(), 1);
    assert!(found[0].contains(r#""msg":"m","url":null,"mobile":"1""#), "{found:?}");
    assert!(
        place
            .files()
            .iter()
            .any(|(path, bytes)| path.starts_with(place.path("data/parquet")) && bytes.starts_with(b"PAR1"))
    );
}
