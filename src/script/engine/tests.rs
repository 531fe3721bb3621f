//! Scripts on an engine without a server: results, errors, what the sandbox keeps out, bombs, and stops.

use crate::resp::args::{Args, OwnedArgs};
use crate::resp::reply::{Proto, Reply};
use crate::script::engine::{Engine, Realm, Run};
use crate::script::failure::Failure;
use crate::script::host::{Host, LogLevel, Stop};
use std::io::IoSlice;

/// Memory of the engines here.
const LIMIT_BYTES: usize = 16 << 20;

/// A host with few commands that says stop after some ticks.
#[derive(Default)]
struct Puppet {
    calls: Vec<Vec<Vec<u8>>>,
    logged: Vec<(LogLevel, Vec<u8>)>,
    ticks_left: Option<u32>,
    resp3: bool,
}

impl Host for Puppet {
    fn call(&mut self, args: Args<'_>, reply: &mut Vec<u8>) -> Result<(), Stop> {
        self.calls.push(args.iter().map(<[u8]>::to_vec).collect());
        match &args[0] {
            b"echo" => {
                let text = args.get(1).unwrap_or_default();
                reply.extend_from_slice(format!("${}\r\n", text.len()).as_bytes());
                reply.extend_from_slice(text);
                reply.extend_from_slice(b"\r\n");
            }
            b"raw" => reply.extend_from_slice(args.get(1).unwrap_or_default()),
            b"stop" => return Err(Stop { error: "ERR stopped".into() }),
            b"panic" => panic!("a callback panics"),
            _ => reply.extend_from_slice(b"-ERR no such thing\r\n"),
        }
        Ok(())
    }

