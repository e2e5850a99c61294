//! The tree of a Flink SQL text, as written: nothing is resolved, nothing is rewritten, nothing is left out.
//!
//! Two rules shape it. Everything that a later check may have to point at carries a [`Span`] into the file (names, types,
//! option keys and values, expressions, clauses). And the tree says what the text says: a chain `a.b.c` stays a list of
//! parts because only the binder knows whether `a` is a catalog, a table, a column or a row; numbers stay text because only
//! the typer knows their type; a statement that wiesel will refuse still has its place here, so that the refusal can name it.
//!
//! The depth of every tree is bounded by the parser (see `EXPRESSION_DEPTH_MAX`), so walking it by recursion is safe.

pub use wiesel_core::diagnostic::Span;

// ---------------------------------------------------------------- names and literals

/// One identifier, in the case it was written in: Flink's identifiers are case-sensitive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ident {
    /// The name without quotes.
    pub value: String,
    /// Whether it stood in backticks.
    pub quoted: bool,
    /// Where it stands, quotes included.
    pub span: Span,
}

/// A name of one to three parts: `t`, `db.t`, `cat.db.t`. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectName {
    /// The parts from left to right.
    pub parts: Vec<Ident>,
    /// All of it.
    pub span: Span,
}

impl ObjectName {
    /// The last part, the name proper.
    pub fn last(&self) -> &Ident {
        self.parts.last().expect("the parser makes no empty name")
    }
}

/// A string literal with its quotes and escapes resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StringLiteral {
    /// The text it stands for.
    pub value: String,
    /// Where it stands, quotes included.
    pub span: Span,
}

/// One `'key' = 'value'` of a WITH, SET or OPTIONS list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OptionPair {
    /// The key.
    pub key: StringLiteral,
    /// The value; Flink takes string literals only.
    pub value: StringLiteral,
}

// ---------------------------------------------------------------- statements

/// One statement and its place; the `;` is not part of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Statement {
    /// What it is.
    pub kind: StatementKind,
    /// Its whole text: `span.text(source)` is what the user wrote.
    pub span: Span,
}

/// Every statement that Flink's parser knows.
#[derive(Debug, Clone, PartialEq)]
pub enum StatementKind {
    /// `CREATE TABLE`, with LIKE and AS.
    CreateTable(Box<CreateTable>),
    /// `CREATE VIEW`.
    CreateView(Box<CreateView>),
    /// `CREATE FUNCTION`.
    CreateFunction(CreateFunction),
    /// `CREATE CATALOG`.
    CreateCatalog(CreateCatalog),
    /// `CREATE DATABASE`.
    CreateDatabase(CreateDatabase),
    /// `DROP ...`.
    Drop(Drop),
    /// `ALTER TABLE`.
    AlterTable(AlterTable),
    /// `ALTER VIEW`.
    AlterView(AlterView),
    /// `ALTER DATABASE d SET (...)`.
    AlterDatabase {
        /// The database.
        name: ObjectName,
        /// The new properties.
        options: Vec<OptionPair>,
    },
    /// `ALTER CATALOG`.
    AlterCatalog(AlterCatalog),
    /// `ALTER FUNCTION`: same parts as CREATE FUNCTION, `if_not_exists` meaning IF EXISTS.
    AlterFunction(CreateFunction),
    /// `USE ...`.
    Use(Use),
    /// `SHOW ...`.
    Show(Show),
    /// `DESCRIBE ...`.
    Describe(Describe),
    /// `EXPLAIN ...`.
    Explain(Explain),
    /// `SET`, or `SET 'key' = 'value'`.
    Set(Option<OptionPair>),
    /// `RESET`, or `RESET 'key'`.
    Reset(Option<StringLiteral>),
    /// `ADD JAR '...'`.
    AddJar(StringLiteral),
    /// `REMOVE JAR '...'`.
    RemoveJar(StringLiteral),
    /// `INSERT INTO ...` or `INSERT OVERWRITE ...`, with or without EXECUTE in front.
    Insert(Box<Insert>),
    /// `EXECUTE STATEMENT SET BEGIN ... END` or `BEGIN STATEMENT SET; ... END`.
    StatementSet(StatementSet),
    /// A query that stands alone, with or without EXECUTE in front.
    Query(Box<Query>),
    /// `STOP JOB '...' [WITH SAVEPOINT] [WITH DRAIN]`.
    StopJob(StopJob),
    /// A statement of Flink's that wiesel refuses by name; its text was skipped, not read.
    Unsupported {
        /// The statement's name, for instance `CREATE MATERIALIZED TABLE`.
        name: String,
        /// The words that name it.
        span: Span,
    },
}

/// `CREATE [OR REPLACE] [TEMPORARY] TABLE ...`, also the bare `REPLACE TABLE`.
#[derive(Debug, Clone, PartialEq)]
pub struct CreateTable {
    /// `TEMPORARY` was written.
    pub temporary: bool,
    /// `IF NOT EXISTS` was written.
    pub if_not_exists: bool,
    /// `REPLACE TABLE` or `CREATE OR REPLACE TABLE`, only with AS.
    pub replace: bool,
    /// The new table.
    pub name: ObjectName,
    /// The columns in their order; empty when they come from LIKE or AS.
    pub columns: Vec<Column>,
    /// `WATERMARK FOR ...`; a second one was refused.
    pub watermark: Option<Watermark>,
    /// The primary key, wherever it was written.
    pub primary_key: Option<PrimaryKey>,
    /// `COMMENT '...'` of the table.
    pub comment: Option<StringLiteral>,
    /// `DISTRIBUTED BY ...`.
    pub distribution: Option<Distribution>,
    /// `PARTITIONED BY (...)`.
    pub partitioned_by: Vec<Ident>,
    /// `WITH (...)`.
    pub options: Vec<OptionPair>,
    /// The place of the options: the whole `WITH (...)`, or an empty span where it would stand.
    pub options_span: Span,
    /// `LIKE ...`.
    pub like: Option<LikeClause>,
    /// `AS query`.
    pub as_query: Option<Box<Query>>,
}

/// One column of a CREATE TABLE.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// Its name.
    pub name: Ident,
    /// Physical, computed or metadata; `Bare` is a name alone (a reordering list in CREATE TABLE (a, b) AS).
    pub kind: ColumnKind,
    /// `COMMENT '...'`.
    pub comment: Option<StringLiteral>,
    /// From the name to the end of the column's text.
    pub span: Span,
}

/// What a column of a CREATE TABLE is.
#[derive(Debug, Clone, PartialEq)]
pub enum ColumnKind {
    /// `name type`.
    Physical(DataType),
    /// `name AS expression`.
    Computed(Expr),
    /// `name type METADATA [FROM 'key'] [VIRTUAL]`.
    Metadata {
        /// The declared type.
        data_type: DataType,
        /// `FROM 'key'`; when absent the column's name is the key.
        key: Option<StringLiteral>,
        /// `VIRTUAL`: read-only, not part of the sink's schema.
        is_virtual: bool,
    },
    /// `name` alone.
    Bare,
}

/// `WATERMARK FOR column AS expression`.
#[derive(Debug, Clone, PartialEq)]
pub struct Watermark {
    /// The row-time column; more than one part names a nested field, which Flink refuses later.
    pub column: ObjectName,
    /// The watermark expression.
    pub expr: Expr,
    /// All of it.
    pub span: Span,
}

