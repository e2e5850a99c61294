-- SET, RESET, jars, INSERT, statement sets, EXPLAIN; comments and empty statements between them.
SET 'pipeline.name' = 'a job';
SET;
SET pipeline.max-parallelism = 128;
SET execution.checkpointing.dir = file:///tmp/checkpoints;
SET sql-client.execution.result-mode=tableau; -- behind a statement
RESET 'pipeline.name';
RESET;
RESET pipeline.max-parallelism;
;;
/* a block
   comment */
ADD JAR '/opt/flink-sql-connector-kafka.jar';
REMOVE JAR '/opt/flink-sql-connector-kafka.jar';
INSERT INTO sink SELECT * FROM source;
INSERT INTO sink /*+ OPTIONS('sink.parallelism' = '2') */ SELECT * FROM source;
INSERT INTO db.sink (a, b) VALUES (1, 'a'), (2, 'b');
INSERT OVERWRITE sink PARTITION (dt = '2024-01-01', hr) (a, b) SELECT a, b, hr FROM source;
INSERT INTO sink (SELECT a FROM t) UNION ALL (SELECT b FROM u);
INSERT INTO sink WITH x AS (SELECT 1) SELECT * FROM x;
EXECUTE INSERT INTO sink SELECT 1;
EXECUTE SELECT 1;
EXECUTE STATEMENT SET BEGIN
  INSERT INTO a SELECT * FROM t;
  -- the second one
  INSERT INTO b SELECT * FROM t WHERE x = 'END';
END;
BEGIN STATEMENT SET;
INSERT INTO a SELECT 1;
INSERT INTO b SELECT 2;
END;
EXPLAIN SELECT 1;
EXPLAIN PLAN FOR SELECT 1;
EXPLAIN CHANGELOG_MODE, ESTIMATED_COST SELECT 1;
EXPLAIN JSON_EXECUTION_PLAN INSERT INTO a SELECT 1;
EXPLAIN PLAN_ADVICE STATEMENT SET BEGIN INSERT INTO a SELECT 1; INSERT INTO b SELECT 2; END;
EXPLAIN EXECUTE STATEMENT SET BEGIN INSERT INTO a SELECT 1; END;
STOP JOB 'abc' WITH SAVEPOINT WITH DRAIN;
STOP JOB 'abc';
-- Statements that are named and refused later.
UPDATE t SET a = 1 WHERE b = 2;
DELETE FROM t WHERE a = 1;
TRUNCATE TABLE t;
CALL sys.compact('t');
ANALYZE TABLE t COMPUTE STATISTICS FOR ALL COLUMNS;
COMPILE PLAN '/a.json' FOR STATEMENT SET BEGIN INSERT INTO a SELECT 1; INSERT INTO b SELECT 2; END;
COMPILE AND EXECUTE PLAN '/a.json' FOR INSERT INTO a SELECT 1;
EXECUTE PLAN '/a.json';
LOAD MODULE hive WITH ('hive-version' = '3.1.3');
UNLOAD MODULE hive;
CREATE MATERIALIZED TABLE m FRESHNESS = INTERVAL '3' MINUTE AS SELECT 1;
ALTER MATERIALIZED TABLE m SUSPEND;
CREATE MODEL m INPUT (a STRING) OUTPUT (b STRING) WITH ('task' = 'x');
