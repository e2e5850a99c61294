-- A window larger than memory: a count and a sum for each of 20 million keys, which all fall into one window of ten hours. wiesel in 512 MB.
SET 'parallelism.default' = '2';

CREATE TABLE numbers (
    k BIGINT,
    v INT,
    ts AS TO_TIMESTAMP_LTZ(k, 3),
    WATERMARK FOR ts AS ts
) WITH (
    'connector' = 'datagen',
    'rows-per-second' = '100000000',
    'fields.k.kind' = 'sequence',
    'fields.k.start' = '1',
    'fields.k.end' = '20000000'
);

CREATE TABLE nowhere (
    k BIGINT,
    window_end TIMESTAMP(3),
    row_count BIGINT NOT NULL,
    total INT
) WITH ('connector' = 'blackhole');

INSERT INTO nowhere
SELECT k, window_end, COUNT(*), SUM(v)
FROM TABLE(TUMBLE(TABLE numbers, DESCRIPTOR(ts), INTERVAL '10' HOUR))
GROUP BY k, window_start, window_end;
