//! Messages from other voters: taken in by the core of their generation, or refused.

use std::sync::atomic::Ordering::Relaxed;

use super::Agreement;
use super::file::Kept;
use super::machine::snapshot;
use super::network::{Message, Reply, Request, read, write_reply};

impl Agreement {
    /// Handles a message from another node's [`super::Carrier`]; gives what is to be sent back. Whatever the bytes are,
    /// there is an answer.
    pub async fn handle(&self, body: &[u8]) -> Vec<u8> {
        let reply = match read(body) {
            Ok(message) => self.answer(message).await.unwrap_or_else(Reply::Refused),
            Err(error) => Reply::Refused(error),
        };
        write_reply(&reply)
    }

    async fn answer(&self, message: Message) -> Result<Reply, String> {
        if message.to != self.id() {
            return Err("a message for another node".to_owned());
        }
        if message.generation > self.generation() && message.request.is_leaders() {
            self.follow(message.generation).await?;
        }
        if message.generation != self.generation() {
            return Err(format!("a message of generation {}", message.generation));
        }
        let raft = self.raft();
        let is_leaders = message.request.is_leaders();
        let reply = match message.request {
            Request::Append(append) => self.scoped(raft.append_entries(append)).await.map(Reply::Append),
            Request::PreVote(vote) => self.scoped(raft.pre_vote(vote)).await.map(Reply::Vote),
            Request::Vote(vote) => self.scoped(raft.vote(vote)).await.map(Reply::Vote),
            Request::Snapshot { vote, meta, table } => {
                let kept = snapshot(Kept { meta, table: *table });
                let installed = self.scoped(raft.install_full_snapshot(vote, kept)).await;
                return self
                    .heard(is_leaders, installed.map(Reply::Snapshot).map_err(|error| error.to_string()));
            }
            Request::Transfer(transfer) => {
                let taken = self.scoped(raft.handle_transfer_leader(transfer)).await;
                return taken.map(Reply::Transfer).map_err(|error| error.to_string());
            }
        };
        self.heard(is_leaders, reply.map_err(|error| error.to_string()))
    }

    /// Notes that a leader spoke, unless this node knows of a later one.
    fn heard(&self, is_leaders: bool, reply: Result<Reply, String>) -> Result<Reply, String> {
        let is_late = matches!(
            &reply,
            Err(_) | Ok(Reply::Append(openraft::raft::AppendEntriesResponse::HigherVote(_)))
        );
        if is_leaders && !is_late {
            self.shared.heard.fetch_add(1, Relaxed);
        }
        reply
    }

    /// Joins a later generation, of which a leader has spoken: what this node voted in the earlier one is void.
    async fn follow(&self, generation: u32) -> Result<(), String> {
        let _replacing = self.shared.replacing.lock().await;
        if generation <= self.generation() {
            return Ok(());
        }
        self.replace(generation, None).await
    }
}
