//! A dashboard as Kibana's saved objects: one JSON object per line, as its own export writes them.
//!
//! Ids are made of the system's name and a number, so a file that is loaded twice replaces its own objects and no others. Fields are not
//! listed in the index patterns: Kibana asks Elasticsearch for them.

use clap::ValueEnum;
use serde_json::{Value, json};

use super::board::{Board, Form, Index, Picture};

/// How wide and high a panel is, on Kibana's grid of 48 columns.
const PANEL_WIDTH: usize = 24;
const PANEL_HEIGHT: usize = 15;

/// The form of the objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Line {
    /// Kibana 7.8 and every later 7.
    #[value(name = "7.8")]
    Seven,
    /// Kibana 8.0 and every later one.
    #[value(name = "8.0")]
    Eight,
}

/// The objects of a dashboard, one per line: index patterns, visualisations, the dashboard.
pub(crate) fn lines(board: &Board, line: Line) -> String {
    let mut objects = Vec::new();
    let mut pictures = Vec::new();
    for (number, index) in board.indices.iter().enumerate() {
        let index_id = format!("wiesel-{}-index-{number}", board.system);
        objects.push(index_pattern(index, &index_id, line));
        pictures.extend(index.pictures.iter().map(|picture| (picture, index_id.clone())));
    }
    let mut panels = Vec::new();
    for (number, (picture, index_id)) in pictures.into_iter().enumerate() {
        let id = format!("wiesel-{}-picture-{number}", board.system);
        objects.push(visualization(picture, &id, &index_id, line));
        panels.push(id);
    }
    objects.push(dashboard(board, &panels, line));
    objects.iter().map(|object| format!("{object}\n")).collect()
}

/// What every object has around its attributes.
fn object(kind: &str, id: &str, attributes: &Value, references: &Value, line: Line) -> Value {
    let version = match (line, kind) {
        (Line::Seven, "index-pattern") => "7.6.0",
        (Line::Seven, "dashboard") => "7.3.0",
        (Line::Seven, _) => "7.8.0",
        (Line::Eight, _) => "8.0.0",
    };
    let mut object = json!({
        "attributes": attributes, "id": id, "migrationVersion": { kind: version }, "references": references, "type": kind,
    });
    if line == Line::Eight {
        object["coreMigrationVersion"] = json!("8.0.0");
    }
    object
}

fn index_pattern(index: &Index, id: &str, line: Line) -> Value {
    let attributes = match line {
        Line::Seven => json!({ "title": index.pattern }),
        Line::Eight => json!({
            "title": index.pattern, "name": index.pattern, "fields": "[]", "fieldAttrs": "{}", "runtimeFieldMap": "{}",
            "sourceFilters": "[]", "typeMeta": "{}",
        }),
    };
    object("index-pattern", id, &attributes, &json!([]), line)
}

fn visualization(picture: &Picture, id: &str, index_id: &str, line: Line) -> Value {
    let state = json!({ "title": picture.title, "type": kind(picture.form), "params": parameters(picture, line), "aggs": aggregations(picture) });
    let source = json!({
        "query": { "query": "", "language": "kuery" }, "filter": [],
        "indexRefName": "kibanaSavedObjectMeta.searchSourceJSON.index",
    });
    let attributes = json!({
        "title": picture.title, "description": "", "version": 1, "uiStateJSON": "{}", "visState": state.to_string(),
        "kibanaSavedObjectMeta": { "searchSourceJSON": source.to_string() },
    });
    let references =
        json!([{ "id": index_id, "name": "kibanaSavedObjectMeta.searchSourceJSON.index", "type": "index-pattern" }]);
    object("visualization", id, &attributes, &references, line)
}

fn kind(form: Form) -> &'static str {
    match form {
        Form::Pie => "pie",
        Form::Bars => "histogram",
        Form::Table => "table",
    }
}

