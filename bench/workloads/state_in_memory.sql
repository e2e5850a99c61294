-- State that fits in memory: a count and a sum for each of a million keys. What the store costs a job that does not need it.
SET 'parallelism.default' = '2';
SET 'execution.checkpointing.interval' = '0';

CREATE TABLE numbers (
    k INT,
    v INT
) WITH (
    'connector' = 'datagen',
    'rows-per-second' = '100000000',
    'number-of-rows' = '20000000',
    'fields.k.min' = '1',
    'fields.k.max' = '1000000'
);

CREATE TABLE nowhere (
    k INT,
    row_count BIGINT NOT NULL,
    total INT,
    PRIMARY KEY (k) NOT ENFORCED
) WITH ('connector' = 'blackhole');

INSERT INTO nowhere SELECT k, COUNT(*), SUM(v) FROM numbers GROUP BY k;