    fn tick(&mut self) -> Result<(), Stop> {
        match &mut self.ticks_left {
            Some(0) => Err(Stop { error: "ERR killed".into() }),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn log(&mut self, level: LogLevel, message: &[u8]) {
        self.logged.push((level, message.to_vec()));
    }

    fn set_resp(&mut self, proto: Proto) {
        self.resp3 = proto == Proto::Resp3;
    }

    fn may_call(&mut self, args: Args<'_>) -> Option<bool> {
        (&args[0] == b"echo").then_some(true)
    }

    fn entropy(&mut self) -> u32 {
        7
    }
}

fn engine() -> Engine {
    Engine::new(Realm::Scripts, LIMIT_BYTES, |_, _| Ok(())).expect("memory for the libraries")
}

fn bytes(reply: &Reply) -> String {
    let mut slices = vec![IoSlice::new(&[]); 20_000];
    let filled = reply.slices(&mut slices);
    let bytes: Vec<u8> = slices[..filled].iter().flat_map(|slice| slice.to_vec()).collect();
    String::from_utf8_lossy(&bytes).replace("\r\n", "|")
}

fn run_on(engine: &mut Engine, host: &mut Puppet, source: &str, proto: Proto) -> Result<String, Failure> {
    let script = match engine.compile(source.as_bytes()) {
        Ok(script) => script,
        Err(error) => return Err(Failure::new(error)),
    };
    let (keys, argv) = (OwnedArgs::from_slices(&["k1", "k2"]), OwnedArgs::from_slices(&["a1"]));
    let run = Run { name: "sha", keys: keys.as_args(), argv: argv.as_args() };
    let returned = engine.run(host, &script, run)?;
    let mut reply = Reply::new(proto);
    returned.write(&mut reply);
    Ok(bytes(&reply))
}

/// The reply in RESP2, or the error after a `!`.
fn run(source: &str) -> String {
    match run_on(&mut engine(), &mut Puppet::default(), source, Proto::Resp2) {
        Ok(text) => text,
        Err(failure) => format!("!{}", String::from_utf8_lossy(&failure.line)),
    }
}

#[test]
fn values_become_replies() {
    let cases = [
        ("return 1", ":1|"),
        ("return 1.9", ":1|"),
        ("return 'x'", "$1|x|"),
        ("return true", ":1|"),
        ("return false", "$-1|"),
        ("return nil", "$-1|"),
        ("return {1,2,nil,4}", "*2|:1|:2|"),
        ("return {{1},{}}", "*2|*1|:1|*0|"),
        ("return {ok='fine'}", "+fine|"),
        ("return {err='BAD x'}", "-BAD x|"),
        ("return {ok='a\\r\\nb'}", "+a  b|"),
        ("return {map={a=1}}", "*2|$1|a|:1|"),
        ("return {set={a=true}}", "*1|$1|a|"),
        ("return {double=1.5}", "$3|1.5|"),
        ("return {big_number='12'}", "$2|12|"),
        ("return {verbatim_string={format='txt',string='x'}}", "$1|x|"),
        ("return 1e20", ":-9223372036854775808|"),
        ("return {KEYS[1],KEYS[2],ARGV[1],#KEYS}", "*4|$2|k1|$2|k2|$2|a1|:2|"),
        (
            "return print",
            "!ERR user_script:1: Script attempted to access nonexistent global variable 'print' script: sha, on @user_script:1.",
        ),
    ];
    for (source, reply) in cases {
        assert_eq!(run(source), reply, "{source}");
    }
}

#[test]
fn replies_of_commands_become_values() {
    let cases = [
        ("return redis.call('echo','hi')", "$2|hi|"),
        ("return type(redis.call('raw',':5\\r\\n'))", "$6|number|"),
        ("return tostring(redis.call('raw','$-1\\r\\n'))", "$5|false|"),
        ("return tostring(redis.call('raw','*-1\\r\\n'))", "$5|false|"),
        ("return redis.call('raw','+OK\\r\\n').ok", "$2|OK|"),
        ("return redis.call('raw','*2\\r\\n:1\\r\\n*1\\r\\n$1\\r\\nx\\r\\n')[2][1]", "$1|x|"),
        ("return redis.call('raw','%1\\r\\n+a\\r\\n:1\\r\\n').map ~= nil", ":1|"),
        ("return tostring(redis.call('raw','_\\r\\n'))", "$3|nil|"),
        ("return tostring(redis.call('raw','#t\\r\\n'))", "$4|true|"),
        ("return redis.call('raw',',1.5\\r\\n').double * 2", ":3|"),
        ("return redis.call('raw','(123\\r\\n').big_number", "$3|123|"),
        ("return redis.call('raw','=7\\r\\ntxt:abc\\r\\n').verbatim_string.string", "$3|abc|"),
        ("return redis.call('raw','|1\\r\\n+a\\r\\n+b\\r\\n:7\\r\\n')", ":7|"),
        ("return tostring(redis.call('raw','*9\\r\\n:1'))", "table"),
        ("return tostring(redis.call('raw',''))", "$3|nil|"),
    ];
    for (source, reply) in cases {
        let found = run(source);
        assert!(found == reply || (reply == "table" && found.contains("table: ")), "{source}: {found}");
    }
}

#[test]
fn errors_say_where() {
    let at = " script: sha, on @user_script:1.";
    let cases = [
        ("error('x')", "!ERR user_script:1: x"),
        ("error('x', 0)", "!ERR x"),
        ("error()", "!ERR nil"),
        ("error(5)", "!ERR user_script:1: 5"),
        ("error({err='MY x'})", "!MY x"),
        ("error({})", "!ERR unknown error"),
        ("return redis.call('foo')", "!ERR no such thing"),
        ("return redis.call()", "!ERR Please specify at least one argument for this redis lib call"),
        ("return redis.call({})", "!ERR Lua redis lib command arguments must be strings or integers"),
        ("return 1 + {}", "!ERR user_script:1: attempt to perform arithmetic on a table value"),
        ("KEYS = 1", "!ERR user_script:1: Attempt to modify a readonly table"),
        ("redis.call = 1", "!ERR user_script:1: Attempt to modify a readonly table"),
        ("getmetatable(_G).__index = 1", "!ERR user_script:1: Attempt to modify a readonly table"),
        ("getmetatable('').__index = 1", "!ERR user_script:1: Attempt to modify a readonly table"),
        ("setmetatable(_G, {})", "!ERR Attempt to modify a readonly table"),
        ("rawset(_G, 'a', 1)", "!ERR Attempt to modify a readonly table"),
        ("table.insert(string, 1)", "!ERR Attempt to modify a readonly table"),
        (
            "return setmetatable({}, 1)",
            "!ERR user_script:1: bad argument #2 to 'setmetatable' (nil or table expected)",
        ),
        ("local x = unpack({}, 1, 1e8)", "!ERR user_script:1: too many results to unpack"),
        ("local function f() return f() + 1 end return f()", "!ERR user_script:1: stack overflow"),
        ("redis.log(1)", "!ERR redis.log() requires two arguments or more."),
        ("redis.setresp(4)", "!ERR RESP version must be 2 or 3."),
        ("return redis.acl_check_cmd('foo')", "!ERR Invalid command passed to redis.acl_check_cmd()"),
    ];
    for (source, reply) in cases {
        assert_eq!(run(source), format!("{reply}{at}"), "{source}");
    }
}

#[test]
fn caught_errors_are_strings_or_tables() {
    let cases = [
        ("local _, e = pcall(redis.call, 'foo') return e", "$17|ERR no such thing|"),
        ("local _, e = pcall(error, {err='X'}) return e", "$1|X|"),
        ("local _, e = pcall(error, {err=1}) return e", ":1|"),
        ("local _, e = pcall(error, {x=1}) return e.x", ":1|"),
        ("return redis.pcall('foo')", "-ERR no such thing|"),
        ("return redis.pcall('foo').err", "$17|ERR no such thing|"),
        (
            "local _, e = xpcall(function() error('x') end, function(e) return 'h:' .. e end) return e",
            "$18|h:user_script:1: x|",
        ),
        (
            "local _, e = xpcall(function() redis.call('foo') end, function(e) return e.err end) return e",
            "$17|ERR no such thing|",
        ),
        (
            "local _, e = coroutine.resume(coroutine.create(function() redis.call('foo') end)) return e.err",
            "$17|ERR no such thing|",
        ),
        ("local f, e = loadstring('x x') return e", "$39|[string \"x x\"]:1: '=' expected near 'x'|"),
        ("local f, e = loadstring('\\27Lua') return f == nil", ":1|"),
        ("return loadstring('return 7')()", ":7|"),
        ("local n = 0 return load(function() n = n + 1 return ({'return ', '8'})[n] end)()", ":8|"),
        ("return redis.error_reply('x')", "-ERR x|"),
        ("return redis.error_reply('-MY x')", "-MY x|"),
        ("return redis.status_reply('x')", "+x|"),
        ("return redis.sha1hex('')", "$40|da39a3ee5e6b4b0d3255bfef95601890afd80709|"),
    ];
    for (source, reply) in cases {
        assert_eq!(run(source), reply, "{source}");
    }
}

#[test]
fn nothing_leads_out_of_the_sandbox() {
    for name in [
        "print", "dofile", "loadfile", "require", "package", "io", "debug", "newproxy", "module", "setfenv",
        "getfenv",
    ] {
        let reply = run(&format!("return {name}"));
        assert!(reply.contains("nonexistent global variable"), "{name}: {reply}");
    }
    assert_eq!(run("local n = {} for k in pairs(os) do n[#n+1] = k end return n"), "*1|$5|clock|");
    assert_eq!(run("return rawget(_G, 'redis') == redis"), ":1|");
    assert_eq!(run("for k, v in pairs(_G) do if k == 'redis' then return v == redis end end"), ":1|");
    assert_eq!(
        run("local f, s = pairs(string) s.x = 1"),
        "!ERR user_script:1: Attempt to modify a readonly table script: sha, on @user_script:1."
    );
    assert_eq!(run("return ('x'):rep(3)"), "$3|xxx|");
}

#[test]
fn nothing_passes_from_one_script_to_the_next() {
    let mut engine = engine();
    let mut host = Puppet::default();
    let mut run = |source: &str| match run_on(&mut engine, &mut host, source, Proto::Resp2) {
        Ok(text) => text,
        Err(failure) => String::from_utf8_lossy(&failure.line).into_owned(),
    };
    let tricks = [
        "leak = 1",
        "_G.leak = 1",
        "rawset(_G, 'leak', 1)",
        "string.leak = 1",
        "table.insert(_G, 1)",
        "getmetatable('').leak = 1",
        "getmetatable(_G).leak = 1",
        "local m = getmetatable(string) m.leak = 1",
        "pairs(_G)(_G).leak = 1",
        "math.randomseed(1)",
        "KEYS.leak = 1",
        "redis.setresp(3)",
        "collectgarbage('stop')",
        "for k, v in pairs(redis) do redis[k] = nil end",
        "setmetatable(redis, nil)",
        "coroutine.wrap(function() leak = 1 end)()",
    ];
    for trick in tricks {
        run(trick);
        assert_eq!(run("return {tostring(rawget(_G,'leak')), tostring(string.leak), #KEYS, tostring(KEYS.leak), type(redis.call), tostring(_G[1])}").replace(|_: char| false, ""), "ERR user_script:1: Script attempted to access nonexistent global variable '1' script: sha, on @user_script:1.", "{trick}");
        assert_eq!(
            run(
                "return {tostring(rawget(_G,'leak')), tostring(string.leak), #KEYS, tostring(KEYS.leak), type(redis.call), tostring(('').leak)}"
            ),
            "*6|$3|nil|$3|nil|:2|$3|nil|$8|function|$3|nil|",
            "{trick}"
        );
        assert_eq!(run("return false"), "$-1|", "{trick}");
    }
}

#[test]
fn bombs_end_in_errors() {
    let bombs = [
        "local t = {} while true do t[#t + 1] = ('x'):rep(1000) .. #t end",
        "return ('x'):rep(1e9)",
        "return ('x'):rep(1e10)",
        "local s = 'x' while true do s = s .. s end",
        "local t = {} for i = 1, 1e9 do t[i] = i end",
        "local function f() local ok = pcall(f) return ok end f() error('x')",
        "local function f() return f() + 1 end return f()",
        "local t = setmetatable({}, {__index = function(t, k) return t[k + 1] end}) return t[1]",
        "return loadstring(('('):rep(1e5))()",
        "return loadstring('return ' .. ('{'):rep(1e5))()",
        "local s = ('a'):rep(1e6) return table.concat({s, s, s, s, s, s, s, s, s, s, s, s, s, s, s, s, s, s})",
        "local co co = coroutine.wrap(function() return co() end) return co()",
        "local function f() return coroutine.wrap(f)() end return f()",
        "error(setmetatable({}, {__tostring = function() error('again') end}))",
        "return string.format('%99999d', 1)",
        "return table.insert({}, -2^31, 1)",
        "return (('x'):rep(1e5)):find(('.-'):rep(1e5) .. 'y')",
        "return (('a'):rep(1e5)):find(('a?'):rep(1e5) .. 'y')",
        "return (('x'):rep(1e6)):gsub('x', ('y'):rep(1000))",
    ];
    let mut engine = engine();
    for bomb in bombs {
        let mut host = Puppet { ticks_left: Some(3000), ..Puppet::default() };
        let outcome = run_on(&mut engine, &mut host, bomb, Proto::Resp2);
        assert!(outcome.is_err(), "{bomb}: {outcome:?}");
        if engine.is_spoiled() {
            engine = self::engine();
        }
        let after = run_on(&mut engine, &mut Puppet::default(), "return 5", Proto::Resp2);
        assert_eq!(after.as_deref(), Ok(":5|"), "after {bomb}");
    }
}

#[test]
fn tables_that_contain_themselves_end() {
    let reply = run("local t = {} t[1] = t return t");
    assert!(
        reply.starts_with("*1|*1|") && reply.ends_with("-ERR reached lua stack limit|"),
        "{}",
        reply.len()
    );
    let reply = run("local t = {} for i = 1, 64 do t = {t, t} end return t");
    assert_eq!(reply, "-ERR the script's reply is too large|");
}

#[test]
fn a_stop_cannot_be_caught() {
    let loops = [
        "while true do end",
        "while true do pcall(function() while true do end end) end",
        "repeat until false",
        "local function f() while true do pcall(f) end end f()",
        "while true do coroutine.resume(coroutine.create(function() while true do end end)) end",
        "while true do local ok = pcall(coroutine.wrap(function() while true do end end)) end",
        "while true do xpcall(function() while true do end end, function() while true do end end) end",
        "while true do coroutine.resume(coroutine.create(function() while true do coroutine.resume(coroutine.create(function() while true do end end)) end end)) end",
        "while true do pcall(redis.call, 'stop') end",
        "while true do redis.pcall('stop') end",
        "while true do pcall(redis.pcall, 'stop') pcall(redis.pcall, 'stop') end",
        "for i = 1, 1e12 do end",
        "local t = setmetatable({}, {__index = function() while true do end end}) while true do pcall(function() return t.x end) end",
        "while true do pcall(string.gsub, ('x'):rep(100), 'x', function() while true do end end) end",
        "table.sort({3, 2, 1}, function() while true do end end)",
        "load(function() while true do end end)",
        "return loadstring('while true do end')()",
        "goto_ = 1",
    ];
    let mut engine = engine();
    for source in loops {
        let mut host = Puppet { ticks_left: Some(3), ..Puppet::default() };
        let failure = run_on(&mut engine, &mut host, source, Proto::Resp2).expect_err(source);
        assert_eq!(failure.stopped, !source.starts_with("goto_"), "{source}: {failure:?}");
        let line = String::from_utf8_lossy(&failure.line).into_owned();
        assert!(!failure.stopped || is_stop(&line), "{line}");
        let after = run_on(&mut engine, &mut Puppet::default(), "return 5", Proto::Resp2);
        assert_eq!(after.as_deref(), Ok(":5|"), "after {source}");
    }
}

fn is_stop(line: &str) -> bool {
    ["ERR killed", "ERR stopped", "ERR the script's calls"].iter().any(|start| line.starts_with(start))
}

#[test]
fn a_panic_in_a_callback_costs_the_engine_only() {
    let mut engine = engine();
    let source = "pcall(redis.call, 'panic') return 1";
    let failure = run_on(&mut engine, &mut Puppet::default(), source, Proto::Resp2).expect_err("it panics");
    assert!(String::from_utf8_lossy(&failure.line).contains("internal error"));
    assert!(engine.is_spoiled());
}

#[test]
fn settings_reach_the_host() {
    let mut host = Puppet::default();
    let source = "redis.setresp(3) redis.log(redis.LOG_WARNING, 'a', 1, {}, 'b') redis.call('echo', 1.5, 10) return true";
    let reply = run_on(&mut engine(), &mut host, source, Proto::Resp3).expect("no error");
    assert_eq!(reply, "#t|");
    assert!(host.resp3);
    assert_eq!(host.logged, [(LogLevel::Warning, b"a 1 b".to_vec())]);
    assert_eq!(host.calls, [[b"echo".to_vec(), b"1.5".to_vec(), b"10".to_vec()]]);
}

#[test]
fn random_numbers_follow_their_seed() {
    let seeded = "math.randomseed(1) return {tostring(math.random()), math.random(10), math.random(5, 8)}";
    assert_eq!(run(seeded), "*3|$17|0.041630344484761|:5|:8|");
    assert_eq!(
        run("return math.random(2, 1)"),
        "!ERR user_script:1: bad argument #2 to 'random' (interval is empty) script: sha, on @user_script:1."
    );
}

#[test]
fn parameters_can_be_returned_and_do_not_last() {
    let mut engine = engine();
    let mut reply = |source| run_on(&mut engine, &mut Puppet::default(), source, Proto::Resp2);
    assert_eq!(reply("return {KEYS, ARGV}"), Ok("*2|*2|$2|k1|$2|k2|*1|$2|a1|".to_owned()));
    assert_eq!(reply("KEYS[3] = 'x' KEYS.a = 'b' return KEYS"), Ok("*3|$2|k1|$2|k2|$1|x|".to_owned()));
    assert_eq!(reply("return {#KEYS, KEYS.a or 'none'}"), Ok("*2|:2|$4|none|".to_owned()));
}

#[test]
fn parameters_that_a_script_does_not_name_are_found_by_other_ways() {
    let mut engine = engine();
    let mut reply = |source| run_on(&mut engine, &mut Puppet::default(), source, Proto::Resp2);
    let both = Ok("*2|$2|k1|$2|a1|".to_owned());
    assert_eq!(reply("ARGV[1] = 'left' ARGV[2] = 'over' KEYS[1] = 'left' return 1"), Ok(":1|".to_owned()));
    // This one sees neither, so that both are left as they are; what comes next must not tell.
    assert_eq!(reply("return 2"), Ok(":2|".to_owned()));
    assert_eq!(reply("return {_G['KE' .. 'YS'][1], _G['AR' .. 'GV'][1]}"), both);
    assert_eq!(reply("ARGV[1] = 'left' return KEYS[1]"), Ok("$2|k1|".to_owned()));
    assert_eq!(reply("return {KEYS[1], loadstring('return AR' .. 'GV[1]')()}"), both);
    assert_eq!(
        reply("setmetatable(ARGV, {__index = function() return 'left' end}) return 1"),
        Ok(":1|".to_owned())
    );
    assert_eq!(reply("return KEYS[1]"), Ok("$2|k1|".to_owned()));
    assert_eq!(reply("return {ARGV[1], tostring(ARGV[2]), #ARGV}"), Ok("*3|$2|a1|$3|nil|:1|".to_owned()));
}
