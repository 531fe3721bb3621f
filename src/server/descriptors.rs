//! File descriptors: every client needs one, and the system grants a process only so many. The grant is raised as far
//! as it goes for `maxclients`; what does not fit lowers `maxclients`, at the start, or refuses CONFIG SET, later.

use std::sync::Arc;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::warn;

use crate::base::limits::{DESCRIPTORS_PER_WORKER, DESCRIPTORS_RESERVED};
use crate::config::Config;
use crate::hub::Hub;

/// Sees to descriptors for `maxclients` clients, now and whenever CONFIG SET changes it. The error is one line.
pub fn provide(hub: &Arc<Hub>) -> Result<(), String> {
    let reserved = DESCRIPTORS_RESERVED + DESCRIPTORS_PER_WORKER * hub.workers.len() as u64;
    let wanted = hub.config.load().maxclients;
    let possible = raise(wanted, reserved);
    if possible == 0 {
        return Err(format!(
            "the limit of open files leaves none for clients: raise it above {reserved} (ulimit -n)"
        ));
    }
    if possible < wanted {
        warn!("maxclients is {possible}, not {wanted}: the limit of open files allows no more (ulimit -n)");
        let lowered = possible.to_string();
        hub.config
            .set(&[(b"maxclients", lowered.as_bytes())])
            .map_err(|error| format!("cannot lower maxclients to {lowered}: {error}"))?;
    }
    hub.config.on_change(Box::new(move |old: &Config, new: &Config| {
        let possible = if new.maxclients > old.maxclients { raise(new.maxclients, reserved) } else { u64::MAX };
        if possible >= new.maxclients {
            return Ok(());
        }
        Err((
            "maxclients",
            format!(
                "The operating system is not able to handle the specified number of clients, try with {possible}"
            ),
        ))
    }));
    Ok(())
}

/// Raises the process's limit so that `clients` fit beside what is reserved, as far as the system lets it; for how many
/// there is room then.
fn raise(clients: u64, reserved: u64) -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    // None stands for no limit.
    let Some(now) = current else { return clients };
    let wanted = clients.saturating_add(reserved).min(maximum.unwrap_or(u64::MAX));
    let raised =
        wanted > now && setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum }).is_ok();
    let granted = if raised { wanted } else { now };
    granted.saturating_sub(reserved).min(clients)
}