/// `[CONSTRAINT c] PRIMARY KEY (a, b) [NOT ENFORCED]`, at a column or as an item of the table.
#[derive(Debug, Clone, PartialEq)]
pub struct PrimaryKey {
    /// The constraint's name.
    pub name: Option<Ident>,
    /// The key columns.
    pub columns: Vec<Ident>,
    /// What was said about enforcing it.
    pub enforcement: Enforcement,
    /// `UNIQUE` instead of `PRIMARY KEY`: known to the grammar, refused later, as in Flink.
    pub unique: bool,
    /// All of it.
    pub span: Span,
}

/// Whether a key says that it is enforced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Enforcement {
    /// Nothing was written.
    Unsaid,
    /// `ENFORCED`.
    Enforced,
    /// `NOT ENFORCED`, the only one that Flink takes.
    NotEnforced,
}

/// `DISTRIBUTED [BY [HASH|RANGE] (a, b)] [INTO n BUCKETS]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Distribution {
    /// `HASH` or `RANGE`, when written.
    pub kind: Option<Ident>,
    /// The bucket key.
    pub columns: Vec<Ident>,
    /// `INTO n BUCKETS`.
    pub buckets: Option<u32>,
    /// All of it.
    pub span: Span,
}

/// `LIKE source [(rules)]`.
#[derive(Debug, Clone, PartialEq)]
pub struct LikeClause {
    /// The table whose definition is taken over.
    pub source: ObjectName,
    /// The rules in the order written.
    pub rules: Vec<LikeRule>,
    /// All of it.
    pub span: Span,
}

/// `INCLUDING OPTIONS` and its kin.
#[derive(Debug, Clone, PartialEq)]
pub struct LikeRule {
    /// What to do.
    pub strategy: LikeStrategy,
    /// With which part of the source.
    pub feature: LikeFeature,
    /// Both words.
    pub span: Span,
}

/// What a LIKE rule does with a part of the source table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LikeStrategy {
    /// Take it over; a clash is an error.
    Including,
    /// Leave it out.
    Excluding,
    /// Take it over; what the new table says wins.
    Overwriting,
}

/// A part of a table that a LIKE rule speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LikeFeature {
    /// Every part.
    All,
    /// The primary key.
    Constraints,
    /// The bucketing.
    Distribution,
    /// Computed columns.
    Generated,
    /// Metadata columns.
    Metadata,
    /// The WITH options.
    Options,
    /// The partition columns.
    Partitions,
    /// The watermark.
    Watermarks,
}

/// `CREATE [TEMPORARY] VIEW ...`.
#[derive(Debug, Clone, PartialEq)]
pub struct CreateView {
    /// `TEMPORARY` was written.
    pub temporary: bool,
    /// `IF NOT EXISTS` was written.
    pub if_not_exists: bool,
    /// `OR REPLACE` was written.
    pub replace: bool,
    /// The new view.
    pub name: ObjectName,
    /// The column list; empty when the query names the columns.
    pub columns: Vec<Ident>,
    /// `COMMENT '...'`.
    pub comment: Option<StringLiteral>,
    /// The query.
    pub query: Box<Query>,
}

/// `CREATE [TEMPORARY [SYSTEM]] FUNCTION ...`.
#[derive(Debug, Clone, PartialEq)]
pub struct CreateFunction {
    /// `TEMPORARY` was written.
    pub temporary: bool,
    /// `SYSTEM` was written after TEMPORARY.
    pub system: bool,
    /// `IF NOT EXISTS` (in ALTER: `IF EXISTS`) was written.
    pub if_not_exists: bool,
    /// The new function.
    pub name: ObjectName,
    /// What it does.
    pub definition: FunctionDefinition,
}

/// What a user function does.
#[derive(Debug, Clone, PartialEq)]
pub enum FunctionDefinition {
    /// `AS 'class' [LANGUAGE ...] [USING ...]`: Flink's form.
    Class {
        /// A Java class, or a Python `module.name`.
        class: StringLiteral,
        /// `LANGUAGE`; JAVA when absent.
        language: FunctionLanguage,
        /// Where the language was written.
        language_span: Option<Span>,
        /// `USING JAR '...', JAR '...'`.
        using: Vec<FunctionResource>,
    },
    /// `(a T, ...) RETURNS T [LANGUAGE SQL] [[NOT] DETERMINISTIC] RETURN expression`: the SQL standard's form.
    Sql(Box<SqlFunction>),
}

/// A function whose body is an expression.
#[derive(Debug, Clone, PartialEq)]
pub struct SqlFunction {
    /// Names and types of the parameters.
    pub parameters: Vec<(Ident, DataType)>,
    /// The type of the result.
    pub returns: DataType,
    /// `DETERMINISTIC` was written: where.
    pub deterministic: Option<Span>,
    /// The body.
    pub body: Expr,
}

/// The language of a user function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FunctionLanguage {
    /// A class on the JVM.
    Java,
    /// A class on the JVM.
    Scala,
    /// A Python callable.
    Python,
}

/// One `JAR 'path'`, `FILE 'path'` or `ARCHIVE 'path'` of a USING clause.
#[derive(Debug, Clone, PartialEq)]
pub struct FunctionResource {
    /// `JAR`, `FILE` or `ARCHIVE`.
    pub kind: Ident,
    /// The path.
    pub path: StringLiteral,
}

/// `CREATE CATALOG ...`.
#[derive(Debug, Clone, PartialEq)]
pub struct CreateCatalog {
    /// `IF NOT EXISTS` was written.
    pub if_not_exists: bool,
    /// The new catalog.
    pub name: Ident,
    /// `COMMENT '...'`.
    pub comment: Option<StringLiteral>,
    /// `WITH (...)`.
    pub options: Vec<OptionPair>,
    /// The place of the options.
    pub options_span: Span,
}

/// `CREATE DATABASE ...`.
#[derive(Debug, Clone, PartialEq)]
pub struct CreateDatabase {
    /// `IF NOT EXISTS` was written.
    pub if_not_exists: bool,
    /// The new database: `d` or `catalog.d`.
    pub name: ObjectName,
    /// `COMMENT '...'`.
    pub comment: Option<StringLiteral>,
    /// `WITH (...)`.
    pub options: Vec<OptionPair>,
}

/// What a DROP, a SHOW CREATE or a DESCRIBE speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObjectKind {
    /// A catalog.
    Catalog,
    /// A database.
    Database,
    /// A table.
    Table,
    /// A view.
    View,
    /// A function.
    Function,
    /// A model (Flink 2.1).
    Model,
    /// A materialized table.
    MaterializedTable,
    /// A running job.
    Job,
}

/// `DROP [TEMPORARY [SYSTEM]] kind [IF EXISTS] name [RESTRICT|CASCADE]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Drop {
    /// The kind of object.
    pub object: ObjectKind,
    /// `TEMPORARY` was written.
    pub temporary: bool,
    /// `SYSTEM` was written (functions).
    pub system: bool,
    /// `IF EXISTS` was written.
    pub if_exists: bool,
    /// The object.
    pub name: ObjectName,
    /// `CASCADE` was written (databases).
    pub cascade: bool,
}

/// `ALTER TABLE [IF EXISTS] name ...`.
#[derive(Debug, Clone, PartialEq)]
pub struct AlterTable {
    /// `IF EXISTS` was written.
    pub if_exists: bool,
    /// The table.
    pub name: ObjectName,
    /// What to change.
    pub action: AlterTableAction,
    /// The words after the table's name.
    pub action_span: Span,
}

