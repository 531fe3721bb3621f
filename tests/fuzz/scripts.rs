//! Fuzz target: what scripts decode and encode: JSON, MessagePack and C's structures.
//!
//! The first byte says which. Whatever bytes follow, nothing panics, an interpreter with bounded memory goes on
//! afterwards, and what was decoded is encoded and decoded again with the same result.
#![no_main]

use larder::script::lib::{bit, cjson, cmsgpack, structs};
use libfuzzer_sys::fuzz_target;
use mlua::{Function, Lua, LuaString};

/// Memory that a script may take, in bytes.
const MEMORY_MAX_BYTES: usize = 64 << 20;

const SCRIPT: &str = r"
local function json(bytes)
    local ok, value = pcall(cjson.decode, bytes)
    if not ok then return end
    local ok, text = pcall(cjson.encode, value)
    if ok then assert(cjson.encode(cjson.decode(text)) == text or type(value) == 'table', 'another text') end
end
local function packed(bytes)
    local results = {pcall(cmsgpack.unpack, bytes)}
    if not results[1] then return end
    for at = 2, #results do
        -- What lies too deep is packed as nil, which is lost, or no key, when it is unpacked: from the second round on
        -- every value can be packed whole.
        local is_whole, value = pcall(cmsgpack.unpack, cmsgpack.pack(results[at]))
        if is_whole then
            local again = cmsgpack.pack(value)
            assert(#cmsgpack.pack(cmsgpack.unpack(again)) == #again, 'another length')
        end
    end
    local at, count = 0, 0
    while at ~= -1 and count < 100 do
        at = cmsgpack.unpack_one(bytes, at)
        count = count + 1
    end
end
local function structures(bytes)
    local format, data = string.sub(bytes, 1, 24), string.sub(bytes, 25)
    pcall(struct.size, format)
    local results = {pcall(struct.unpack, format, data)}
    if results[1] then pcall(struct.pack, format, unpack(results, 2)) end
    pcall(struct.pack, format, data, 1, data, 2.5, data, -3, data)
    pcall(bit.tohex, data, #format)
end
return function(kind, bytes)
    if kind == 0 then json(bytes) elseif kind == 1 then packed(bytes) else structures(bytes) end
end";

fn interpreter() -> (Lua, Function) {
    let lua = Lua::new();
    let globals = lua.globals();
    globals.raw_set("cjson", cjson::open(&lua).expect("memory")).expect("memory");
    globals.raw_set("cmsgpack", cmsgpack::open(&lua).expect("memory")).expect("memory");
    globals.raw_set("struct", structs::open(&lua).expect("memory")).expect("memory");
    globals.raw_set("bit", bit::open(&lua).expect("memory")).expect("memory");
    lua.set_memory_limit(MEMORY_MAX_BYTES).expect("an allocator of its own");
    let run = lua.load(SCRIPT).eval().expect("a function");
    (lua, run)
}

thread_local! {
    static INTERPRETER: (Lua, Function) = interpreter();
}

fuzz_target!(|input: &[u8]| {
    let Some((kind, bytes)) = input.split_first() else { return };
    INTERPRETER.with(|(lua, run)| {
        let text: LuaString = lua.create_string(bytes).expect("memory");
        if let Err(error) = run.call::<()>((kind % 3, text)) {
            panic!("{error}");
        }
    });
});
