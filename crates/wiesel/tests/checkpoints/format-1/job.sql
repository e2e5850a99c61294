-- The zone of the machine that wrote the checkpoint: windows over TIMESTAMP_LTZ depend on it.
SET 'table.local-time-zone' = 'Etc/UTC';
SET 'execution.checkpointing.interval' = '100 ms';
SET 'parallelism.default' = '2';
CREATE TABLE numbers (id BIGINT, pt AS PROCTIME(), ts AS TO_TIMESTAMP_LTZ(id * 100, 3), WATERMARK FOR ts AS ts) WITH (
  'connector' = 'datagen', 'rows-per-second' = '2000',
  'fields.id.kind' = 'sequence', 'fields.id.start' = '1', 'fields.id.end' = '3000');
CREATE TABLE sums (id BIGINT, total BIGINT) WITH ('connector' = 'filesystem', 'path' = 'sums', 'format' = 'csv');
CREATE TABLE windows (k BIGINT, w BIGINT, n BIGINT) WITH ('connector' = 'filesystem', 'path' = 'windows', 'format' = 'csv');
CREATE TABLE firsts (k BIGINT, id BIGINT) WITH ('connector' = 'filesystem', 'path' = 'firsts', 'format' = 'csv');
EXECUTE STATEMENT SET BEGIN
INSERT INTO sums SELECT id, SUM(id) OVER (PARTITION BY MOD(id, 7) ORDER BY pt ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) FROM numbers;
INSERT INTO windows SELECT MOD(id, 3), UNIX_TIMESTAMP(CAST(window_start AS STRING)), COUNT(*) FROM TABLE(TUMBLE(TABLE numbers, DESCRIPTOR(ts), INTERVAL '25' SECOND)) GROUP BY MOD(id, 3), window_start, window_end;
INSERT INTO firsts SELECT k, id FROM (SELECT MOD(id, 500) AS k, id, ROW_NUMBER() OVER (PARTITION BY MOD(id, 500) ORDER BY pt) AS place FROM numbers) WHERE place = 1;
END;