/// What an ALTER TABLE changes.
#[derive(Debug, Clone, PartialEq)]
pub enum AlterTableAction {
    /// `RENAME TO u`.
    RenameTo(ObjectName),
    /// `RENAME a TO b`.
    RenameColumn {
        /// The column.
        from: ObjectName,
        /// Its new name.
        to: Ident,
    },
    /// `SET ('k' = 'v')`.
    Set(Vec<OptionPair>),
    /// `RESET ('k')`.
    Reset(Vec<StringLiteral>),
    /// `ADD ...` columns, watermark, key.
    Add(AlterSchema),
    /// `MODIFY ...` columns, watermark, key.
    Modify(AlterSchema),
    /// `DROP a` or `DROP (a, b)`.
    DropColumns(Vec<ObjectName>),
    /// `DROP PRIMARY KEY`.
    DropPrimaryKey,
    /// `DROP CONSTRAINT c`.
    DropConstraint(Ident),
    /// `DROP WATERMARK`.
    DropWatermark,
    /// `DROP DISTRIBUTION`.
    DropDistribution,
    /// `ADD [IF NOT EXISTS] PARTITION (...) [PARTITION (...) ...]`.
    AddPartitions {
        /// `IF NOT EXISTS` was written.
        if_not_exists: bool,
        /// The partitions.
        partitions: Vec<PartitionSpec>,
    },
    /// `DROP [IF EXISTS] PARTITION (...) [, PARTITION (...) ...]`.
    DropPartitions {
        /// `IF EXISTS` was written.
        if_exists: bool,
        /// The partitions.
        partitions: Vec<PartitionSpec>,
    },
}

/// `PARTITION (k = value, ...)`, with `WITH (...)` behind one that is added.
#[derive(Debug, Clone, PartialEq)]
pub struct PartitionSpec {
    /// Columns and their values.
    pub values: Vec<(Ident, Expr)>,
    /// The options of the partition.
    pub options: Vec<OptionPair>,
    /// All of it.
    pub span: Span,
}

/// The schema parts of an ALTER TABLE ADD or MODIFY.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct AlterSchema {
    /// The columns with their places.
    pub columns: Vec<(Column, ColumnPosition)>,
    /// A watermark.
    pub watermark: Option<Watermark>,
    /// A key.
    pub primary_key: Option<PrimaryKey>,
    /// A distribution.
    pub distribution: Option<Distribution>,
}

/// Where an ALTER TABLE puts a column.
#[derive(Debug, Clone, PartialEq)]
pub enum ColumnPosition {
    /// Where it is, or at the end.
    Unsaid,
    /// `FIRST`.
    First,
    /// `AFTER a`.
    After(Ident),
}

/// `ALTER VIEW ...`.
#[derive(Debug, Clone, PartialEq)]
pub enum AlterView {
    /// `ALTER VIEW v RENAME TO w`.
    Rename {
        /// The view.
        name: ObjectName,
        /// Its new name.
        to: ObjectName,
    },
    /// `ALTER VIEW v AS query`.
    As {
        /// The view.
        name: ObjectName,
        /// Its new query.
        query: Box<Query>,
    },
}

/// `ALTER CATALOG c ...`.
#[derive(Debug, Clone, PartialEq)]
pub struct AlterCatalog {
    /// The catalog.
    pub name: Ident,
    /// `SET (...)`.
    pub set: Vec<OptionPair>,
    /// `RESET (...)`.
    pub reset: Vec<StringLiteral>,
    /// `COMMENT '...'`.
    pub comment: Option<StringLiteral>,
}

/// `USE ...`.
#[derive(Debug, Clone, PartialEq)]
pub enum Use {
    /// `USE [c.]d`.
    Database(ObjectName),
    /// `USE CATALOG c`.
    Catalog(Ident),
    /// `USE MODULES a, b`.
    Modules(Vec<Ident>),
}

/// `SHOW ...`.
#[derive(Debug, Clone, PartialEq)]
pub struct Show {
    /// What to list.
    pub kind: ShowKind,
    /// `FROM name` or `IN name`; for PARTITIONS the table.
    pub from: Option<ObjectName>,
    /// SHOW PARTITIONS t PARTITION (...): those alone that have these values.
    pub partition: Option<PartitionSpec>,
    /// `LIKE '...'` and its kin.
    pub pattern: Option<ShowPattern>,
}

/// `[NOT] LIKE|ILIKE 'pattern'` of a SHOW statement.
#[derive(Debug, Clone, PartialEq)]
pub struct ShowPattern {
    /// `NOT` was written.
    pub negated: bool,
    /// `ILIKE`: case does not matter.
    pub ignore_case: bool,
    /// The pattern.
    pub pattern: StringLiteral,
}

/// What a SHOW statement lists.
#[derive(Debug, Clone, PartialEq)]
pub enum ShowKind {
    /// `SHOW CATALOGS`.
    Catalogs,
    /// `SHOW CURRENT CATALOG`.
    CurrentCatalog,
    /// `SHOW DATABASES`.
    Databases,
    /// `SHOW CURRENT DATABASE`.
    CurrentDatabase,
    /// `SHOW TABLES`.
    Tables,
    /// `SHOW VIEWS`.
    Views,
    /// `SHOW MATERIALIZED TABLES`.
    MaterializedTables,
    /// `SHOW COLUMNS FROM t`.
    Columns,
    /// `SHOW PARTITIONS t`.
    Partitions,
    /// `SHOW FUNCTIONS`.
    Functions,
    /// `SHOW USER FUNCTIONS`.
    UserFunctions,
    /// `SHOW PROCEDURES`.
    Procedures,
    /// `SHOW [FULL] MODULES`.
    Modules {
        /// `FULL` was written: the unused ones too.
        full: bool,
    },
    /// `SHOW MODELS`.
    Models,
    /// `SHOW JARS`.
    Jars,
    /// `SHOW JOBS`.
    Jobs,
    /// `SHOW CREATE kind name`.
    Create {
        /// Table, view, catalog, model or materialized table.
        object: ObjectKind,
        /// The object.
        name: ObjectName,
    },
}

/// `DESCRIBE [kind] [EXTENDED] name`; a job's id is the name.
#[derive(Debug, Clone, PartialEq)]
pub struct Describe {
    /// What to describe.
    pub object: ObjectKind,
    /// `EXTENDED` was written.
    pub extended: bool,
    /// The object.
    pub name: ObjectName,
}

/// `EXPLAIN [details | PLAN FOR] statement`.
#[derive(Debug, Clone, PartialEq)]
pub struct Explain {
    /// The details asked for.
    pub details: Vec<ExplainDetail>,
    /// A query, an INSERT or a statement set.
    pub statement: Box<Statement>,
}

/// What an EXPLAIN shall add to the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExplainDetail {
    /// `ESTIMATED_COST`.
    EstimatedCost,
    /// `CHANGELOG_MODE`.
    ChangelogMode,
    /// `JSON_EXECUTION_PLAN`.
    JsonExecutionPlan,
    /// `PLAN_ADVICE`.
    PlanAdvice,
}

/// `INSERT INTO|OVERWRITE t ...`.
#[derive(Debug, Clone, PartialEq)]
pub struct Insert {
    /// `OVERWRITE` instead of `INTO`.
    pub overwrite: bool,
    /// The sink table.
    pub table: ObjectName,
    /// Hints after the table's name, for instance `/*+ OPTIONS(...) */`.
    pub hints: Vec<Hint>,
    /// `PARTITION (k = v, ...)`; a value of `None` is a dynamic partition column.
    pub partition: Vec<(Ident, Option<Expr>)>,
    /// The column list; empty when rows go by position.
    pub columns: Vec<ObjectName>,
    /// The rows: a query, VALUES being one.
    pub source: Box<Query>,
}

/// Several INSERTs that run as one job.
#[derive(Debug, Clone, PartialEq)]
pub struct StatementSet {
    /// The INSERTs with their places, in order.
    pub inserts: Vec<(Insert, Span)>,
}

