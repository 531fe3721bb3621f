//! Who a node is: its id and which of its processes this is.
//!
//! With a data directory both outlive the process: the id is drawn once, the number of the process grows by one with
//! each start and is in the file before anybody is told. Without one, or when the file is gone, the node is a new one:
//! it must never vote under an id whose votes it has forgotten.

use std::path::Path;

use crate::base::rng::Rng;
use crate::cluster::id::NodeId;

use super::storage::Storage;

/// Opens the node's storage; [`Storage::identity`] says who it is. Blocks: for the start only.
///
/// # Errors
/// The directory is in use, cannot be written, or holds what is no sound state; the text says what to do.
pub fn open(dir: Option<&Path>, rng: &mut Rng) -> Result<Storage, String> {
    let fresh = NodeId::random(rng);
    match dir {
        Some(dir) => Storage::directory(dir, fresh),
        None => Ok(Storage::memory(fresh)),
    }
}
