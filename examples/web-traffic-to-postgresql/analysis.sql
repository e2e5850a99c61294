-- Which places bring the traffic, day by day: read from the table that job.sql fills, at any time.
-- A table whose producer puts the place into `headers` is counted by city and country, any other by host.
SET 'execution.runtime-mode' = 'batch';

CREATE TABLE aggregated_web_traffic (
    host STRING,
    headers STRING,
    event_time TIMESTAMP(3),
    num_hits INT
) WITH (
    'connector' = 'jdbc',
    'url' = 'jdbc:postgresql://localhost:5432/postgres',
    'table-name' = 'aggregated_web_traffic',
    'driver' = 'org.postgresql.Driver',
    'username' = 'postgres',
    'password' = 'postgres'
);

CREATE VIEW city_days AS
SELECT city, country, visit_day, SUM(num_hits) AS hits
FROM (
    SELECT
        COALESCE(JSON_VALUE(headers, '$.city'), host) AS city,
        COALESCE(JSON_VALUE(headers, '$.country'), '-') AS country,
        CAST(event_time AS DATE) AS visit_day,
        num_hits
    FROM aggregated_web_traffic
)
GROUP BY city, country, visit_day;

-- The ten strongest days of a city: its share of all hits of all days, and what the days before and after it brought.
SELECT
    visit_day,
    city,
    country,
    hits,
    country_hits,
    CAST(hits * 100.0 / all_hits AS DECIMAL(5, 2)) AS percentage,
    previous_day,
    next_day,
    next_day - previous_day AS forecast
FROM (
    SELECT
        *,
        SUM(hits) OVER (PARTITION BY country, visit_day) AS country_hits,
        SUM(hits) OVER () AS all_hits,
        LAG(hits) OVER (PARTITION BY city, country ORDER BY visit_day) AS previous_day,
        LEAD(hits) OVER (PARTITION BY city, country ORDER BY visit_day) AS next_day
    FROM city_days
)
ORDER BY hits DESC, visit_day, city
LIMIT 10;