/// `STOP JOB '...' ...`.
#[derive(Debug, Clone, PartialEq)]
pub struct StopJob {
    /// The job's id.
    pub job: StringLiteral,
    /// `WITH SAVEPOINT`.
    pub with_savepoint: bool,
    /// `WITH DRAIN`.
    pub with_drain: bool,
}

// ---------------------------------------------------------------- queries

/// A whole query: WITH, body, ORDER BY, LIMIT.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    /// The common table expressions.
    pub with: Option<With>,
    /// SELECT, VALUES or a set operation.
    pub body: SetExpr,
    /// `ORDER BY`; empty when absent.
    pub order_by: Vec<OrderItem>,
    /// `LIMIT n` or `FETCH FIRST n ROWS ONLY`; `LIMIT ALL` is none.
    pub limit: Option<Expr>,
    /// `OFFSET n`, or the first number of `LIMIT m, n`.
    pub offset: Option<Expr>,
    /// All of it, without enclosing parentheses.
    pub span: Span,
}

/// `WITH [RECURSIVE] a AS (...), b AS (...)`.
#[derive(Debug, Clone, PartialEq)]
pub struct With {
    /// The place of `RECURSIVE`, which streaming does not run.
    pub recursive: Option<Span>,
    /// The named queries, each visible to the later ones.
    pub ctes: Vec<Cte>,
}

/// One named query of a WITH.
#[derive(Debug, Clone, PartialEq)]
pub struct Cte {
    /// Its name.
    pub name: Ident,
    /// Its column list; empty when the query names the columns.
    pub columns: Vec<Ident>,
    /// The query.
    pub query: Box<Query>,
}

/// The body of a query.
#[derive(Debug, Clone, PartialEq)]
pub struct SetExpr {
    /// What it is.
    pub kind: SetExprKind,
    /// All of it.
    pub span: Span,
}

/// What the body of a query is.
#[derive(Debug, Clone, PartialEq)]
pub enum SetExprKind {
    /// `SELECT ...`.
    Select(Box<Select>),
    /// `VALUES (1, 'a'), (2, 'b')`; each row's expressions. A row without parentheses has one.
    Values(Vec<ValuesRow>),
    /// `(query)`.
    Query(Box<Query>),
    /// `TABLE t`: all of t.
    Table(ObjectName),
    /// `left UNION [ALL] right` and its kin.
    SetOperation {
        /// Which operation.
        op: SetOperator,
        /// `ALL` was written: rows keep their multiplicity.
        all: bool,
        /// The left input.
        left: Box<SetExpr>,
        /// The right input.
        right: Box<SetExpr>,
    },
}

/// One row of a VALUES.
#[derive(Debug, Clone, PartialEq)]
pub struct ValuesRow {
    /// Its fields.
    pub values: Vec<Expr>,
    /// All of it.
    pub span: Span,
}

/// A set operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetOperator {
    /// `UNION`.
    Union,
    /// `INTERSECT`, which binds tighter than the others.
    Intersect,
    /// `EXCEPT`, also written `MINUS`.
    Except,
}

/// `SELECT ... FROM ... WHERE ...`.
#[derive(Debug, Clone, PartialEq)]
pub struct Select {
    /// Hints after SELECT, for instance `/*+ STATE_TTL('l' = '1d') */`.
    pub hints: Vec<Hint>,
    /// `DISTINCT` was written.
    pub distinct: bool,
    /// The select list.
    pub items: Vec<SelectItem>,
    /// `FROM`; a comma is a [`JoinKind::Comma`] join.
    pub from: Option<TableRef>,
    /// `WHERE`.
    pub selection: Option<Expr>,
    /// `GROUP BY`.
    pub group_by: Option<GroupBy>,
    /// `HAVING`.
    pub having: Option<Expr>,
    /// `WINDOW w AS (...)`.
    pub windows: Vec<NamedWindow>,
    /// `QUALIFY`.
    pub qualify: Option<Expr>,
    /// All of it.
    pub span: Span,
}

/// One item of a select list.
#[derive(Debug, Clone, PartialEq)]
pub enum SelectItem {
    /// `expr` or `expr AS name`.
    Expr {
        /// The expression.
        expr: Expr,
        /// Its name, when given.
        alias: Option<Ident>,
    },
    /// `*`.
    Wildcard(Span),
    /// `t.*`, or `row_column.*`.
    QualifiedWildcard {
        /// What stands before the star.
        prefix: ObjectName,
        /// All of it.
        span: Span,
    },
}

impl SelectItem {
    /// The name of the column that this item gives, which is the `position`th (from 0) of its select list with all stars
    /// written out: the alias, the last part of a plain name, else Flink's `EXPR$0` and so on. A star has no name of its own.
    pub fn output_name(&self, position: usize) -> Option<String> {
        match self {
            SelectItem::Expr { alias: Some(alias), .. } => Some(alias.value.clone()),
            SelectItem::Expr { expr: Expr { kind: ExprKind::Name(parts), .. }, .. } => {
                parts.last().map(|part| part.value.clone())
            }
            SelectItem::Expr { .. } => Some(format!("EXPR${position}")),
            SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard { .. } => None,
        }
    }
}

/// `GROUP BY ...`.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupBy {
    /// The items; the grouping is their product.
    pub items: Vec<GroupItem>,
    /// All of it.
    pub span: Span,
}

/// One item of a GROUP BY.
#[derive(Debug, Clone, PartialEq)]
pub enum GroupItem {
    /// A plain expression, a legacy group window such as `TUMBLE(ts, INTERVAL '1' HOUR)` being one.
    Expr(Expr),
    /// `()`, the group of everything; also inside GROUPING SETS.
    Empty(Span),
    /// `(a, b)` inside GROUPING SETS, CUBE or ROLLUP: one composite key.
    Composite(Vec<Expr>, Span),
    /// `GROUPING SETS (...)`.
    GroupingSets(Vec<GroupItem>, Span),
    /// `CUBE (...)`.
    Cube(Vec<GroupItem>, Span),
    /// `ROLLUP (...)`.
    Rollup(Vec<GroupItem>, Span),
}

/// One item of an ORDER BY.
#[derive(Debug, Clone, PartialEq)]
pub struct OrderItem {
    /// The key.
    pub expr: Expr,
    /// `DESC` was written.
    pub descending: bool,
    /// `NULLS FIRST` is true, `NULLS LAST` false; Flink's default depends on the direction.
    pub nulls_first: Option<bool>,
}

/// One hint of a `/*+ ... */`: a name with arguments.
#[derive(Debug, Clone, PartialEq)]
pub struct Hint {
    /// Its name.
    pub name: Ident,
    /// Its arguments.
    pub args: Vec<HintArg>,
    /// All of it.
    pub span: Span,
}

/// One argument of a hint.
#[derive(Debug, Clone, PartialEq)]
pub enum HintArg {
    /// `'key' = 'value'`, or `key = 'value'`.
    Pair(OptionPair),
    /// A name, `t` or `db.t`.
    Name(ObjectName),
    /// A string or number alone.
    Literal(StringLiteral),
}

/// Something in a FROM, with its place.
#[derive(Debug, Clone, PartialEq)]
pub struct TableRef {
    /// What it is.
    pub kind: TableRefKind,
    /// All of it, alias included.
    pub span: Span,
}

