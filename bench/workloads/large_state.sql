-- State larger than memory: a count and a sum for each of 50 million keys. wiesel runs it in 512 MB, Flink on its RocksDB backend.
SET 'parallelism.default' = '2';
SET 'pipeline.object-reuse' = 'true';
SET 'state.backend.type' = 'rocksdb';

CREATE TABLE numbers (
    k BIGINT,
    v INT
) WITH (
    'connector' = 'datagen',
    'rows-per-second' = '100000000',
    'fields.k.kind' = 'sequence',
    'fields.k.start' = '1',
    'fields.k.end' = '50000000'
);

CREATE TABLE nowhere (
    k BIGINT,
    row_count BIGINT NOT NULL,
    total INT,
    PRIMARY KEY (k) NOT ENFORCED
) WITH ('connector' = 'blackhole');

INSERT INTO nowhere SELECT k, COUNT(*), SUM(v) FROM numbers GROUP BY k;
