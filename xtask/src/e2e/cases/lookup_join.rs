//! The lookup join against a real PostgreSQL: rows meet what the table holds when they pass.

use anyhow::{Result, ensure};

use super::jdbc::with;
use crate::e2e::context::Context;

pub(crate) fn rows_meet_what_postgres_holds(context: &Context) -> Result<()> {
    let table = context.unique("customers");
    context.postgres()?.execute(&format!(
        "CREATE TABLE {table} (id INT8 PRIMARY KEY, name TEXT, land TEXT);\n\
         INSERT INTO {table} VALUES (1, 'one', 'DE'), (2, 'two', 'FR'), (4, NULL, 'DE')"
    ))?;
    let place = with(context, &table)?;
    let place = place.trim_end_matches(')');
    let orders = "(SELECT id, n, PROCTIME() AS p FROM (VALUES (1, 'a'), (2, 'b'), (3, 'c'), (1, 'd'), (4, 'e'), \
                  (CAST(NULL AS INT), 'f')) AS t (id, n)) AS o";
    let declared = format!(
        "CREATE TABLE customers (id BIGINT, name STRING, land STRING, PRIMARY KEY (id) NOT ENFORCED) {place}, \
         'lookup.cache' = 'PARTIAL', 'lookup.partial-cache.max-rows' = '100', \
         'lookup.partial-cache.expire-after-write' = '1 h', 'lookup.max-retries' = '2');\n\
         CREATE TABLE shown (n STRING, name STRING, land STRING) WITH ('connector' = 'print');\n"
    );
    let cases: [(&str, &[&str]); 2] = [
        (
            "JOIN customers FOR SYSTEM_TIME AS OF o.p AS c ON o.id = c.id",
            &["+I[a, one, DE]", "+I[b, two, FR]", "+I[d, one, DE]", "+I[e, null, DE]"],
        ),
        (
            "LEFT JOIN customers FOR SYSTEM_TIME AS OF o.p AS c ON o.id = c.id AND c.land = 'DE'",
            &[
                "+I[a, one, DE]",
                "+I[b, null, null]",
                "+I[c, null, null]",
                "+I[d, one, DE]",
                "+I[e, null, DE]",
                "+I[f, null, null]",
            ],
        ),
    ];
    for (join, expected) in cases {
        let job = format!("{declared}INSERT INTO shown SELECT o.n, c.name, c.land FROM {orders} {join};\n");
        let job = context.write("job.sql", &job)?;
        let run = context.run(["run", &job, "--fresh"], 60)?.expect_code(0)?;
        let mut rows: Vec<&str> = run.stdout.lines().collect();
        rows.sort_unstable();
        ensure!(rows == expected, "{join}: expected {expected:?}, found {rows:?}");
    }
    Ok(())
}

/// The forms that the cache's options have, and a view over the table: the same rows must come from each.
pub(crate) fn views_and_every_cache_give_the_same_rows(context: &Context) -> Result<()> {
    let table = context.unique("goods");
    context.postgres()?.execute(&format!(
        "CREATE TABLE {table} (id INT8 PRIMARY KEY, name TEXT, price INT4);\n\
         INSERT INTO {table} VALUES (1, 'one', 10), (2, 'two', 200), (4, NULL, 5)"
    ))?;
    let place = with(context, &table)?;
    let place = place.trim_end_matches(')');
    let caches = [
        "'lookup.cache' = 'NONE'",
        "'lookup.cache' = 'PARTIAL', 'lookup.partial-cache.expire-after-access' = '1 min', \
         'lookup.partial-cache.cache-missing-key' = 'false'",
        "'lookup.cache.max-rows' = '1', 'lookup.cache.ttl' = '1 min', 'lookup.cache.caching-missing-key' = 'false'",
    ];
    let expected = ["+I[a, ONE, 10]", "+I[b, null, null]", "+I[c, null, null]", "+I[d, ONE, 10]", "+I[e, nobody, 5]"];
    for cache in caches {
        let job = format!(
            "CREATE TABLE goods (id BIGINT, name STRING, price INT, PRIMARY KEY (id) NOT ENFORCED) {place}, {cache});\n\
             CREATE VIEW cheap AS SELECT id AS code, COALESCE(UPPER(name), 'nobody') AS name, price FROM goods WHERE price < 100;\n\
             CREATE TABLE shown (n STRING, name STRING, price INT) WITH ('connector' = 'print');\n\
             INSERT INTO shown SELECT o.n, c.name, c.price FROM (SELECT id, n, PROCTIME() AS p FROM \
             (VALUES (1, 'a'), (2, 'b'), (3, 'c'), (1, 'd'), (4, 'e')) AS t (id, n)) AS o \
             LEFT JOIN cheap FOR SYSTEM_TIME AS OF o.p AS c ON o.id = c.code;\n"
        );
        let job = context.write("job.sql", &job)?;
        let run = context.run(["run", &job, "--fresh"], 60)?.expect_code(0)?;
        let mut rows: Vec<&str> = run.stdout.lines().collect();
        rows.sort_unstable();
        ensure!(rows == expected, "{cache}: expected {expected:?}, found {rows:?}");
    }
    Ok(())
}

pub(crate) fn a_retry_waits_for_a_row_that_comes_late(context: &Context) -> Result<()> {
    let table = context.unique("late");
    let mut postgres = context.postgres()?;
    postgres.execute(&format!(
        "CREATE TABLE {table} (id INT8 PRIMARY KEY, name TEXT); INSERT INTO {table} VALUES (1, 'one')"
    ))?;
    let job = format!(
        "CREATE TABLE late (id BIGINT, name STRING) {};\n\
         CREATE TABLE shown (id INT, name STRING) WITH ('connector' = 'print');\n\
         INSERT INTO shown SELECT /*+ LOOKUP('table' = 'l', 'retry-predicate' = 'lookup_miss', 'retry-strategy' = 'fixed_delay', \
         'fixed-delay' = '100 ms', 'max-attempts' = '300') */ o.id, l.name FROM (SELECT id, PROCTIME() AS p FROM \
         (VALUES (1), (2)) AS t (id)) AS o JOIN late FOR SYSTEM_TIME AS OF o.p AS l ON o.id = l.id;\n",
        with(context, &table)?
    );
    let job = context.write("job.sql", &job)?;
    let program = context.spawn(["run", &job, "--fresh"])?;
    program.wait_until(60, "the start of the job", |program| program.stderr().contains("started fresh"))?;
    postgres.execute(&format!("INSERT INTO {table} VALUES (2, 'two')"))?;
    let run = program.wait(60)?.expect_code(0)?;
    let mut rows: Vec<&str> = run.stdout.lines().collect();
    rows.sort_unstable();
    ensure!(rows == ["+I[1, one]", "+I[2, two]"], "found {rows:?}");
    Ok(())
}
