-- A trivial function in Python over every row: what a call costs. Runs on wiesel's workers and on PyFlink's (process mode) with one interpreter.
SET 'parallelism.default' = '2';
SET 'pipeline.object-reuse' = 'true';
SET 'python.executable' = 'python3';
SET 'python.client.executable' = 'python3';
SET 'python.files' = 'python/plus_one.py';
SET 'pipeline.jars' = 'flink-python.jar';

CREATE TEMPORARY FUNCTION plus_one AS 'plus_one.plus_one' LANGUAGE PYTHON;

CREATE TABLE numbers (
    k BIGINT,
    v INT
) WITH (
    'connector' = 'datagen',
    'rows-per-second' = '100000000',
    'number-of-rows' = '4000000',
    'fields.k.min' = '1',
    'fields.k.max' = '1000000'
);

CREATE TABLE nowhere (
    k BIGINT,
    w BIGINT
) WITH ('connector' = 'blackhole');

INSERT INTO nowhere SELECT k, plus_one(k) FROM numbers;