fn aggregations(picture: &Picture) -> Vec<Value> {
    let metric = match picture.sum {
        Some(field) => {
            json!({ "id": "1", "enabled": true, "type": "sum", "schema": "metric", "params": { "field": field } })
        }
        None => json!({ "id": "1", "enabled": true, "type": "count", "schema": "metric", "params": {} }),
    };
    let mut all = vec![metric];
    for (number, field) in picture.by.iter().enumerate() {
        let schema = match picture.form {
            Form::Table => "bucket",
            Form::Bars if number > 0 => "group",
            Form::Bars | Form::Pie => "segment",
        };
        all.push(json!({
            "id": (number + 2).to_string(), "enabled": true, "type": "terms", "schema": schema,
            "params": {
                "field": field, "orderBy": "1", "order": "desc", "size": picture.groups,
                "otherBucket": false, "otherBucketLabel": "Other", "missingBucket": false, "missingBucketLabel": "Missing",
            },
        }));
    }
    all
}

fn parameters(picture: &Picture, line: Line) -> Value {
    let metric = picture.sum.map_or_else(|| "Count".to_owned(), |field| format!("Sum of {field}"));
    let mut parameters = match picture.form {
        Form::Pie => json!({
            "type": "pie", "addTooltip": true, "addLegend": true, "legendPosition": "right", "isDonut": true,
            "labels": { "show": true, "values": true, "last_level": true, "truncate": 100 },
        }),
        Form::Bars => json!({
            "type": "histogram", "grid": { "categoryLines": false }, "addTooltip": true, "addLegend": true,
            "legendPosition": "right", "times": [], "addTimeMarker": false, "labels": { "show": false },
            "thresholdLine": { "show": false, "value": 10, "width": 1, "style": "full", "color": "#E7664C" },
            "categoryAxes": [{
                "id": "CategoryAxis-1", "type": "category", "position": "bottom", "show": true, "style": {},
                "scale": { "type": "linear" }, "labels": { "show": true, "filter": true, "truncate": 100 }, "title": {},
            }],
            "valueAxes": [{
                "id": "ValueAxis-1", "name": "LeftAxis-1", "type": "value", "position": "left", "show": true, "style": {},
                "scale": { "type": "linear", "mode": "normal" },
                "labels": { "show": true, "rotate": 0, "filter": false, "truncate": 100 }, "title": { "text": metric },
            }],
            "seriesParams": [{
                "show": true, "type": "histogram", "mode": "stacked", "data": { "label": metric, "id": "1" },
                "valueAxis": "ValueAxis-1", "drawLinesBetweenPoints": true, "lineWidth": 2, "showCircles": true,
            }],
        }),
        Form::Table => json!({
            "perPage": 10, "showPartialRows": false, "showMetricsAtAllLevels": false, "showTotal": false, "totalFunc": "sum",
            "percentageCol": "",
        }),
    };
    match (picture.form, line) {
        (Form::Table, Line::Seven) => parameters["sort"] = json!({ "columnIndex": null, "direction": null }),
        (Form::Pie, Line::Eight) => {
            parameters["palette"] = json!({ "type": "palette", "name": "default" });
            parameters["distinctColors"] = json!(false);
        }
        _ => {}
    }
    parameters
}

