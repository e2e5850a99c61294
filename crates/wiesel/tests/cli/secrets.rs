//! A canary in every place that holds a secret, and a search for it in everything that the program says and leaves behind.

use super::program::{Output, Place};

const CANARY: &str = "Kanarienvogel-4711";

/// Every secret place: plain, in a URL, in JAAS, by variable, by file, as a setting. `%s` stands for the canary.
const TABLES: &str = "\
CREATE TABLE k (a STRING) WITH ('connector' = 'kafka', 'topic' = 't', 'properties.bootstrap.servers' = '127.0.0.1:9',
  'properties.security.protocol' = 'SASL_PLAINTEXT', 'properties.sasl.mechanism' = 'PLAIN', 'format' = 'json',
  'properties.sasl.jaas.config' = 'org.apache.kafka.common.security.plain.PlainLoginModule required username=\"u\" password=\"%s\";');
CREATE TABLE e (a STRING) WITH ('connector' = 'elasticsearch-7', 'hosts' = 'http://127.0.0.1:9', 'index' = 'i',
  'username' = 'u', 'password' = '%s');
CREATE TABLE p (a STRING) WITH ('connector' = 'jdbc', 'url' = 'jdbc:postgresql://127.0.0.1:9/db', 'table-name' = 't',
  'username' = 'u', 'password' = '${file:secret.txt}');
CREATE TABLE q (a STRING) WITH ('connector' = 'jdbc', 'table-name' = 't',
  'url' = 'jdbc:postgresql://127.0.0.1:9/db?user=u&password=%s');
CREATE TABLE v (a STRING) WITH ('connector' = 'jdbc', 'url' = 'jdbc:postgresql://127.0.0.1:9/db', 'table-name' = 't',
  'username' = 'u', 'password' = '${THE_PASSWORD}');
CREATE TABLE o (a STRING) WITH ('connector' = 'filesystem', 'path' = 'out', 'format' = 'csv');
";

fn place() -> Place {
    let place = Place::new();
    place.write("secret.txt", &format!("{CANARY}\n"));
    place.write(".env", &format!("THE_PASSWORD={CANARY}\n"));
    place
}

fn sql(rest: &str) -> String {
    format!("{TABLES}{rest}").replace("%s", CANARY)
}

/// Nothing of the canary in what was said, nor in a file other than those that were written with it.
fn assert_hidden(place: &Place, what: &str, output: &Output) {
    assert!(!output.all().contains(CANARY), "{what} tells the secret:\n{}", output.all());
    for (path, bytes) in place.files() {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let is_given = ["secret.txt", ".env"].contains(&name.as_str()) || name.ends_with(".sql");
        let holds = bytes.windows(CANARY.len()).any(|window| window == CANARY.as_bytes());
        assert!(is_given || !holds, "{what} leaves the secret in {}", path.display());
    }
}

#[test]
fn show_describe_explain_and_set_tell_no_secret() {
    let place = place();
    let shows: String = ["k", "e", "p", "q", "v"].map(|t| format!("SHOW CREATE TABLE {t};\nDESCRIBE {t};\n")).concat();
    place.write(
        "job.sql",
        &sql(&format!("{shows}SET;\nEXPLAIN INSERT INTO o SELECT a FROM k;\nINSERT INTO o VALUES ('x');\n")),
    );
    let run = place.wiesel(&["run", "job.sql", "--log-file", "log"]);
    assert_eq!(run.code, Some(0), "{run:?}");
    assert_hidden(&place, "run", &run);
    assert!(run.stdout.contains("'password' = '${THE_PASSWORD}'"), "{}", run.stdout);
    assert!(run.stdout.contains("'password' = '******'"), "{}", run.stdout);
    assert!(
        run.stdout.contains("&password=******'") || run.stdout.contains("?user=u&password=******"),
        "{}",
        run.stdout
    );
    assert_hidden(&place, "explain", &place.wiesel(&["explain", "job.sql"]));
    assert_hidden(&place, "checkpoints", &place.wiesel(&["checkpoints", "job.sql"]));
}

#[test]
fn errors_in_the_text_beside_a_secret_do_not_show_it() {
    let place = place();
    let wrong = [
        "CREATE TABLE x (a STRING) WITH ('connector' = 'jdbc', 'password' = '%s' 'url' = 'x');\n",
        "CREATE TABLE x (a STRING) WITH ('connector' = 'jdbc', 'paswort' = 'a', 'password' = '%s');\n",
        "CREATE TABLE x (a STRING) WITH ('connector' = 'jdbc', 'password' = '%s",
        "CREATE TABLE x (a STRING) WITH ('connector' = 'elasticsearch-7', 'hosts' = 'htp://u:%s@h', 'index' = 'i');\n",
        "CREATE TABLE x (a STRING) WITH ('connector' = 'jdbc', 'url' = 'jdbc:oracle://h/db?password=%s', 'table-name' = 't');\n",
        "SET 'some.secret' = '%s';\n",
        "INSERT INTO o SELECT a FROM k /*+ OPTIONS('properties.sasl.jaas.config' = 'nonsense password=%s') */;\n",
        "CREATE TABLE x (a STRING) WITH ('connector' = 'kafka', 'topic' = 't', 'format' = 'json', 'properties.bootstrap.servers' = 'h:1', 'properties.security.protocol' = 'SASL_SSL', 'properties.sasl.mechanism' = 'PLAIN', 'properties.sasl.jaas.config' = 'module required password=\"%s\"');\n",
    ];
    for text in wrong {
        place.write("job.sql", &sql(text));
        let check = place.wiesel(&["check", "--offline", "job.sql"]);
        assert_ne!(check.code, Some(0), "{text}: {check:?}");
        assert_hidden(&place, text, &check);
    }
}

#[test]
fn failed_connections_do_not_show_a_secret() {
    let place = place();
    place.write(
        "job.sql",
        &sql("INSERT INTO e SELECT a FROM p;\nINSERT INTO q SELECT a FROM v;\nINSERT INTO k VALUES ('x');\n"),
    );
    let check = place.wiesel(&["check", "job.sql"]);
    assert_eq!(check.code, Some(1), "{check:?}");
    assert!(check.stderr.contains("127.0.0.1:9"), "{}", check.stderr);
    assert_hidden(&place, "check", &check);
    let json =
        place.wiesel(&["run", "job.sql", "--log-format", "json", "--table-option", "x.password=Kanarienvogel-4711"]);
    assert_eq!(json.code, Some(2), "{json:?}");
    assert_hidden(&place, "run", &json);
}
