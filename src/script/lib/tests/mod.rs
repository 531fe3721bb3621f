//! The libraries in an interpreter of their own.
//!
//! The tables of expressions and results were made by redis-server 7.0.15: the types and texts of all results, bytes that
//! do not print as `\x..`, or `!` and the error.

mod bit;
mod cjson;
mod cmsgpack;
mod structs;

use mlua::{Error, Lua, Value};
use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop, prop_oneof};
use proptest::{prop_assert_eq, proptest};

/// The expression's results as the tables have them.
const SHOW: &str = r"
local function show(...)
    local texts = {}
    for i = 1, select('#', ...) do
        local value = select(i, ...)
        texts[i] = type(value) .. '=' .. string.gsub(tostring(value), '.', function(c)
            local byte = string.byte(c)
            if byte < 32 or byte > 126 or byte == 92 then return string.format('\\x%02x', byte) end
        end)
    end
    return table.concat(texts, ';')
end";

fn interpreter() -> Lua {
    /// Far beyond what any test needs.
    const MEMORY_MAX_BYTES: usize = 256 << 20;
    let lua = Lua::new();
    let globals = lua.globals();
    globals.raw_set("cjson", super::cjson::open(&lua).unwrap()).unwrap();
    globals.raw_set("cmsgpack", super::cmsgpack::open(&lua).unwrap()).unwrap();
    globals.raw_set("struct", super::structs::open(&lua).unwrap()).unwrap();
    globals.raw_set("bit", super::bit::open(&lua).unwrap()).unwrap();
    let redis = lua.create_table_from([("call", lua.create_function(|_, ()| Ok(())).unwrap())]).unwrap();
    globals.raw_set("redis", redis).unwrap();
    lua.set_memory_limit(MEMORY_MAX_BYTES).unwrap();
    lua
}

/// What the function that failed says.
fn text_of(error: &Error) -> String {
    match error {
        Error::CallbackError { cause, .. } => text_of(cause),
        Error::RuntimeError(text) => text.clone(),
        other => other.to_string(),
    }
}

