//! The libraries that scripts find beside Lua's own: `cjson`, `cmsgpack`, `struct` and `bit`, as Redis has them.
//!
//! What decodes is a pure reader over bytes that hands out one item at a time and knows no Lua; what builds or walks
//! tables keeps its own stack. So no input drives the native stack, and nothing here calls back into the script: tables
//! are read and written raw. A call's output holds no more than the interpreter may hold ([`limit_output`]), its tables nest at most [`DEPTH_MAX`]
//! deep, and it returns at most [`RESULTS_MAX`] values; the memory of the interpreter's own values is the engine's to
//! limit.
//!
//! An error is an `mlua::Error::RuntimeError` whose text is Redis's, with the line of the script in front where Lua
//! would put it. What catches errors within a script has to hand out that text (see [`Args::bad`]).

mod args;
pub mod bit;
pub mod cjson;
pub mod cmsgpack;
mod number;
pub mod structs;

#[cfg(test)]
mod tests;

pub use args::Args;

use mlua::{Lua, Result};
use std::rc::Rc;

/// Most bytes that one call may produce: as many as a bulk string may have.
pub const OUTPUT_MAX_BYTES: usize = 512 * 1024 * 1024;
/// Most bytes that one call may produce in an interpreter.
struct OutputMax(usize);

/// Bounds what one call may produce to what the interpreter may hold, in bytes; at most [`OUTPUT_MAX_BYTES`].
pub fn limit_output(lua: &Lua, bytes: usize) {
    lua.set_app_data(OutputMax(bytes.min(OUTPUT_MAX_BYTES)));
}

/// What is called while a call takes long.
struct Watcher(Rc<Look>);

type Look = dyn Fn(&Lua) -> Result<()>;

/// Has `look` called every few thousand steps of what takes long by itself, since no hook interrupts it; an error ends it.
pub fn watch(lua: &Lua, look: impl Fn(&Lua) -> Result<()> + 'static) {
    lua.set_app_data(Watcher(Rc::new(look)));
}

/// How deep tables may nest, whatever a script sets: each level holds up to two references to values, of which the
/// interpreter has 8,000.
pub const DEPTH_MAX: usize = 3_000;
/// Most values that one call may return: each may hold a reference.
pub const RESULTS_MAX: usize = 7_000;
/// What a call says that would produce more than it may.
const TOO_LONG: &str = "not enough memory";
