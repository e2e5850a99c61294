//! CREATE TABLE ... LIKE: the source's declaration merged into the new one, feature by feature.
//!
//! | feature | said nothing | INCLUDING | EXCLUDING | OVERWRITING |
//! |---|---|---|---|---|
//! | OPTIONS | overwriting | both, twice is an error | the new ones | both, the new win |
//! | WATERMARKS, GENERATED, METADATA | including | both, twice is an error | the new ones | both, the new win |
//! | CONSTRAINTS, PARTITIONS | including | the source's, a second is an error | the new ones | - |
//!
//! Physical columns are always taken over. The source's columns come first; its comment is not taken.

use wiesel_core::diagnostic::Diagnostic;

use crate::binder::expr::Bound;
use crate::parser::ast::{Column, ColumnKind, CreateTable, LikeClause, LikeFeature, LikeStrategy};

use LikeFeature as Feature;
use LikeStrategy::{Excluding, Including, Overwriting};

/// The declaration that stands for a CREATE TABLE ... LIKE.
pub(super) fn merged(create: &CreateTable, like: &LikeClause, source: &CreateTable) -> Bound<CreateTable> {
    let merge = Merge { create, like, source };
    merge.check_rules()?;
    Ok(CreateTable {
        columns: merge.columns()?,
        watermark: merge.watermark()?,
        primary_key: merge.one(Feature::Constraints, "a primary key", &create.primary_key, &source.primary_key)?,
        partitioned_by: merge.partitions()?,
        options: merge.options()?,
        like: None,
        ..create.clone()
    })
}

struct Merge<'a> {
    create: &'a CreateTable,
    like: &'a LikeClause,
    source: &'a CreateTable,
}

impl Merge<'_> {
    /// What is said of a feature: itself, else of ALL, else Flink's default.
    fn strategy(&self, feature: Feature) -> LikeStrategy {
        let said =
            |wanted: Feature| self.like.rules.iter().find(|rule| rule.feature == wanted).map(|rule| rule.strategy);
        let default = if feature == Feature::Options { Overwriting } else { Including };
        said(feature).or_else(|| said(Feature::All)).unwrap_or(default)
    }

    fn check_rules(&self) -> Bound<()> {
        for (place, rule) in self.like.rules.iter().enumerate() {
            let never_overwritten = matches!(
                rule.feature,
                Feature::All | Feature::Constraints | Feature::Partitions | Feature::Distribution
            );
            if rule.strategy == Overwriting && never_overwritten {
                return Err(vec![
                    Diagnostic::error("W0309", "OVERWRITING takes OPTIONS, WATERMARKS, GENERATED or METADATA")
                        .at(rule.span),
                ]);
            }
            if self.like.rules.iter().take(place).any(|earlier| earlier.feature == rule.feature) {
                return Err(vec![
                    Diagnostic::error("W0309", "LIKE says twice what it does with a feature").at(rule.span),
                ]);
            }
        }
        Ok(())
    }

    fn twice(&self, what: &str, feature: &str) -> Vec<Diagnostic> {
        vec![
            Diagnostic::error("W0205", format!("`{}` has {what} already", self.like.source.last().value))
                .at(self.like.span)
                .hint(format!("write {feature} behind LIKE")),
        ]
    }

    fn columns(&self) -> Bound<Vec<Column>> {
        let mut columns: Vec<Column> = Vec::new();
        for column in &self.source.columns {
            let feature = match column.kind {
                ColumnKind::Computed(_) => Some(Feature::Generated),
                ColumnKind::Metadata { .. } => Some(Feature::Metadata),
                ColumnKind::Physical(_) | ColumnKind::Bare => None,
            };
            if feature.is_none_or(|feature| self.strategy(feature) != Excluding) {
                columns.push(column.clone());
            }
        }
        for column in &self.create.columns {
            let name = &column.name.value;
            let Some(place) = columns.iter().position(|c| c.name.value == *name) else {
                columns.push(column.clone());
                continue;
            };
            let (feature, word) = match (&columns.get(place).map(|c| &c.kind), &column.kind) {
                (Some(ColumnKind::Computed(_)), ColumnKind::Computed(_)) => (Some(Feature::Generated), "GENERATED"),
                (Some(ColumnKind::Metadata { .. }), ColumnKind::Metadata { .. }) => {
                    (Some(Feature::Metadata), "METADATA")
                }
                _ => (None, ""),
            };
            match feature {
                Some(feature) if self.strategy(feature) == Overwriting => columns[place] = column.clone(),
                Some(_) => {
                    return Err(self
                        .twice(&format!("a column `{name}`"), &format!("(OVERWRITING {word}) or (EXCLUDING {word})")));
                }
                None => {
                    return Err(vec![
                        Diagnostic::error(
                            "W0205",
                            format!("column `{name}` is a column of `{}` already", self.like.source.last().value),
                        )
                        .at(column.span),
                    ]);
                }
            }
        }
        Ok(columns)
    }

    fn watermark(&self) -> Bound<Option<crate::parser::ast::Watermark>> {
        Ok(match (&self.create.watermark, &self.source.watermark, self.strategy(Feature::Watermarks)) {
            (Some(_), Some(_), Including) => {
                return Err(self.twice("a watermark", "(OVERWRITING WATERMARKS) or (EXCLUDING WATERMARKS)"));
            }
            (Some(own), _, _) => Some(own.clone()),
            (None, _, Excluding) => None,
            (None, theirs, _) => theirs.clone(),
        })
    }

    fn one<T: Clone>(&self, feature: Feature, what: &str, own: &Option<T>, theirs: &Option<T>) -> Bound<Option<T>> {
        if self.strategy(feature) == Excluding {
            return Ok(own.clone());
        }
        match (own, theirs) {
            (Some(_), Some(_)) => Err(self.twice(what, "(EXCLUDING CONSTRAINTS)")),
            (Some(one), None) | (None, Some(one)) => Ok(Some(one.clone())),
            (None, None) => Ok(None),
        }
    }

    fn partitions(&self) -> Bound<Vec<crate::parser::ast::Ident>> {
        let (own, theirs) = (&self.create.partitioned_by, &self.source.partitioned_by);
        if self.strategy(Feature::Partitions) == Excluding || theirs.is_empty() {
            return Ok(own.clone());
        }
        if own.is_empty() { Ok(theirs.clone()) } else { Err(self.twice("partitions", "(EXCLUDING PARTITIONS)")) }
    }

    fn options(&self) -> Bound<Vec<crate::parser::ast::OptionPair>> {
        let strategy = self.strategy(Feature::Options);
        let mut options = if strategy == Excluding { Vec::new() } else { self.source.options.clone() };
        for pair in &self.create.options {
            match options.iter().position(|known| known.key.value == pair.key.value) {
                None => options.push(pair.clone()),
                Some(_) if strategy == Including => {
                    let what = format!("an option '{}'", pair.key.value);
                    return Err(self.twice(&what, "(OVERWRITING OPTIONS) or (EXCLUDING OPTIONS)"));
                }
                Some(place) => options[place] = pair.clone(),
            }
        }
        Ok(options)
    }
}
