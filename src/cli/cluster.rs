//! `larder cluster status`, `drain` and `wait`: a cluster as its operators see it, asked of its nodes like any client.
//!
//! One node is told by flags; it names the others, which are asked too, each under the time limit of a step and few at a
//! time. A node that does not answer is shown as such and ends nothing.

mod survey;
mod view;

use crate::base::clock::Clock;
use crate::cli::cluster::survey::{NodeSeen, Survey};
use crate::cli::link::{Link, Target};
use std::thread;
use std::time::Duration;

/// Pause between two looks at a cluster that is waited for.
const LOOK_PAUSE: Duration = Duration::from_millis(200);

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Task {
    /// Show the cluster.
    Status {
        /// For programs.
        json: bool,
    },
    /// Have a node give its slots away and leave.
    Drain {
        /// Its id, the beginning of it, or its address.
        node: String,
    },
    /// Wait until the cluster serves with at least so many nodes, each with its share of slots.
    Wait {
        /// Nodes.
        size: usize,
        /// How long.
        limit: Duration,
    },
}

/// A task and the node that is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// How to reach the node.
    pub target: Target,
    /// What is to be done.
    pub task: Task,
}

impl Call {
    /// Does it; what to print on success, or one line that says what is wrong.
    pub fn run(&self) -> Result<String, String> {
        match &self.task {
            Task::Status { json: true } => Ok(view::json(&Survey::take(&self.target)?)),
            Task::Status { json: false } => Ok(view::text(&Survey::take(&self.target)?)),
            Task::Drain { node } => self.drain(node),
            Task::Wait { size, limit } => self.wait(*size, *limit),
        }
    }

    fn drain(&self, node: &str) -> Result<String, String> {
        let mut link = Link::open(&self.target)?;
        let nodes = survey::nodes(&link.ask_text(&["CLUSTER", "NODES"])?);
        let NodeSeen { id, address, .. } = chosen(&nodes, node)?;
        link.ask(&["CLUSTER", "DRAIN", id])?;
        Ok(format!(
            "{id} at {address} gives its slots away, then leaves; `larder cluster status` shows how far it is\n"
        ))
    }

    fn wait(&self, size: usize, limit: Duration) -> Result<String, String> {
        let clock = Clock::system();
        loop {
            let lacking = Survey::take(&self.target)
                .and_then(|survey| survey.lacks(size).map_or(Ok(survey.nodes.len()), Err));
            let why = match lacking {
                Ok(nodes) => return Ok(format!("{nodes} nodes serve all slots\n")),
                Err(why) => why,
            };
            if u128::from(clock.mono_ns()) >= limit.as_nanos() {
                return Err(format!("not within {} s: {why}", limit.as_secs()));
            }
            thread::sleep(LOOK_PAUSE);
        }
    }
}

/// The node that `name` means: an id, the beginning of one that no other has, or an address.
fn chosen<'a>(nodes: &'a [NodeSeen], name: &str) -> Result<&'a NodeSeen, String> {
    let fits = |node: &&NodeSeen| node.address == name || (!name.is_empty() && node.id.starts_with(name));
    let mut fitting = nodes.iter().filter(fits);
    match (fitting.next(), fitting.next()) {
        (Some(node), None) => Ok(node),
        (None, _) => {
            Err(format!("no node is called '{name}'; give its id, the beginning of it, or host:port"))
        }
        (Some(_), Some(_)) => Err(format!("several nodes' ids begin with '{name}'")),
    }
}

#[cfg(test)]
mod tests {
    use super::{chosen, survey};

    #[test]
    fn a_node_is_meant_by_id_beginning_or_address() {
        let nodes = survey::nodes(
            "aa11 10.0.0.1:7000@17000 myself,master - 0 0 1 connected 0-8191\n\
             aa22 10.0.0.2:7000@17000,two.example master - 0 0 1 connected 8192-16383\n",
        );
        let id_of = |name: &str| chosen(&nodes, name).map(|node| node.id.as_str());
        assert_eq!(id_of("aa22"), Ok("aa22"));
        assert_eq!(id_of("aa1"), Ok("aa11"));
        assert_eq!(id_of("10.0.0.2:7000"), Ok("aa22"));
        assert!(id_of("aa").is_err_and(|why| why.contains("several")));
        assert!(id_of("bb").is_err_and(|why| why.contains("no node")));
        assert!(id_of("").is_err());
    }
}
