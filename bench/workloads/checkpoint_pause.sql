-- About 1 GB of state in memory, every key of it changed again and again: how long a checkpoint stops the workers.
SET 'parallelism.default' = '2';
SET 'execution.checkpointing.interval' = '5 s';

CREATE TABLE numbers (
    k INT,
    v INT
) WITH (
    'connector' = 'datagen',
    'rows-per-second' = '100000000',
    'number-of-rows' = '60000000',
    'fields.k.min' = '1',
    'fields.k.max' = '12000000'
);

CREATE TABLE nowhere (
    k INT,
    row_count BIGINT NOT NULL,
    total INT,
    PRIMARY KEY (k) NOT ENFORCED
) WITH ('connector' = 'blackhole');

INSERT INTO nowhere SELECT k, COUNT(*), SUM(v) FROM numbers GROUP BY k;
