//! DEBUG RELOAD: every value is written in RDB's format, as it would be to a file or to another node, and read again.
//!
//! Keys and due times stay. What was read takes the form that the present configuration asks for.

use super::permit;
use crate::command::context::Cx;
use crate::command::dump;
use crate::resp::args::Args;
use crate::resp::error::Error;
use crate::store::db::{Db, Due};
use crate::store::key::Key;
use crate::store::value::Thresholds;
use crate::store::value::rdb::{self, Dialect};
use crate::store::walk::Step;

/// Entries of a shard whose values are read again between two looks at the walk.
const RELOAD_STEP: usize = 256;

/// The handler.
pub fn reload(cx: &mut Cx<'_>, _: Args<'_>) -> Result<(), Error> {
    permit(cx)?;
    let (now_ms, thresholds) = (cx.now_ms, cx.thresholds());
    let layout = cx.hub.keyspace.layout().clone();
    let mut outcome = Ok(());
    cx.data.each_shard(|_, shard| {
        let numbers: Vec<usize> = shard.dbs().map(|(number, _)| number).collect();
        for number in numbers {
            let db = shard.db(number);
            let mut next = Some(Step::default());
            while let Some(step) = next {
                let mut names: Vec<Vec<u8>> = Vec::new();
                next = db.walk(step, RELOAD_STEP, (now_ms, None), |name| names.push(name.to_vec())).0;
                for name in &names {
                    let reloaded = reload_one(db, &layout.key(name), &thresholds, now_ms);
                    outcome = std::mem::replace(&mut outcome, Ok(())).and(reloaded);
                }
            }
        }
    });
    outcome?;
    cx.reply.ok();
    Ok(())
}

fn reload_one(db: &mut Db, key: &Key<'_>, thresholds: &Thresholds, now_ms: u64) -> Result<(), Error> {
    let Some(found) = db.find(key, now_ms) else { return Ok(()) };
    let mut bytes = Vec::new();
    rdb::encode(db.value(found), Dialect::Own, &mut bytes);
    let value = rdb::decode(&bytes, thresholds)
        .map_err(|_| Error::Fixed("ERR a value does not read as it was written"))?;
    dump::put(db, key, Some(found), value, Due::Keep, now_ms)
}
