//! The newest table that this node has heard of, from whichever side: its own vote, the leader's push, a peer that was
//! asked. Only a later table of the same cluster takes the place of the present one.

use std::sync::Arc;

use tokio::sync::watch;

use crate::cluster::table::Table;

/// The newest table; see the module.
#[derive(Debug)]
pub struct Tables {
    newest: watch::Sender<Arc<Table>>,
}

impl Default for Tables {
    fn default() -> Self {
        Self { newest: watch::Sender::new(Arc::default()) }
    }
}

impl Tables {
    /// The newest so far.
    pub fn newest(&self) -> Arc<Table> {
        Arc::clone(&self.newest.borrow())
    }

    /// Follows the newest.
    pub fn follow(&self) -> watch::Receiver<Arc<Table>> {
        self.newest.subscribe()
    }

    /// Takes a table if it is newer than all before; says whether it is. One of another cluster never is.
    pub fn offer(&self, table: Arc<Table>) -> bool {
        self.newest.send_if_modified(|newest| {
            let same = !newest.cluster.is_founded() || newest.cluster == table.cluster;
            let newer = same && table.cluster.is_founded() && table.stamp() > newest.stamp();
            if newer {
                *newest = table;
            }
            newer
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::Tables;
    use crate::cluster::id::ClusterId;
    use crate::cluster::table::{Change, Table};

    fn table(cluster: u128, version: u64) -> Arc<Table> {
        let mut table = Table::default();
        table
            .apply(&Change::Found { cluster: ClusterId(cluster), members: Vec::new() })
            .expect("the first change");
        table.version = version;
        Arc::new(table)
    }

    #[test]
    fn only_a_later_table_of_the_same_cluster_counts() {
        let tables = Tables::default();
        assert!(!tables.offer(Arc::default()), "no cluster");
        assert!(tables.offer(table(1, 5)));
        assert!(!tables.offer(table(1, 5)) && !tables.offer(table(1, 4)));
        assert!(!tables.offer(table(2, 9)), "another cluster");
        assert!(tables.offer(table(1, 6)));
        assert_eq!(tables.newest().version, 6);
    }
}
