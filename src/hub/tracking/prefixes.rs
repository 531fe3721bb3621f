//! The prefixes that clients in broadcasting mode want to hear of, and which of them a key begins with.
//!
//! Prefixes are kept in order. Those of a key are found from the longest to the shortest, each by one look into that
//! order: at most as many as the key has bytes, however many prefixes there are.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use crate::hub::clients::Client;

/// The prefixes and who wants them.
#[derive(Debug, Default)]
pub struct Prefixes {
    by_prefix: BTreeMap<Box<[u8]>, Vec<Arc<Client>>>,
}

impl Prefixes {
    /// Number of different prefixes.
    pub fn len(&self) -> usize {
        self.by_prefix.len()
    }

    /// Has a client hear of a prefix; false if it did already.
    pub fn add(&mut self, prefix: &[u8], client: &Arc<Client>) -> bool {
        let clients = self.by_prefix.entry(prefix.into()).or_default();
        let place = clients.binary_search_by_key(&client.id, |known| known.id);
        if let Err(place) = place {
            clients.insert(place, Arc::clone(client));
        }
        place.is_err()
    }

    /// Has a client hear of a prefix no longer.
    pub fn remove(&mut self, prefix: &[u8], client: &Client) {
        if let Some(clients) = self.by_prefix.get_mut(prefix) {
            clients.retain(|known| known.id != client.id);
            if clients.is_empty() {
                self.by_prefix.remove(prefix);
            }
        }
    }

    /// Who wants a prefix, ascending by id.
    pub fn clients(&self, prefix: &[u8]) -> &[Arc<Client>] {
        self.by_prefix.get(prefix).map_or(&[], |clients| clients)
    }

    /// Calls `visit` with every prefix that the key begins with, the longest first.
    pub fn each_of<'a>(&'a self, key: &[u8], mut visit: impl FnMut(&'a [u8])) {
        // Every prefix that is still to be found is one of `left`.
        let mut left = key;
        loop {
            let up_to = (Bound::Unbounded, Bound::Included(left));
            let Some((prefix, _)) = self.by_prefix.range::<[u8], _>(up_to).next_back() else { return };
            let common = prefix.iter().zip(left).take_while(|(one, other)| one == other).count();
            if common == prefix.len() {
                visit(prefix);
                let Some(shorter) = common.checked_sub(1) else { return };
                left = &left[..shorter];
            } else {
                // What comes before `left` and is no prefix of it shares so many bytes with it; so does all between.
                left = &left[..common];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Prefixes;
    use crate::base::rng::Rng;
    use crate::hub::clients::Client;

    fn found(prefixes: &Prefixes, key: &[u8]) -> Vec<Vec<u8>> {
        let mut found = Vec::new();
        prefixes.each_of(key, |prefix| found.push(prefix.to_vec()));
        found
    }

    #[test]
    fn all_prefixes_of_a_key_are_found_and_no_others() {
        let (mut prefixes, client) = (Prefixes::default(), Client::detached(0));
        let mut rng = Rng::seeded(7);
        let mut word = |longest: u64| -> Vec<u8> {
            let length = rng.below(longest);
            (0..length).map(|_| b"\0ab\xff"[rng.below(4) as usize]).collect()
        };
        let mut all: Vec<Vec<u8>> = (0..300).map(|_| word(7)).collect();
        all.sort();
        all.dedup();
        for prefix in &all {
            assert!(prefixes.add(prefix, &client) && !prefixes.add(prefix, &client));
        }
        for round in 0..2 {
            for _ in 0..2_000 {
                let key = word(10);
                let mut wanted: Vec<Vec<u8>> =
                    all.iter().filter(|prefix| key.starts_with(prefix)).cloned().collect();
                wanted.sort_by_key(|prefix| std::cmp::Reverse(prefix.len()));
                assert_eq!(found(&prefixes, &key), wanted, "{}", key.escape_ascii());
            }
            if round == 0 {
                for prefix in all.split_off(all.len() / 3) {
                    prefixes.remove(&prefix, &client);
                }
                assert_eq!(prefixes.len(), all.len());
            }
        }
    }

    #[test]
    fn a_prefix_goes_with_its_last_client() {
        let clients = crate::hub::clients::Clients::new();
        let new = || crate::hub::clients::NewClient {
            peer: String::new(),
            local: String::new(),
            unix: false,
            worker: 0,
            descriptor: 0,
            now_ms: 0,
        };
        let (one, two) =
            (clients.register(new(), 9).expect("room"), clients.register(new(), 9).expect("room"));
        let mut prefixes = Prefixes::default();
        assert!(prefixes.add(b"p", &two) && prefixes.add(b"p", &one));
        assert_eq!(
            prefixes.clients(b"p").iter().map(|client| client.id).collect::<Vec<_>>(),
            [one.id, two.id]
        );
        prefixes.remove(b"p", &one);
        assert_eq!(found(&prefixes, b"pq"), [b"p"]);
        prefixes.remove(b"p", &two);
        assert!(
            prefixes.len() == 0 && found(&prefixes, b"pq").is_empty() && prefixes.clients(b"p").is_empty()
        );
    }
}
