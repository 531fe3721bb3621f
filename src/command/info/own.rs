//! INFO's section of our own: how work and memory spread over workers and shards, and the longest execution of every
//! command. Shown when it is asked for, and in `everything`.
//!
//! No field's name may hold that of a field of Redis: see the module above.

use crate::command::info::{Facts, Text};
use crate::command::table;

pub(super) fn write(text: &mut Text, facts: &mut Facts<'_, '_>) {
    let hub = facts.cx.hub;
    for (number, stats) in hub.workers.iter().enumerate() {
        text.field(
            &format!("worker{number}"),
            format_args!(
                "connections={},commands={},busy_usec={},reads={},writes={}",
                stats.connections(),
                stats.commands_processed.get(),
                stats.busy_ns.get() / 1000,
                stats.reads_processed.get(),
                stats.writes_processed.get()
            ),
        );
    }
    facts.cx.data.each_shard(|number, shard| {
        let (mut keys, mut bytes, mut free, mut ghost) = (0, 0, 0, 0);
        for (_, db) in shard.dbs() {
            keys += db.entries();
            bytes += db.used_bytes();
            free += db.reusable_bytes();
            ghost += db.ghost_bytes();
        }
        text.field(
            &format!("shard{number}"),
            format_args!("keys={keys},bytes={bytes},free_bytes={free},ghost_bytes={ghost}"),
        );
    });
    text.field("drops_pending", hub.keyspace.drops_pending());
    for (entry, row) in table::entries().iter().zip(&facts.totals.commands) {
        if row.calls > 0 {
            let longest_us = row.longest_ns.div_ceil(1000);
            text.field(&format!("max_command_usec_{}", entry.full_name), longest_us);
        }
    }
}