/// Something in a FROM.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "there are few of them, and matching on a box is clumsy")]
pub enum TableRefKind {
    /// A table or view by name.
    Table {
        /// Its name.
        name: ObjectName,
        /// Hints after the name, for instance `/*+ OPTIONS(...) */`.
        hints: Vec<Hint>,
        /// `FOR SYSTEM_TIME AS OF expr`.
        as_of: Option<Box<Expr>>,
        /// Its name here.
        alias: Option<TableAlias>,
    },
    /// `[LATERAL] (query) AS t`.
    Derived {
        /// `LATERAL` was written: the query may use the columns of what stands left of it.
        lateral: bool,
        /// The query.
        query: Box<Query>,
        /// Its name here.
        alias: Option<TableAlias>,
    },
    /// `TABLE(f(...))`, `LATERAL TABLE(f(...))` or a bare `f(...)`: window functions and user functions alike.
    Function {
        /// `LATERAL` was written.
        lateral: bool,
        /// `TABLE( )` was written around the call.
        table_keyword: bool,
        /// The call.
        call: FunctionCall,
        /// Its name here.
        alias: Option<TableAlias>,
    },
    /// `UNNEST(a, b) [WITH ORDINALITY]`.
    Unnest {
        /// The collections.
        exprs: Vec<Expr>,
        /// `WITH ORDINALITY` was written.
        with_ordinality: bool,
        /// Its name here.
        alias: Option<TableAlias>,
    },
    /// Two inputs and how they meet.
    Join(Box<Join>),
    /// `(a JOIN b ON ...)`.
    Parenthesised(Box<TableRef>),
    /// `input MATCH_RECOGNIZE (...)`.
    MatchRecognize(Box<MatchRecognize>),
}

/// `[AS] t` or `[AS] t (a, b)`.
#[derive(Debug, Clone, PartialEq)]
pub struct TableAlias {
    /// The name.
    pub name: Ident,
    /// The new names of the columns; empty when they keep theirs.
    pub columns: Vec<Ident>,
}

/// Two inputs and how they meet.
#[derive(Debug, Clone, PartialEq)]
pub struct Join {
    /// The left input.
    pub left: TableRef,
    /// The right input.
    pub right: TableRef,
    /// The kind.
    pub kind: JoinKind,
    /// `NATURAL` was written.
    pub natural: bool,
    /// `ON` or `USING`.
    pub condition: JoinCondition,
    /// The words of the join, for instance `LEFT OUTER JOIN`.
    pub span: Span,
}

/// The kind of a join.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JoinKind {
    /// `JOIN` or `INNER JOIN`.
    Inner,
    /// `LEFT [OUTER] JOIN`.
    Left,
    /// `RIGHT [OUTER] JOIN`.
    Right,
    /// `FULL [OUTER] JOIN`.
    Full,
    /// `CROSS JOIN`.
    Cross,
    /// A comma.
    Comma,
}

/// The condition of a join.
#[derive(Debug, Clone, PartialEq)]
pub enum JoinCondition {
    /// None was written.
    None,
    /// `ON expr`.
    On(Expr),
    /// `USING (a, b)`.
    Using(Vec<Ident>),
}

/// `WINDOW name AS (spec)`.
#[derive(Debug, Clone, PartialEq)]
pub struct NamedWindow {
    /// The name.
    pub name: Ident,
    /// What it stands for.
    pub spec: WindowSpec,
}

/// `([base] [PARTITION BY ..] [ORDER BY ..] [frame])`.
#[derive(Debug, Clone, PartialEq)]
pub struct WindowSpec {
    /// A named window that this one starts from.
    pub base: Option<Ident>,
    /// `PARTITION BY`.
    pub partition_by: Vec<Expr>,
    /// `ORDER BY`.
    pub order_by: Vec<OrderItem>,
    /// `ROWS` or `RANGE`.
    pub frame: Option<WindowFrame>,
    /// All of it, parentheses included.
    pub span: Span,
}

/// `ROWS|RANGE BETWEEN start AND end`.
#[derive(Debug, Clone, PartialEq)]
pub struct WindowFrame {
    /// `ROWS` instead of `RANGE`.
    pub rows: bool,
    /// The first row.
    pub start: FrameBound,
    /// The last row; the current one when not written.
    pub end: Option<FrameBound>,
    /// All of it.
    pub span: Span,
}

/// One end of a window frame.
#[derive(Debug, Clone, PartialEq)]
pub enum FrameBound {
    /// `UNBOUNDED PRECEDING`.
    UnboundedPreceding,
    /// `n PRECEDING`.
    Preceding(Expr),
    /// `CURRENT ROW`.
    CurrentRow,
    /// `n FOLLOWING`.
    Following(Expr),
    /// `UNBOUNDED FOLLOWING`.
    UnboundedFollowing,
}

/// `input MATCH_RECOGNIZE (...)`.
#[derive(Debug, Clone, PartialEq)]
pub struct MatchRecognize {
    /// The rows that are searched.
    pub input: TableRef,
    /// `PARTITION BY`.
    pub partition_by: Vec<Expr>,
    /// `ORDER BY`.
    pub order_by: Vec<OrderItem>,
    /// `MEASURES expr AS name`.
    pub measures: Vec<(Expr, Ident)>,
    /// `ALL ROWS PER MATCH` is true; `ONE ROW PER MATCH`, the default, false.
    pub all_rows: bool,
    /// `AFTER MATCH SKIP ...`.
    pub after_match: Option<AfterMatch>,
    /// The pattern.
    pub pattern: RowPattern,
    /// `^` stands before the pattern.
    pub anchored_start: bool,
    /// `$` stands after the pattern.
    pub anchored_end: bool,
    /// `WITHIN INTERVAL ...`.
    pub within: Option<Expr>,
    /// `SUBSET a = (b, c)`.
    pub subsets: Vec<(Ident, Vec<Ident>)>,
    /// `DEFINE a AS condition`.
    pub define: Vec<(Ident, Expr)>,
    /// Its name here.
    pub alias: Option<TableAlias>,
    /// From the word MATCH_RECOGNIZE on.
    pub span: Span,
}

/// `AFTER MATCH SKIP ...`.
#[derive(Debug, Clone, PartialEq)]
pub enum AfterMatch {
    /// `TO NEXT ROW`.
    ToNextRow,
    /// `PAST LAST ROW`.
    PastLastRow,
    /// `TO FIRST a`.
    ToFirst(Ident),
    /// `TO LAST a`, also `TO a`.
    ToLast(Ident),
}

/// A row pattern.
#[derive(Debug, Clone, PartialEq)]
pub enum RowPattern {
    /// A variable.
    Variable(Ident),
    /// `a b c`.
    Sequence(Vec<RowPattern>),
    /// `a | b`.
    Alternation(Vec<RowPattern>),
    /// `PERMUTE(a, b)`.
    Permute(Vec<RowPattern>, Span),
    /// `{- a -}`.
    Exclusion(Box<RowPattern>, Span),
    /// `a*`, `a+?`, `a{2,3}`.
    Repeat {
        /// What is repeated.
        pattern: Box<RowPattern>,
        /// The least number of times.
        min: u32,
        /// The greatest number of times; `None` is no bound.
        max: Option<u32>,
        /// `?` follows: as few as possible.
        reluctant: bool,
        /// The quantifier alone.
        span: Span,
    },
}

// ---------------------------------------------------------------- expressions

/// An expression and its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Expr {
    /// What it is.
    pub kind: ExprKind,
    /// All of it; enclosing parentheses are included.
    pub span: Span,
}

impl Expr {
    /// An expression of that kind and place.
    pub fn new(kind: ExprKind, span: Span) -> Expr {
        Expr { kind, span }
    }
}