#[track_caller]
fn assert_results(rows: &[(&str, &str)]) {
    let lua = interpreter();
    let mut wrong = Vec::new();
    for (expression, expected) in rows {
        let script = format!("{} return show({expression})", SHOW.replace('\n', " "));
        super::cjson::root(&lua).expect("it was opened").reset();
        let found = match lua.load(script).set_name("=user_script").eval::<String>() {
            Ok(text) => text,
            Err(error) => format!("!{}", text_of(&error)),
        };
        if found != *expected {
            wrong.push(format!("{expression}\n  found    {found}\n  expected {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
}

#[test]
fn settings_last_until_they_are_reset() {
    let lua = interpreter();
    let depth = || lua.load("return cjson.encode_max_depth()").eval::<i64>().unwrap();
    lua.load("cjson.encode_max_depth(7) cjson.new().encode_max_depth(9)").exec().unwrap();
    assert_eq!(depth(), 7);
    super::cjson::root(&lua).expect("it was opened").reset();
    assert_eq!(depth(), 1000);
}

#[test]
fn depth_is_limited_whatever_a_script_sets() {
    let lua = interpreter();
    for (script, expected) in [
        (
            "cjson.decode_max_depth(2000000000) return cjson.decode(string.rep('[', 100000))",
            "Found too many nested data structures (3001) at character 3001",
        ),
        (
            "cjson.decode_max_depth(2000000000) return cjson.decode(string.rep('{\"a\":', 100000))",
            "Found too many nested data structures (3001) at character 15001",
        ),
        (
            "cjson.encode_max_depth(2000000000) local t = {} t[1] = t return cjson.encode(t)",
            "Cannot serialise, excessive nesting (3001)",
        ),
        (
            "cjson.encode_max_depth(2000000000) local t = {} t.a = t return cjson.encode(t)",
            "Cannot serialise, excessive nesting (3001)",
        ),
        ("cmsgpack.unpack(string.rep('\\145', 100000))", super::cmsgpack::TOO_DEEP),
        ("cmsgpack.unpack(string.rep('\\129', 100000))", super::cmsgpack::TOO_DEEP),
        ("cmsgpack.unpack(string.rep('\\161a', 100000))", super::cmsgpack::TOO_MANY),
        (
            "struct.unpack(string.rep('c1', 100000), string.rep('a', 100000))",
            "stack overflow (too many results)",
        ),
    ] {
        let error = lua.load(script).set_name("=user_script").exec().unwrap_err();
        assert_eq!(text_of(&error), format!("user_script:1: {expected}"), "{script}");
    }
    // All that was held is given back: the deepest that is allowed still passes.
    let script = "cjson.decode_max_depth(3000) cjson.encode_max_depth(3000)
        local text = string.rep('{\"a\":', 2999) .. '[]' .. string.rep('}', 2999)
        return cjson.encode(cjson.decode(text)) == string.gsub(text, '%[%]', '{}')";
    assert!(lua.load(script).eval::<bool>().unwrap());
}

#[test]
fn output_is_limited() {
    let lua = interpreter();
    super::limit_output(&lua, 1 << 20);
    let script = "local part = string.rep('a', 1024) local t = {} for i = 1, 1100 do t[i] = part end ";
    for expression in [
        "cjson.encode(t)",
        "cjson.encode({a = t, b = {a = t}})",
        "cmsgpack.pack(t)",
        "cmsgpack.pack({a = t})",
        "cmsgpack.pack(unpack(t))",
        "struct.pack(string.rep('c0', 1100), unpack(t))",
        "(function() cjson.encode_sparse_array(false, 0) return cjson.encode({[2147483647] = 1}) end)()",
    ] {
        let error =
            lua.load(format!("{script} return {expression}")).set_name("=user_script").exec().unwrap_err();
        assert_eq!(text_of(&error), "user_script:1: not enough memory", "{expression}");
    }
}

#[test]
fn what_takes_long_is_watched_and_can_be_ended() {
    let lua = interpreter();
    super::watch(&lua, |_| Err(Error::runtime("ended")));
    let many = "local t = {} for i = 1, 5000 do t[i] = {} end ";
    for expression in [
        "cjson.encode(t)",
        "cjson.encode({a = t})",
        "cjson.decode('[' .. string.rep('[],', 5000) .. '1]')",
        "cmsgpack.pack(t)",
        "cmsgpack.pack({a = t})",
        "cmsgpack.unpack(string.rep('\\144', 5000))",
        "struct.pack(string.rep('x', 5000))",
        "struct.unpack(string.rep('x', 5000), string.rep('x', 5000))",
        "struct.size(string.rep('x', 5000))",
    ] {
        let error = lua.load(format!("{many} return {expression}")).exec().unwrap_err();
        assert_eq!(text_of(&error), "ended", "{expression}");
    }
}

/// A value that both libraries give back as it was.
#[derive(Clone, Debug, PartialEq)]
enum Tree {
    Boolean(bool),
    Number(i32),
    Text(Vec<u8>),
    Array(Vec<Tree>),
    Object(Vec<(Vec<u8>, Tree)>),
}

fn trees() -> impl Strategy<Value = Tree> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Tree::Boolean),
        any::<i32>().prop_map(Tree::Number),
        prop::collection::vec(any::<u8>(), 0..40).prop_map(Tree::Text),
        Just(Tree::Array(Vec::new())),
    ];
    leaf.prop_recursive(5, 60, 8, |inner| {
        let pair = (prop::collection::vec(any::<u8>(), 0..6), inner.clone());
        prop_oneof![
            prop::collection::vec(inner, 1..20).prop_map(Tree::Array),
            prop::collection::vec(pair, 1..20).prop_map(Tree::Object),
        ]
    })
}

fn to_lua(lua: &Lua, tree: &Tree) -> Value {
    let table = lua.create_table().unwrap();
    match tree {
        Tree::Boolean(is_true) => return Value::Boolean(*is_true),
        Tree::Number(number) => return Value::Integer(i64::from(*number)),
        Tree::Text(text) => return Value::String(lua.create_string(text).unwrap()),
        Tree::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                table.raw_set(index + 1, to_lua(lua, item)).unwrap();
            }
        }
        Tree::Object(pairs) => {
            for (key, item) in pairs {
                table.raw_set(lua.create_string(key).unwrap(), to_lua(lua, item)).unwrap();
            }
        }
    }
    Value::Table(table)
}

const SAME: &str = "local a, b = ...
    local function same(a, b)
        if type(a) ~= 'table' or type(b) ~= 'table' then return a == b end
        for key, value in pairs(a) do if not same(value, b[key]) then return false end end
        for key in pairs(b) do if a[key] == nil then return false end end
        return true
    end
    return same(a, cjson.decode(cjson.encode(a))) and same(a, cmsgpack.unpack(cmsgpack.pack(a)))";

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_written_is_read_back(tree in trees()) {
        let lua = interpreter();
        let value = to_lua(&lua, &tree);
        prop_assert_eq!(lua.load(SAME).call::<bool>(value).map_err(|error| text_of(&error)), Ok(true));
    }

    #[test]
    fn any_bytes_are_answered(bytes: Vec<u8>, format: Vec<u8>) {
        let lua = interpreter();
        let script = "local bytes, format = ...
            pcall(cjson.decode, bytes)
            pcall(cmsgpack.unpack, bytes)
            pcall(struct.unpack, format, bytes)
            pcall(struct.size, format)
            return pcall(struct.pack, format, 1, 2, bytes, 4, bytes)";
        let arguments = (lua.create_string(bytes).unwrap(), lua.create_string(format).unwrap());
        prop_assert_eq!(lua.load(script).call::<Value>(arguments).is_ok(), true);
    }
}
