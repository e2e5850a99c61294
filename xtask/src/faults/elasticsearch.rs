//! Rows 33 to 35 and 37 to 39: an Elasticsearch that refuses, answers too late or not at all, and comes back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use anyhow::{Result, ensure};

use super::proxy::{Answer, HttpProxy, Request};
use super::world::{Sink, World};
use crate::e2e::context::Context;
use crate::services::elasticsearch::Line;

/// Bulk requests that are disturbed.
const DISTURBED: u64 = 5;
/// Longest wait for them.
const DISTURBED_LIMIT_S: u64 = 120;

/// A job whose bulk requests go through a rule; the rule is given the number of the bulk request and says what happens, and the case
/// fails when fewer than `at_least` were disturbed.
fn through_rule(context: &Context, row: u8, at_least: u64, rule: fn(u64, &Request) -> Option<Answer>) -> Result<()> {
    for (index, sink) in [Sink::Elasticsearch, Sink::ElasticsearchByKey].into_iter().enumerate() {
        let mut world = World::new(context, &[sink], true, super::seed_of(u64::from(row) * 10 + index as u64))?;
        let disturbed = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&disturbed);
        let mut bulks = 0;
        let server = world.addresses().elasticsearch.clone();
        let proxy = HttpProxy::start(&server, move |request| {
            if !request.path.contains("_bulk") {
                return Answer::Pass;
            }
            bulks += 1;
            match rule(bulks, request) {
                Some(answer) => {
                    counted.fetch_add(1, Relaxed);
                    answer
                }
                None => Answer::Pass,
            }
        })?;
        proxy.address().clone_into(&mut world.addresses().elasticsearch);
        world.run_through(|world, _| {
            context.wait_until(DISTURBED_LIMIT_S, "enough disturbed bulk requests", || {
                world.produce(50)?;
                Ok(disturbed.load(Relaxed) >= at_least)
            })
        })?;
        let count = disturbed.load(Relaxed);
        ensure!(count >= at_least, "only {count} bulk requests were disturbed");
    }
    Ok(())
}

/// Row 33: the whole request is refused with 429.
pub(super) fn all_refused(context: &Context) -> Result<()> {
    through_rule(context, 33, DISTURBED, |bulk, _| {
        (bulk % 2 == 1 && bulk < 2 * DISTURBED).then(|| Answer::Instead(429, r#"{"error":"busy"}"#.to_owned()))
    })
}

/// Row 34: the request is taken, some of its items are refused with 429.
pub(super) fn items_refused(context: &Context) -> Result<()> {
    through_rule(context, 34, DISTURBED, |bulk, _| (bulk <= DISTURBED).then_some(Answer::RefuseItems(3)))
}

/// Row 35: not available for a while; checkpoints wait, nothing fails.
pub(super) fn unavailable(context: &Context) -> Result<()> {
    through_rule(context, 35, DISTURBED, |bulk, _| {
        (2..2 + 2 * DISTURBED).contains(&bulk).then(|| Answer::Instead(503, r#"{"error":"down"}"#.to_owned()))
    })
}

/// Row 37: bodies above 4 KB are too large.
pub(super) fn too_large(context: &Context) -> Result<()> {
    through_rule(context, 37, 1, |_, request| {
        (request.body.len() > 4_000).then(|| Answer::Instead(413, r#"{"error":"too large"}"#.to_owned()))
    })
}

/// Row 38: the server has applied the request, the answer is lost.
pub(super) fn answer_lost(context: &Context) -> Result<()> {
    through_rule(context, 38, DISTURBED, |bulk, _| (bulk % 2 == 1 && bulk < 2 * DISTURBED).then_some(Answer::Lost))
}

/// Row 39: the node is killed and comes back; later the index takes no writes for a while (what a full disk makes of it).
pub(super) fn node_restarts_and_blocks(context: &Context) -> Result<()> {
    for (index, sink) in [Sink::Elasticsearch, Sink::ElasticsearchByKey].into_iter().enumerate() {
        let mut world = World::new(context, &[sink], true, super::seed_of(390 + index as u64))?;
        world.run_through(|world, _| {
            context.services().elasticsearch(Line::Seven)?.kill()?;
            world.produce(100)?;
            context.services().elasticsearch(Line::Seven)?.restart()?;
            let client = context.elasticsearch(Line::Seven)?;
            let index = world.place().to_owned();
            let block = |is_on: bool| {
                let value = if is_on { "true" } else { "null" };
                let body = format!(r#"{{"index.blocks.read_only_allow_delete":{value}}}"#);
                client.expect("PUT", &format!("/{index}/_settings"), Some(&body)).map(drop)
            };
            block(true)?;
            world.produce(100)?;
            let program = world.program()?;
            program.wait_until(60, "the word about the index", |p| p.stderr().contains("waiting, and trying again"))?;
            block(false)
        })?;
    }
    Ok(())
}

/// Row 39: somebody deletes the index. A server that makes indices by itself makes it anew, without a word; one that does not refuses the
/// next row, and the job ends with the index's name; once the index may be made again, the job's next start goes on. What the deleted
/// index held is gone with it; every row since is there.
pub(super) fn index_deleted(context: &Context) -> Result<()> {
    for (index, sink) in [Sink::Elasticsearch, Sink::ElasticsearchByKey].into_iter().enumerate() {
        let mut world = World::new(context, &[sink], true, super::seed_of(3_900 + index as u64))?;
        let client = context.elasticsearch(Line::Seven)?;
        let place = world.place().to_owned();
        let delete = |world: &mut World<'_>| -> Result<()> {
            context.wait_until(60, "all rows in the index", || world.is_whole_by_now())?;
            client.expect("DELETE", &format!("/{place}"), None)?;
            world.forget()
        };
        let may_make_it = |may: bool| {
            let patterns = if may { "null".to_owned() } else { format!("\"-{place},+*\"") };
            let body = format!(r#"{{"persistent":{{"action.auto_create_index":{patterns}}}}}"#);
            client.expect("PUT", "/_cluster/settings", Some(&body)).map(drop)
        };
        world.produce(200)?;
        let program = world.start(&[])?;
        world.wait_back(&program, 0)?;
        delete(&mut world)?;
        may_make_it(false)?;
        world.produce(100)?;
        let ended = program.wait(60);
        may_make_it(true)?;
        let ended = ended?;
        ensure!(ended.code.is_some_and(|code| code != 0), "{sink:?}: it ended with {:?}", ended.code);
        for part in [place.as_str(), "index_not_found_exception", "create the index"] {
            ensure!(ended.stderr.contains(part), "{sink:?}: `{part}` is missing in: {}", ended.stderr);
        }
        world.run_through(|world, _| {
            delete(world)?;
            world.produce(100)
        })?;
    }
    Ok(())
}