/// Every form of an expression.
#[derive(Debug, Clone, PartialEq)]
pub enum ExprKind {
    /// A literal.
    Literal(Literal),
    /// `a`, `t.a`, `db.t.a.field`: only the binder knows which part is what. Never empty.
    Name(Vec<Ident>),
    /// `expr.field` where `expr` is not a chain of names: `f(x).a`, `a[1].b`, `(r).a`.
    Field {
        /// The row.
        base: Box<Expr>,
        /// The field.
        field: Ident,
    },
    /// `a[i]` of an array, or `m[key]` of a map.
    Index {
        /// The collection.
        base: Box<Expr>,
        /// The index (arrays count from 1) or the key.
        index: Box<Expr>,
    },
    /// `-a`, `+a`, `NOT a`.
    Unary {
        /// The operator.
        op: UnaryOp,
        /// The operand.
        expr: Box<Expr>,
    },
    /// `a + b` and all other operators between two operands.
    Binary {
        /// The operator.
        op: BinaryOp,
        /// The left operand.
        left: Box<Expr>,
        /// The right operand.
        right: Box<Expr>,
        /// Where the operator stands.
        op_span: Span,
    },
    /// `expr IS [NOT] test`.
    Is {
        /// The operand.
        expr: Box<Expr>,
        /// The test.
        test: IsTest,
        /// `NOT` was written.
        negated: bool,
    },
    /// `left IS [NOT] DISTINCT FROM right`.
    IsDistinctFrom {
        /// The left operand.
        left: Box<Expr>,
        /// The right operand.
        right: Box<Expr>,
        /// `NOT` was written.
        negated: bool,
    },
    /// `expr [NOT] BETWEEN [SYMMETRIC] low AND high`.
    Between {
        /// The operand.
        expr: Box<Expr>,
        /// One bound.
        low: Box<Expr>,
        /// The other bound.
        high: Box<Expr>,
        /// `NOT` was written.
        negated: bool,
        /// `SYMMETRIC`: the bounds may stand in either order.
        symmetric: bool,
    },
    /// `expr [NOT] IN (a, b)`.
    InList {
        /// The operand; a row constructor compares several columns.
        expr: Box<Expr>,
        /// The candidates.
        list: Vec<Expr>,
        /// `NOT` was written.
        negated: bool,
    },
    /// `expr [NOT] IN (query)`.
    InSubquery {
        /// The operand.
        expr: Box<Expr>,
        /// The candidates.
        query: Box<Query>,
        /// `NOT` was written.
        negated: bool,
    },
    /// `left op ANY|SOME|ALL (query)`, or with a list.
    Quantified {
        /// The left operand.
        left: Box<Expr>,
        /// The comparison.
        op: BinaryOp,
        /// `ALL` instead of `ANY` or `SOME`.
        all: bool,
        /// The right operand: a [`ExprKind::Subquery`] or a [`ExprKind::Row`] of candidates.
        right: Box<Expr>,
    },
    /// `expr [NOT] LIKE pattern [ESCAPE e]` and `SIMILAR TO`.
    Like {
        /// Which of them.
        kind: LikeKind,
        /// The operand.
        expr: Box<Expr>,
        /// The pattern.
        pattern: Box<Expr>,
        /// `ESCAPE`.
        escape: Option<Box<Expr>>,
        /// `NOT` was written.
        negated: bool,
    },
    /// `EXISTS (query)`.
    Exists(Box<Query>),
    /// `(query)` as a value.
    Subquery(Box<Query>),
    /// `f(...)`, with all that may follow it.
    Function(Box<FunctionCall>),
    /// `CAST(expr AS type)` or `TRY_CAST(expr AS type)`.
    Cast {
        /// The operand.
        expr: Box<Expr>,
        /// The wanted type.
        data_type: Box<DataType>,
        /// `TRY_CAST`: NULL instead of a failure.
        try_cast: bool,
    },
    /// `CASE [operand] WHEN .. THEN .. [ELSE ..] END`.
    Case {
        /// The compared value of the short form.
        operand: Option<Box<Expr>>,
        /// The branches: condition (or candidate), result.
        branches: Vec<(Expr, Expr)>,
        /// `ELSE`.
        otherwise: Option<Box<Expr>>,
    },
    /// `EXTRACT(unit FROM expr)`.
    Extract {
        /// The field of the time.
        unit: TimeUnit,
        /// The time.
        expr: Box<Expr>,
    },
    /// `POSITION(needle IN haystack [FROM start])`.
    Position {
        /// What is looked for.
        needle: Box<Expr>,
        /// Where.
        haystack: Box<Expr>,
        /// From which character on.
        from: Option<Box<Expr>>,
    },
    /// `SUBSTRING(expr FROM start [FOR length])`; with commas it is a plain call, also turned into this form.
    Substring {
        /// The string.
        expr: Box<Expr>,
        /// The first character, from 1.
        from: Box<Expr>,
        /// How many characters.
        length: Option<Box<Expr>>,
    },
    /// `TRIM([LEADING|TRAILING|BOTH] [chars] FROM expr)`, also `TRIM(expr)`.
    Trim {
        /// Which ends.
        side: TrimSide,
        /// What is cut; a blank when absent.
        chars: Option<Box<Expr>>,
        /// The string.
        expr: Box<Expr>,
    },
    /// `OVERLAY(expr PLACING replacement FROM start [FOR length])`.
    Overlay {
        /// The string.
        expr: Box<Expr>,
        /// What is put in.
        replacement: Box<Expr>,
        /// The first replaced character, from 1.
        from: Box<Expr>,
        /// How many are replaced; as many as are put in when absent.
        length: Option<Box<Expr>>,
    },
    /// `FLOOR(expr TO unit)` or `CEIL(expr TO unit)`; without TO it is a plain call.
    RoundTime {
        /// `CEIL` or `CEILING` instead of `FLOOR`.
        ceil: bool,
        /// The time.
        expr: Box<Expr>,
        /// To which unit.
        unit: TimeUnit,
    },
    /// `TIMESTAMPADD(unit, amount, time)`.
    TimestampAdd {
        /// The unit.
        unit: TimeUnit,
        /// How many of them.
        amount: Box<Expr>,
        /// Added to what.
        time: Box<Expr>,
    },
    /// `TIMESTAMPDIFF(unit, from, to)`.
    TimestampDiff {
        /// The unit.
        unit: TimeUnit,
        /// The earlier time, for a positive result.
        from: Box<Expr>,
        /// The later time.
        to: Box<Expr>,
    },
    /// `JSON_VALUE(...)`.
    JsonValue(Box<JsonValue>),
    /// `JSON_QUERY(...)`.
    JsonQuery(Box<JsonQuery>),
    /// `JSON_EXISTS(input, path [behaviour ON ERROR])`.
    JsonExists {
        /// The JSON text.
        input: Box<Expr>,
        /// The path.
        path: Box<Expr>,
        /// What an error gives.
        on_error: Option<JsonExistsOnError>,
    },
    /// `JSON_OBJECT(KEY k VALUE v, ... [NULL|ABSENT ON NULL])`; also the aggregate JSON_OBJECTAGG with one pair.
    JsonObject {
        /// The pairs.
        entries: Vec<(Expr, Expr)>,
        /// What a NULL value gives.
        on_null: Option<JsonOnNull>,
        /// `JSON_OBJECTAGG` with what follows it.
        aggregate: Option<Box<AggregateTail>>,
    },
    /// `JSON_ARRAY(v, ... [NULL|ABSENT ON NULL])`; also the aggregate JSON_ARRAYAGG with one element.
    JsonArray {
        /// The elements.
        elements: Vec<Expr>,
        /// What a NULL element gives.
        on_null: Option<JsonOnNull>,
        /// `JSON_ARRAYAGG` with what follows it.
        aggregate: Option<Box<AggregateTail>>,
    },
    /// `ROW(a, b)` or `(a, b)`.
    Row {
        /// The fields.
        fields: Vec<Expr>,
        /// The word `ROW` was written.
        explicit: bool,
    },
    /// `ARRAY[a, b]`.
    Array(Vec<Expr>),
    /// `MAP[k, v, k, v]`.
    Map(Vec<(Expr, Expr)>),
    /// `MULTISET[a, b]`.
    Multiset(Vec<Expr>),
    /// `ARRAY(query)`, `MAP(query)` or `MULTISET(query)`: known to the grammar, refused later.
    CollectionQuery {
        /// The word in front.
        word: &'static str,
        /// The query.
        query: Box<Query>,
    },
    /// `INTERVAL (expr) DAY`: an interval whose amount is computed.
    IntervalOf {
        /// The amount.
        amount: Box<Expr>,
        /// The unit.
        qualifier: IntervalQualifier,
    },
    /// `expr AT TIME ZONE zone`: known to many dialects, refused later, as in Flink.
    AtTimeZone {
        /// The time.
        expr: Box<Expr>,
        /// The zone.
        zone: Box<Expr>,
    },
    /// `DEFAULT` as a value.
    Default,
    /// `FINAL LAST(a.x)`, `RUNNING LAST(a.x)` of a MATCH_RECOGNIZE.
    MatchSemantics {
        /// `FINAL` instead of `RUNNING`.
        is_final: bool,
        /// The navigation call.
        expr: Box<Expr>,
    },
}

