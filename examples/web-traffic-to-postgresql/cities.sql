-- The strongest cities of all days, drawn: the longest bar is the first one's. Read from the table that job.sql fills.
SET 'execution.runtime-mode' = 'batch';

CREATE TABLE aggregated_web_traffic (
    host STRING,
    headers STRING,
    num_hits INT
) WITH (
    'connector' = 'jdbc',
    'url' = 'jdbc:postgresql://localhost:5432/postgres',
    'table-name' = 'aggregated_web_traffic',
    'driver' = 'org.postgresql.Driver',
    'username' = 'postgres',
    'password' = 'postgres'
);

CREATE VIEW cities AS
SELECT city, SUM(CAST(num_hits AS BIGINT)) AS hits
FROM (SELECT COALESCE(JSON_VALUE(headers, '$.city'), host) AS city, num_hits FROM aggregated_web_traffic)
GROUP BY city;

SELECT
    CAST(city AS VARCHAR(20)) AS city,
    hits,
    CAST(RPAD(REPEAT('█', CAST(hits * 24 / most AS INT)), 24, ' ') AS VARCHAR(24)) AS bar,
    CAST(hits * 100.0 / all_hits AS DECIMAL(5, 2)) AS percentage
FROM (SELECT city, hits, MAX(hits) OVER () AS most, SUM(hits) OVER () AS all_hits FROM cities)
ORDER BY hits DESC, city
LIMIT 10;