fn dashboard(board: &Board, pictures: &[String], line: Line) -> Value {
    let version = match line {
        Line::Seven => "7.8.0",
        Line::Eight => "8.0.0",
    };
    let mut panels = Vec::new();
    let mut references = Vec::new();
    for (number, id) in pictures.iter().enumerate() {
        let index = (number + 1).to_string();
        let panel = json!({
            "version": version, "panelIndex": index, "panelRefName": format!("panel_{index}"), "embeddableConfig": {},
            "gridData": {
                "x": number % 2 * PANEL_WIDTH, "y": number / 2 * PANEL_HEIGHT, "w": PANEL_WIDTH, "h": PANEL_HEIGHT, "i": index,
            },
        });
        let (panel, name) = match line {
            Line::Seven => (panel, format!("panel_{index}")),
            Line::Eight => {
                let mut panel = panel;
                panel["type"] = json!("visualization");
                (panel, format!("{index}:panel_{index}"))
            }
        };
        panels.push(panel);
        references.push(json!({ "id": id, "name": name, "type": "visualization" }));
    }
    let source = json!({ "query": { "query": "", "language": "kuery" }, "filter": [] });
    let attributes = json!({
        "title": board.title, "description": "", "hits": 0, "version": 1, "timeRestore": false,
        "optionsJSON": json!({ "useMargins": true, "hidePanelTitles": false }).to_string(),
        "panelsJSON": json!(panels).to_string(),
        "kibanaSavedObjectMeta": { "searchSourceJSON": source.to_string() },
    });
    object("dashboard", &format!("wiesel-{}", board.system), &attributes, &json!(references), line)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;
    use crate::kibana::BOARDS;

    fn example(system: &str, file: &str) -> String {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(system);
        std::fs::read_to_string(folder.join(file)).unwrap()
    }

    #[test]
    fn every_reference_leads_to_an_object_that_stands_before_it() {
        for (board, line) in BOARDS.iter().flat_map(|board| [(board, Line::Seven), (board, Line::Eight)]) {
            let mut known = BTreeSet::new();
            for text in lines(board, line).lines() {
                let object: Value = serde_json::from_str(text).unwrap();
                let mut names = BTreeSet::new();
                for reference in object["references"].as_array().unwrap() {
                    let target = (reference["type"].to_string(), reference["id"].to_string());
                    assert!(known.contains(&target), "{}: {reference}", board.system);
                    names.insert(reference["name"].as_str().unwrap().to_owned());
                }
                let attributes = &object["attributes"];
                if let Some(panels) = attributes["panelsJSON"].as_str() {
                    let panels: Value = serde_json::from_str(panels).unwrap();
                    for panel in panels.as_array().unwrap() {
                        let name = panel["panelRefName"].as_str().unwrap();
                        let full = format!("{}:{name}", panel["panelIndex"].as_str().unwrap());
                        assert!(names.remove(if line == Line::Seven { name } else { &full }), "{panel}");
                    }
                } else if let Some(source) = attributes["kibanaSavedObjectMeta"]["searchSourceJSON"].as_str() {
                    let source: Value = serde_json::from_str(source).unwrap();
                    assert!(names.remove(source["indexRefName"].as_str().unwrap()), "{source}");
                    serde_json::from_str::<Value>(attributes["visState"].as_str().unwrap()).unwrap();
                }
                assert!(names.is_empty(), "nothing uses {names:?} of {text}");
                assert!(known.insert((object["type"].to_string(), object["id"].to_string())), "{text}");
            }
        }
    }

    #[test]
    fn every_picture_is_of_an_index_and_of_columns_that_the_job_writes() {
        for board in &BOARDS {
            let job = example(board.system, "job.sql");
            for index in board.indices {
                let written = format!("'index' = '{}", index.pattern.trim_end_matches('*'));
                let table = job.split("CREATE TABLE ").find(|table| table.contains(&written)).expect(index.pattern);
                for picture in index.pictures {
                    for field in picture.by.iter().chain(picture.sum.iter()) {
                        let column = field.trim_end_matches(".keyword");
                        let declared = table.lines().find_map(|l| {
                            l.trim().replace('`', "").strip_prefix(&format!("{column} ")).map(str::to_owned)
                        });
                        let declared = declared.unwrap_or_else(|| panic!("{}: no column {column}", board.system));
                        let is_text = ["STRING", "VARCHAR", "TIMESTAMP"].iter().any(|t| declared.starts_with(t));
                        // A date as text is found to be a date by Elasticsearch itself, which gives it no `.keyword`.
                        assert_eq!(is_text && column != "latest_date", field.ends_with(".keyword"), "{field}");
                    }
                }
            }
        }
    }

    #[test]
    fn the_files_of_the_examples_are_what_export_prints() {
        for board in &BOARDS {
            assert_eq!(example(board.system, "kibana-7.8.ndjson"), lines(board, Line::Seven), "{}", board.system);
            assert_eq!(example(board.system, "kibana-8.0.ndjson"), lines(board, Line::Eight), "{}", board.system);
        }
    }
}