/// A literal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Literal {
    /// `12`, `1.50`, `1.5E0`, as written.
    Number(String),
    /// `'text'`, also U&'..' and adjacent pieces on several lines, resolved.
    String(String),
    /// `X'0AFF'`.
    Binary(Vec<u8>),
    /// `DATE '2021-09-24'`, the text alone.
    Date(String),
    /// `TIME '12:34:56'`, the text alone.
    Time(String),
    /// `TIMESTAMP '2021-09-24 12:34:56.1'`, the text alone.
    Timestamp(String),
    /// `INTERVAL '1 10' DAY TO HOUR`.
    Interval(IntervalLiteral),
    /// `TRUE` or `FALSE`.
    Boolean(bool),
    /// `UNKNOWN`: a NULL of type BOOLEAN.
    Unknown,
    /// `NULL`.
    Null,
}

/// `INTERVAL [-] 'value' qualifier`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IntervalLiteral {
    /// A minus stands before the quotes; one inside them is part of the value.
    pub negative: bool,
    /// The text inside the quotes.
    pub value: String,
    /// The place of the quoted text.
    pub value_span: Span,
    /// The units.
    pub qualifier: IntervalQualifier,
}

/// `unit[(precision)] [TO unit[(precision)]]` of an interval literal or type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IntervalQualifier {
    /// The first unit.
    pub leading: TimeUnit,
    /// How many digits the first unit may have.
    pub leading_precision: Option<u32>,
    /// The last unit, when different.
    pub trailing: Option<TimeUnit>,
    /// How many digits follow the seconds' point.
    pub fraction_precision: Option<u32>,
    /// All of it.
    pub span: Span,
}

/// A unit of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TimeUnit {
    /// Thousands of years.
    Millennium,
    /// Hundreds of years.
    Century,
    /// Tens of years.
    Decade,
    /// The year.
    Year,
    /// The year of the ISO week.
    IsoYear,
    /// Three months.
    Quarter,
    /// The month.
    Month,
    /// The week.
    Week,
    /// The day.
    Day,
    /// The day of the week, Sunday being 1.
    Dow,
    /// The day of the week, Monday being 1.
    IsoDow,
    /// The day of the year.
    Doy,
    /// The hour.
    Hour,
    /// The minute.
    Minute,
    /// The second.
    Second,
    /// A thousandth of a second.
    Millisecond,
    /// A millionth of a second.
    Microsecond,
    /// A billionth of a second.
    Nanosecond,
    /// Seconds since 1970.
    Epoch,
}

/// An operator before its operand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnaryOp {
    /// `-`.
    Minus,
    /// `+`.
    Plus,
    /// `NOT`.
    Not,
}

/// An operator between two operands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BinaryOp {
    /// `OR`.
    Or,
    /// `AND`.
    And,
    /// `=`.
    Eq,
    /// `<>` or `!=`.
    NotEq,
    /// `<`.
    Lt,
    /// `<=`.
    LtEq,
    /// `>`.
    Gt,
    /// `>=`.
    GtEq,
    /// `+`.
    Plus,
    /// `-`.
    Minus,
    /// `*`.
    Multiply,
    /// `/`.
    Divide,
    /// `%`.
    Modulo,
    /// `||`.
    Concat,
    /// `OVERLAPS` between two periods.
    Overlaps,
    /// `MEMBER OF`.
    MemberOf,
    /// `SUBMULTISET OF`.
    SubmultisetOf,
}

impl BinaryOp {
    /// Whether it is one of `=`, `<>`, `<`, `<=`, `>`, `>=`.
    pub fn is_comparison(self) -> bool {
        matches!(self, BinaryOp::Eq | BinaryOp::NotEq | BinaryOp::Lt | BinaryOp::LtEq | BinaryOp::Gt | BinaryOp::GtEq)
    }
}

/// The right side of an IS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IsTest {
    /// `NULL`.
    Null,
    /// `TRUE`.
    True,
    /// `FALSE`.
    False,
    /// `UNKNOWN`.
    Unknown,
    /// `JSON`, the same as `JSON VALUE`.
    JsonValue,
    /// `JSON OBJECT`.
    JsonObject,
    /// `JSON ARRAY`.
    JsonArray,
    /// `JSON SCALAR`.
    JsonScalar,
    /// `A SET`.
    ASet,
    /// `EMPTY`.
    Empty,
}

/// Which pattern language.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LikeKind {
    /// `LIKE`.
    Like,
    /// `SIMILAR TO`.
    SimilarTo,
}

/// Which ends a TRIM cuts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrimSide {
    /// Both, the default.
    Both,
    /// The left end.
    Leading,
    /// The right end.
    Trailing,
}

/// `name(args)` with all that may follow.
#[derive(Debug, Clone, PartialEq)]
pub struct FunctionCall {
    /// The function; its name resolves without regard to case.
    pub name: ObjectName,
    /// The arguments.
    pub args: Vec<FunctionArg>,
    /// No parentheses were written: `CURRENT_TIMESTAMP`.
    pub bare: bool,
    /// `DISTINCT` before the arguments.
    pub distinct: bool,
    /// What follows the parentheses.
    pub tail: AggregateTail,
    /// All of it.
    pub span: Span,
}

/// What may follow the arguments of an aggregate call.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct AggregateTail {
    /// `WITHIN GROUP (ORDER BY ...)`, also an ORDER BY inside the parentheses.
    pub order_by: Vec<OrderItem>,
    /// `IGNORE NULLS` is true, `RESPECT NULLS` false.
    pub ignore_nulls: Option<bool>,
    /// `FILTER (WHERE expr)`.
    pub filter: Option<Expr>,
    /// `OVER ...`.
    pub over: Option<Over>,
}

/// What follows OVER.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "there are few of them, and matching on a box is clumsy")]
pub enum Over {
    /// `OVER w`.
    Named(Ident),
    /// `OVER (...)`.
    Spec(WindowSpec),
}

/// One argument of a call.
#[derive(Debug, Clone, PartialEq)]
pub struct FunctionArg {
    /// `name => value`.
    pub name: Option<Ident>,
    /// The value.
    pub value: FunctionArgValue,
    /// All of it.
    pub span: Span,
}

