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
