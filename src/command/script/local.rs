//! A worker's own part of scripting: its interpreter, and what it has compiled. A script whose body was seen before costs
//! neither a SHA1 nor a lock.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use ahash::RandomState;

use crate::command::script::shebang::{self, Promises};
use crate::hub::Hub;
use crate::hub::scripts::{Digest, Script};
use crate::resp::error::Error;
use crate::resp::reply::Reply;
use crate::script::api::sha1_hex;
use crate::script::engine::{Compiled, Engine, Realm};
use crate::script::failure::Failure;

/// Compiled scripts that a worker keeps at most; beyond, it begins anew.
const COMPILED_MAX: usize = 2048;
/// Memory of an interpreter is told of when it has changed by so much, in bytes.
const TOLD_STEP_BYTES: i64 = 32 << 10;

/// A script that this worker has compiled.
pub struct Ready {
    /// The script.
    pub script: Arc<Script>,
    /// Its digest as text.
    pub name: Box<str>,
    /// What it says of itself.
    pub promises: Promises,
    /// Its code, on this worker's interpreter.
    pub code: Compiled,
}

/// See the module.
#[derive(Default)]
pub struct Local {
    engine: Option<Engine>,
    generation: u64,
    by_body: HashMap<u64, Rc<Ready>, RandomState>,
    by_digest: HashMap<Digest, Rc<Ready>, RandomState>,
    hasher: RandomState,
    told_bytes: i64,
    /// Where commands of scripts reply to; empty between runs.
    pub reply: Reply,
}

impl Local {
    /// The interpreter, made if there is none yet; compiled scripts of another generation are forgotten.
    ///
    /// # Errors
    /// There is no memory for it.
    pub fn engine(&mut self, hub: &Hub, limit_bytes: usize) -> Result<&mut Engine, Error> {
        let generation = hub.scripts.generation();
        let is_good =
            self.generation == generation && self.engine.as_ref().is_some_and(|one| !one.is_spoiled());
        if !is_good {
            self.forget(hub);
            self.generation = generation;
        }
        if self.engine.is_none() {
            let engine = Engine::new(Realm::Scripts, limit_bytes, |_, _| Ok(())).map_err(error_of)?;
            self.engine = Some(engine);
        }
        let Some(engine) = &mut self.engine else { return Err(Error::OutOfMemory) };
        engine.set_limit(limit_bytes);
        Ok(engine)
    }

    /// Drops the interpreter and all that was compiled on it.
    pub fn forget(&mut self, hub: &Hub) {
        self.by_body.clear();
        self.by_digest.clear();
        self.engine = None;
        hub.scripts.note_interpreter(-std::mem::take(&mut self.told_bytes));
    }

    /// The script of this body, compiled; it can be run by its digest from here on.
    ///
    /// # Errors
    /// It is no Lua, or its first line says something unknown.
    pub fn by_body(
        &mut self,
        hub: &Hub,
        body: &[u8],
        limit_bytes: usize,
        now_ns: u64,
    ) -> Result<Rc<Ready>, Error> {
        self.engine(hub, limit_bytes)?;
        let hash = self.hasher.hash_one(body);
        if let Some(ready) = self.by_body.get(&hash)
            && *ready.script.body == *body
            && !ready.script.is_gone()
        {
            ready.script.touch(now_ns);
            return Ok(Rc::clone(ready));
        }
        let script = Script::new(digest_of(body), body);
        let ready = self.compile(hub, Source::New(script), limit_bytes, now_ns)?;
        self.by_body.insert(hash, Rc::clone(&ready));
        Ok(ready)
    }

    /// The script of this digest, compiled.
    ///
    /// # Errors
    /// Nobody knows it.
    pub fn by_digest(
        &mut self,
        hub: &Hub,
        digest: &[u8],
        limit_bytes: usize,
        now_ns: u64,
    ) -> Result<Rc<Ready>, Error> {
        let digest: Digest = digest.try_into().map_err(|_| Error::NoScript)?;
        let digest = digest.map(|byte| byte.to_ascii_lowercase());
        self.engine(hub, limit_bytes)?;
        if let Some(ready) = self.by_digest.get(&digest)
            && !ready.script.is_gone()
        {
            ready.script.touch(now_ns);
            return Ok(Rc::clone(ready));
        }
        let script = hub.scripts.find(&digest).ok_or(Error::NoScript)?;
        script.touch(now_ns);
        self.compile(hub, Source::Known(script), limit_bytes, now_ns)
    }

    /// Takes a body in that is to stay; gives its digest.
    ///
    /// # Errors
    /// As [`Local::by_body`].
    pub fn load(&mut self, hub: &Hub, body: &[u8], limit_bytes: usize, now_ns: u64) -> Result<Digest, Error> {
        self.by_body(hub, body, limit_bytes, now_ns)?;
        let script = hub.scripts.insert(Script::new(digest_of(body), body), true, now_ns);
        Ok(script.digest)
    }

    fn compile(
        &mut self,
        hub: &Hub,
        source: Source,
        limit_bytes: usize,
        now_ns: u64,
    ) -> Result<Rc<Ready>, Error> {
        if self.by_digest.len() >= COMPILED_MAX || self.by_body.len() >= COMPILED_MAX {
            self.by_body.clear();
            self.by_digest.clear();
        }
        let body = match &source {
            Source::New(script) => &script.body,
            Source::Known(script) => &script.body,
        };
        let (promises, at) = shebang::read(body)?;
        let code = self
            .engine(hub, limit_bytes)?
            .compile(&body[at..])
            .map_err(|why| Error::err(format_args!("Error compiling script (new function): {why}")))?;
        let script = match source {
            Source::New(script) => hub.scripts.insert(script, false, now_ns),
            Source::Known(script) => script,
        };
        let name = Box::from(script.name());
        let ready = Rc::new(Ready { script, name, promises, code });
        self.by_digest.insert(ready.script.digest, Rc::clone(&ready));
        Ok(ready)
    }

    /// After a run: tells of the interpreter's memory.
    pub fn settle(&mut self, hub: &Hub) {
        let Some(engine) = &self.engine else { return };
        let change = engine.used_bytes() as i64 - self.told_bytes;
        if change.abs() >= TOLD_STEP_BYTES {
            self.told_bytes += change;
            hub.scripts.note_interpreter(change);
        }
    }
}

enum Source {
    New(Script),
    Known(Arc<Script>),
}

/// The digest of a body.
pub fn digest_of(body: &[u8]) -> Digest {
    let mut digest = [b'0'; 40];
    for (into, from) in digest.iter_mut().zip(sha1_hex(body).bytes()) {
        *into = from;
    }
    digest
}

/// A failure as an error that nobody has counted.
pub fn error_of(failure: Failure) -> Error {
    Error::Custom(String::from_utf8_lossy(&failure.line).into_owned())
}