/// The value of an argument.
#[derive(Debug, Clone, PartialEq)]
pub enum FunctionArgValue {
    /// A plain expression.
    Expr(Expr),
    /// `*`, as in `COUNT(*)`.
    Star,
    /// `TABLE t PARTITION BY k ORDER BY o`, or `TABLE (query) ...`, or `(query)` of a table function.
    Table(TableArg),
    /// `DESCRIPTOR(a, b)`.
    Descriptor(Vec<Ident>),
}

/// A table handed to a table function.
#[derive(Debug, Clone, PartialEq)]
pub struct TableArg {
    /// The rows.
    pub source: TableArgSource,
    /// `PARTITION BY`.
    pub partition_by: Vec<Expr>,
    /// `ORDER BY`.
    pub order_by: Vec<OrderItem>,
    /// All of it.
    pub span: Span,
}

/// Where a table argument's rows come from.
#[derive(Debug, Clone, PartialEq)]
pub enum TableArgSource {
    /// `TABLE t`, with hints after the name.
    Name(ObjectName, Vec<Hint>),
    /// `TABLE (query)`.
    Query(Box<Query>),
    /// `TABLE f(...)` or `TABLE(f(...))`: a table function's rows.
    Function(Box<FunctionCall>),
}

/// `JSON_VALUE(input, path [RETURNING type] [.. ON EMPTY] [.. ON ERROR])`.
#[derive(Debug, Clone, PartialEq)]
pub struct JsonValue {
    /// The JSON text.
    pub input: Expr,
    /// The path.
    pub path: Expr,
    /// `RETURNING type`.
    pub returning: Option<DataType>,
    /// What an empty result gives.
    pub on_empty: Option<JsonValueBehaviour>,
    /// What an error gives.
    pub on_error: Option<JsonValueBehaviour>,
}

/// `NULL | ERROR | DEFAULT expr` before ON EMPTY or ON ERROR.
#[derive(Debug, Clone, PartialEq)]
pub enum JsonValueBehaviour {
    /// `NULL`.
    Null,
    /// `ERROR`.
    Error,
    /// `DEFAULT expr`.
    Default(Expr),
}

/// `JSON_QUERY(input, path [RETURNING type] [wrapper] [.. ON EMPTY] [.. ON ERROR])`.
#[derive(Debug, Clone, PartialEq)]
pub struct JsonQuery {
    /// The JSON text.
    pub input: Expr,
    /// The path.
    pub path: Expr,
    /// `RETURNING type`.
    pub returning: Option<DataType>,
    /// `WITH .. WRAPPER`.
    pub wrapper: Option<JsonWrapper>,
    /// What an empty result gives.
    pub on_empty: Option<JsonQueryBehaviour>,
    /// What an error gives.
    pub on_error: Option<JsonQueryBehaviour>,
}

/// Whether JSON_QUERY puts its result into an array.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JsonWrapper {
    /// `WITHOUT [ARRAY] WRAPPER`, the default.
    Without,
    /// `WITH CONDITIONAL [ARRAY] WRAPPER`.
    Conditional,
    /// `WITH [UNCONDITIONAL] [ARRAY] WRAPPER`.
    Unconditional,
}

/// `NULL | ERROR | EMPTY ARRAY | EMPTY OBJECT` before ON EMPTY or ON ERROR.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JsonQueryBehaviour {
    /// `NULL`.
    Null,
    /// `ERROR`.
    Error,
    /// `EMPTY ARRAY`.
    EmptyArray,
    /// `EMPTY OBJECT`.
    EmptyObject,
}

/// `TRUE | FALSE | UNKNOWN | ERROR ON ERROR` of JSON_EXISTS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JsonExistsOnError {
    /// `TRUE`.
    True,
    /// `FALSE`, the default.
    False,
    /// `UNKNOWN`.
    Unknown,
    /// `ERROR`.
    Error,
}

/// `NULL ON NULL` or `ABSENT ON NULL`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JsonOnNull {
    /// `NULL ON NULL`: the pair or element stays, as null.
    Null,
    /// `ABSENT ON NULL`: it is left out.
    Absent,
}

// ---------------------------------------------------------------- types

/// A type as written, and its place.
#[derive(Debug, Clone, PartialEq)]
pub struct DataType {
    /// What it is.
    pub kind: TypeKind,
    /// What was said about NULL.
    pub nullability: Nullability,
    /// All of it, NOT NULL included.
    pub span: Span,
}

/// What a type says about NULL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nullability {
    /// Nothing: nullable.
    Unsaid,
    /// `NULL`.
    Null,
    /// `NOT NULL`.
    NotNull,
}

/// Every type of Flink's grammar; a length or precision that was not written is `None`.
#[derive(Debug, Clone, PartialEq)]
pub enum TypeKind {
    /// `BOOLEAN`.
    Boolean,
    /// `TINYINT`.
    TinyInt,
    /// `SMALLINT`.
    SmallInt,
    /// `INT` or `INTEGER`.
    Int,
    /// `BIGINT`.
    BigInt,
    /// `DECIMAL(p, s)`, also DEC and NUMERIC.
    Decimal {
        /// The digits.
        precision: Option<u32>,
        /// The digits after the point.
        scale: Option<u32>,
    },
    /// `FLOAT`, also REAL.
    Float,
    /// `DOUBLE [PRECISION]`.
    Double,
    /// `CHAR(n)`, also CHARACTER(n).
    Char(Option<u32>),
    /// `VARCHAR(n)`, also CHARACTER VARYING(n) and CHAR VARYING(n).
    Varchar(Option<u32>),
    /// `STRING`.
    String,
    /// `BINARY(n)`.
    Binary(Option<u32>),
    /// `VARBINARY(n)`, also BINARY VARYING(n).
    Varbinary(Option<u32>),
    /// `BYTES`.
    Bytes,
    /// `DATE`.
    Date,
    /// `TIME(p)`, also with WITHOUT TIME ZONE.
    Time(Option<u32>),
    /// `TIMESTAMP(p)`, also with WITHOUT TIME ZONE.
    Timestamp(Option<u32>),
    /// `TIMESTAMP_LTZ(p)` or `TIMESTAMP(p) WITH LOCAL TIME ZONE`.
    TimestampLtz(Option<u32>),
    /// `TIMESTAMP(p) WITH TIME ZONE`: known to the grammar, refused later, as in Flink.
    TimestampTz(Option<u32>),
    /// `INTERVAL DAY(2) TO SECOND(3)`.
    Interval(IntervalQualifier),
    /// `ARRAY<T>` or `T ARRAY`.
    Array(Box<DataType>),
    /// `MAP<K, V>`.
    Map(Box<DataType>, Box<DataType>),
    /// `MULTISET<T>` or `T MULTISET`.
    Multiset(Box<DataType>),
    /// `ROW<name T 'comment', ...>` or `ROW(...)`.
    Row(Vec<RowField>),
    /// `NULL`.
    Null,
    /// `VARIANT` (Flink 2.1).
    Variant,
    /// `RAW('class', 'snapshot')`.
    Raw {
        /// The class.
        class: StringLiteral,
        /// The serializer's snapshot.
        snapshot: StringLiteral,
    },
    /// Any other name: a user-defined type.
    Named(ObjectName),
}

/// One field of a ROW type.
#[derive(Debug, Clone, PartialEq)]
pub struct RowField {
    /// Its name.
    pub name: Ident,
    /// Its type.
    pub data_type: DataType,
    /// `COMMENT 'text'`, also the text alone.
    pub comment: Option<StringLiteral>,
}
