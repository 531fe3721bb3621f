//! Client-side caching: what is tracked, who is told of what, when, and in which words. Replies and notices are those of
//! redis-server, but where it would leave a client with what is stale.

use crate::support::client::Client;
use crate::support::frame::Frame;
use crate::support::server::Server;
use std::collections::HashMap;
use std::thread;
use std::time::{Duration, Instant};

/// Longest wait for anything that must happen.
const LIMIT: Duration = Duration::from_secs(30);

/// A RESP3 client that tracks, with what stands behind `CLIENT TRACKING ON`.
#[track_caller]
pub fn tracking(server: &Server, options: &str) -> Client {
    let mut client = server.connect().hello3();
    client.check(&format!("CLIENT TRACKING ON {options}"), "OK");
    client
}

/// The notices that have come.
#[track_caller]
fn notices(client: &mut Client) -> Vec<String> {
    client.check("PING", "PONG");
    client.pushes.drain(..).map(|push| push.to_string()).collect()
}

/// Waits for the next notices.
#[track_caller]
fn await_notices(client: &mut Client) -> Vec<String> {
    let began = Instant::now();
    loop {
        let notices = notices(client);
        if !notices.is_empty() {
            return notices;
        }
        assert!(began.elapsed() < LIMIT, "no notice");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until the server's clock is past a time in Unix ms.
#[track_caller]
fn await_time(client: &mut Client, time_ms: i64) {
    let began = Instant::now();
    loop {
        let now: Vec<i64> =
            client.line("TIME").items().iter().map(|part| part.text().parse().expect("a number")).collect();
        if now[0] * 1_000 + now[1] / 1_000 > time_ms {
            return;
        }
        assert!(began.elapsed() < LIMIT, "time stands still");
    }
}

fn notice(keys: &[&str]) -> String {
    let keys: Vec<String> = keys.iter().map(|key| format!("\"{key}\"")).collect();
    format!(">[\"invalidate\", [{}]]", keys.join(", "))
}

fn everything() -> String {
    ">[\"invalidate\", nil]".to_owned()
}

fn info(client: &mut Client, field: &str) -> u64 {
    let text = client.line("INFO everything").text();
    let value = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    value.and_then(|value| value.trim().parse().ok()).unwrap_or_else(|| panic!("no {field}"))
}

#[test]
fn options_are_checked_in_redis_s_order() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    client.check_all(
        r#"
        CLIENT TRACKING                                 => -ERR wrong number of arguments for 'client|tracking' command
        CLIENT TRACKING maybe                           => -ERR syntax error
        CLIENT TRACKING maybe BCAST OPTIN               => -ERR syntax error
        CLIENT TRACKING on foo                          => -ERR syntax error
        CLIENT TRACKING on REDIRECT                     => -ERR syntax error
        CLIENT TRACKING on PREFIX                       => -ERR syntax error
        CLIENT TRACKING on REDIRECT x                   => -ERR value is not an integer or out of range
        CLIENT TRACKING on REDIRECT 0                   => -ERR The client ID you want redirect to does not exist
        CLIENT TRACKING on REDIRECT -5                  => -ERR The client ID you want redirect to does not exist
        CLIENT TRACKING off REDIRECT 99999              => -ERR The client ID you want redirect to does not exist
        CLIENT TRACKING on REDIRECT 99999 foo           => -ERR The client ID you want redirect to does not exist
        CLIENT TRACKING on PREFIX a                     => -ERR PREFIX option requires BCAST mode to be enabled
        CLIENT TRACKING off PREFIX a                    => OK
        CLIENT TRACKING on BCAST OPTIN                  => -ERR OPTIN and OPTOUT are not compatible with BCAST
        CLIENT TRACKING on BCAST OPTIN OPTOUT           => -ERR OPTIN and OPTOUT are not compatible with BCAST
        CLIENT TRACKING on OPTIN OPTOUT                 => -ERR You can't specify both OPTIN mode and OPTOUT mode
        CLIENT TRACKING on BCAST PREFIX a PREFIX a      => -ERR Prefix 'a' overlaps with another provided prefix 'a'. Prefixes for a single client must not overlap.
        CLIENT TRACKING on BCAST PREFIX a PREFIX ab     => -ERR Prefix 'a' overlaps with another provided prefix 'ab'. Prefixes for a single client must not overlap.
        CLIENT TRACKING on BCAST PREFIX b PREFIX a PREFIX ab => -ERR Prefix 'a' overlaps with another provided prefix 'ab'. Prefixes for a single client must not overlap.
        CLIENT CACHING yes                              => -ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled
        CLIENT CACHING maybe                            => -ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled
        CLIENT CACHING                                  => -ERR wrong number of arguments for 'client|caching' command
        CLIENT GETREDIR                                 => -1
        CLIENT GETREDIR x                               => -ERR wrong number of arguments for 'client|getredir' command
        CLIENT TRACKINGINFO                             => ["flags", ["off"], "redirect", -1, "prefixes", []]
        CLIENT TRACKING on BCAST PREFIX b PREFIX a      => OK
        CLIENT TRACKING on BCAST PREFIX abc             => -ERR Prefix 'abc' overlaps with an existing prefix 'a'. Prefixes for a single client must not overlap.
        CLIENT TRACKING on BCAST PREFIX c NOLOOP        => OK
        CLIENT TRACKINGINFO                             => ["flags", ["on", "bcast", "noloop"], "redirect", 0, "prefixes", ["a", "b", "c"]]
        CLIENT TRACKING on                              => -ERR You can't switch BCAST mode on/off before disabling tracking for this client, and then re-enabling it with a different mode.
        CLIENT TRACKING on BCAST                        => OK
        CLIENT TRACKING on BCAST PREFIX a               => -ERR Prefix 'a' overlaps with an existing prefix ''. Prefixes for a single client must not overlap.
        CLIENT CACHING yes                              => -ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode.
        CLIENT CACHING no                               => -ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.
        CLIENT CACHING maybe                            => -ERR syntax error
        CLIENT TRACKING off                             => OK
        CLIENT TRACKING on OPTIN                        => OK
        CLIENT TRACKING on OPTOUT                       => -ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, and then re-enabling it with a different mode.
        CLIENT TRACKING on BCAST                        => -ERR You can't switch BCAST mode on/off before disabling tracking for this client, and then re-enabling it with a different mode.
        CLIENT TRACKING on                              => OK
        CLIENT TRACKING on OPTOUT                       => OK
        "#,
    );
    let id = client.line("CLIENT ID").integer();
    let twice = format!("CLIENT TRACKING on REDIRECT {id} REDIRECT x");
    client.check(&twice, "-ERR A client can only redirect to a single other client");
}

#[test]
fn what_was_chosen_is_shown() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    client.check_all(
        r#"
        CLIENT TRACKING on OPTIN NOLOOP => OK
        CLIENT CACHING yes              => OK
        CLIENT TRACKINGINFO             => ["flags", ["on", "optin", "caching-yes", "noloop"], "redirect", 0, "prefixes", []]
        CLIENT TRACKINGINFO             => ["flags", ["on", "optin", "caching-yes", "noloop"], "redirect", 0, "prefixes", []]
        MULTI                           => OK
        CLIENT TRACKINGINFO             => QUEUED
        PING                            => QUEUED
        EXEC                            => [["flags", ["on", "optin", "caching-yes", "noloop"], "redirect", 0, "prefixes", []], PONG]
        CLIENT TRACKINGINFO             => ["flags", ["on", "optin", "noloop"], "redirect", 0, "prefixes", []]
        CLIENT TRACKING off             => OK
        CLIENT TRACKING on OPTOUT       => OK
        CLIENT CACHING yes              => -ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode.
        CLIENT CACHING no               => OK
        CLIENT TRACKINGINFO             => ["flags", ["on", "optout", "caching-no"], "redirect", 0, "prefixes", []]
        nonsense                        => -ERR unknown command 'nonsense', with args beginning with: 
        CLIENT TRACKINGINFO             => ["flags", ["on", "optout"], "redirect", 0, "prefixes", []]
        CLIENT GETREDIR                 => 0
        "#,
    );
    let line = client.line("CLIENT INFO").text();
    assert!(line.contains(" flags=t ") && line.contains(" redir=0 "), "{line}");
    client.check("RESET", "RESET");
    client.check("CLIENT TRACKINGINFO", r#"["flags", ["off"], "redirect", -1, "prefixes", []]"#);
    client.check("CLIENT TRACKING ON BCAST", "OK");
    let line = client.line("CLIENT LIST").text();
    assert!(line.contains(" flags=tB "), "{line}");
    assert_eq!((info(&mut client, "tracking_clients"), info(&mut client, "tracking_total_prefixes")), (1, 1));
    client.check("CLIENT TRACKING OFF", "OK");
    let line = client.line("CLIENT LIST").text();
    assert!(line.contains(" flags=N ") && line.contains(" redir=-1 "), "{line}");
    assert_eq!((info(&mut client, "tracking_clients"), info(&mut client, "tracking_total_prefixes")), (0, 0));
}

#[test]
fn a_key_that_was_read_is_told_of_once() {
    let server = Server::start(&[]);
    let (mut client, mut other) = (tracking(&server, ""), server.connect());
    client.check("MGET a b c", "[nil, nil, nil]");
    client.check("GET k", "nil");
    other.check_all(
        r#"
        SET unread 1        => OK
        SET k 1             => OK
        SET k 2             => OK
        MSET a 1 b 2 c 3    => OK
        "#,
    );
    assert_eq!(notices(&mut client), [notice(&["k"]), notice(&["a"]), notice(&["b"]), notice(&["c"])]);
    // A key is known by its name alone, and an error is an answer, too.
    client.check("GET k", "\"2\"");
    other.check("SELECT 1", "OK");
    other.check("LPUSH k 1", "1");
    client.check("SELECT 1", "OK");
    assert_eq!(notices(&mut client), [notice(&["k"])]);
    assert!(client.line("GET k").is_error());
    other.check("LPUSH k 1", "2");
    assert_eq!(notices(&mut client), [notice(&["k"])]);
    // What was read before stays tracked when tracking was off in between.
    client.check("LLEN k", "2");
    client.check("CLIENT TRACKING OFF", "OK");
    client.check("CLIENT TRACKING ON", "OK");
    other.check("LPUSH k 1", "3");
    assert_eq!(notices(&mut client), [notice(&["k"])]);
    client.check("LLEN k", "3");
    client.check("CLIENT TRACKING OFF", "OK");
    client.check("CLIENT TRACKING ON BCAST PREFIX z", "OK");
    other.check("LPUSH k 1", "4");
    assert!(notices(&mut client).is_empty(), "it broadcasts now");
}

#[test]
fn own_notices_stand_behind_the_reply() {
    let server = Server::start(&[]);
    let mut client = tracking(&server, "");
    let frames = |client: &mut Client, lines: &[&str], count: usize| -> Vec<String> {
        lines.iter().for_each(|line| client.send_line(line));
        (0..count).map(|_| client.receive().to_string()).collect()
    };
    let k = notice(&["k"]);
    assert_eq!(frames(&mut client, &["GET k", "SET k 1", "PING"], 4), ["nil", "OK", k.as_str(), "PONG"]);
    let lines = ["MULTI", "GET k", "SET k 2", "PING", "EXEC", "PING"];
    assert_eq!(
        frames(&mut client, &lines, 7),
        ["OK", "QUEUED", "QUEUED", "QUEUED", "[\"1\", OK, PONG]", k.as_str(), "PONG"]
    );
    let lines = ["MULTI", "GET k", "FLUSHALL", "EXEC", "PING"];
    assert_eq!(
        frames(&mut client, &lines, 6),
        ["OK", "QUEUED", "QUEUED", "[\"2\", OK]", everything().as_str(), "PONG"]
    );
    assert_eq!(
        frames(&mut client, &["GET k", "CLIENT REPLY SKIP", "SET k 1", "GET k"], 3),
        ["nil", k.as_str(), "\"1\""],
        "replies that are left out leave no notice out"
    );
    // Whoever does not want to hear of what he does himself hears of what others do, and of a flush.
    client.check("CLIENT TRACKING ON NOLOOP", "OK");
    let mut other = server.connect();
    assert_eq!(frames(&mut client, &["GET k", "SET k 1", "PING"], 3), ["\"1\"", "OK", "PONG"]);
    client.check("GET k", "\"1\"");
    other.check("DEL k", "1");
    assert_eq!(notices(&mut client), [k]);
    assert_eq!(frames(&mut client, &["FLUSHDB", "PING"], 3), ["OK", everything().as_str(), "PONG"]);
}

#[test]
fn reads_are_tracked_and_changes_told_whatever_the_command() {
    let server = Server::start(&[]);
    let (mut client, mut other) = (tracking(&server, ""), server.connect());
    other.check("MSET k v z v", "OK");
    let rows: &[(&str, &str, &[&str])] = &[
        ("TTL k", "EXPIRE k 100", &["k"]),
        ("TYPE k", "PERSIST k", &["k"]),
        ("EXISTS k", "SETRANGE k 0 a", &["k"]),
        ("GETEX k", "APPEND k a", &[]),
        ("OBJECT ENCODING k", "APPEND k b", &["k"]),
        ("TOUCH k", "INCRBYFLOAT k 1", &[]),
        ("STRLEN k", "SETBIT k 100 1", &["k"]),
        ("DUMP kk", "COPY k kk REPLACE", &["kk"]),
        ("STRLEN k", "RENAME k k9", &["k"]),
        ("MGET k k9", "RENAME k9 k", &["k9", "k"]),
        ("STRLEN k", "GETSET k 1", &["k"]),
        ("GETDEL k", "SET k 1", &[]),
        ("GET k", "SET k 1 KEEPTTL", &["k"]),
        ("GET k", "SET k 1 NX", &[]),
        ("SCAN 0", "SET k 1", &["k"]),
        ("GET k", "EXPIRE k -1", &["k"]),
        ("HGET h f", "HSET h f 1", &["h"]),
        ("HGET h f", "HINCRBY h f 1", &["h"]),
        ("HGET h f", "HDEL h f", &["h"]),
        ("LLEN l", "RPUSH l 1 2 3", &["l"]),
        ("LLEN l", "LMOVE l l2 LEFT LEFT", &["l"]),
        ("LLEN l", "LSET l 0 9", &["l"]),
        ("SORT l", "RPUSH l 1", &[]),
        ("SORT_RO l", "RPUSH l 1", &["l"]),
        ("SCARD s", "SADD s 1 2 3", &["s"]),
        ("SINTER s s2", "SUNIONSTORE s2 s", &["s2"]),
        ("ZCARD z2", "ZADD z2 1 a", &["z2"]),
        ("ZCARD z2", "ZADD z2 1 a", &[]),
        ("PING", "ZADD z2 2 a", &["z2"]),
        ("XLEN x", "XADD x 1-1 a b", &["x"]),
        ("XLEN x", "XGROUP CREATE x g $", &[]),
        ("PING", "XDEL x 1-1", &["x"]),
        ("XREAD STREAMS x 0", "XADD x 5-1 a b", &["x"]),
        ("PFCOUNT hl", "PFADD hl 1", &["hl"]),
        ("PFCOUNT hl", "PFADD hl 1", &[]),
        ("GEOPOS g a", "GEOADD g 1 1 a", &["g"]),
        ("GET z", "MOVE z 1", &["z"]),
        ("GET z", "RESTORE z 0 \"\\x00\\x01a\\x0b\\x00\\xe6\\xbfV\\x8a\\xd5\\xf5\\xed\\x8a\" REPLACE", &[]),
        ("MEMORY USAGE z", "SET z 1", &["z"]),
        ("COMMAND GETKEYS GET z", "SET z 1", &[]),
        ("EXISTS none", "DEL none", &[]),
        ("WATCH w", "SET w 1", &[]),
        ("GET w", "UNLINK w", &["w"]),
    ];
    for (read, write, told) in rows {
        client.line(read);
        other.line(write);
        let wanted: Vec<String> = told.iter().map(|key| notice(&[key])).collect();
        assert_eq!(notices(&mut client), wanted, "{read}, then {write}");
    }
}

#[test]
fn keys_that_expire_or_are_evicted_are_told_of() {
    let flags = ["--maxmemory-policy", "allkeys-lru", "--maxmemory", "8mb", "--enable-debug-command", "yes"];
    let server = Server::start(&flags);
    let (mut client, mut other) = (tracking(&server, ""), server.connect());
    let mut own = tracking(&server, "NOLOOP");
    other.check("SET k v PX 60", "OK");
    client.line("EXISTS k");
    own.line("EXISTS k");
    assert_eq!(await_notices(&mut client), [notice(&["k"])]);
    assert_eq!(await_notices(&mut own), [notice(&["k"])]);
    // One that is found to be due is told of behind the answer, and tracked again.
    other.check("DEBUG SET-ACTIVE-EXPIRE 0", "OK");
    // Within a transaction no time passes.
    client.check_all(
        r#"
        MULTI           => OK
        SET k v PX 1    => QUEUED
        GET k           => QUEUED
        PEXPIRETIME k   => QUEUED
        "#,
    );
    let told = client.line("EXEC");
    assert_eq!(told.items()[1].text(), "v");
    await_time(&mut other, told.items()[2].integer());
    client.check("GET k", "nil");
    assert_eq!(notices(&mut client), [notice(&["k"])]);
    other.check("SET k v", "OK");
    assert_eq!(notices(&mut client), [notice(&["k"])]);
    // Whatever goes to make room was told of to whoever had read it.
    let value = "v".repeat(4000);
    let mut held: HashMap<String, ()> = HashMap::new();
    for number in 0..4_000 {
        let key = format!("key:{number}");
        own.check(&format!("SET {key} {value}"), "OK");
        own.check(&format!("STRLEN {key}"), "4000");
        held.insert(key, ());
    }
    own.check("PING", "PONG");
    for push in own.pushes.drain(..) {
        let Frame::Array(keys) = &push.items()[1] else { panic!("{push}") };
        keys.iter().for_each(|key| {
            held.remove(&key.text());
        });
    }
    assert!(held.len() < 4_000, "something was evicted");
    let gone = held.keys().filter(|key| other.line(&format!("EXISTS {key}")).integer() == 0);
    let gone: Vec<&String> = gone.collect();
    own.check("PING", "PONG");
    let late: Vec<String> = own.pushes.drain(..).map(|push| push.to_string()).collect();
    assert!(gone.iter().all(|key| late.contains(&notice(&[key]))), "{gone:?} went and nobody was told");
}

#[test]
fn a_flush_takes_everything() {
    let server = Server::start(&[]);
    let (mut client, mut other) = (tracking(&server, ""), server.connect());
    let mut broadcast = tracking(&server, "BCAST PREFIX p");
    for line in ["FLUSHDB", "FLUSHALL", "FLUSHALL ASYNC", "SWAPDB 0 1"] {
        client.line("MGET k l");
        assert_eq!(info(&mut other, "tracking_total_keys"), 2);
        other.check(line, "OK");
        assert_eq!(notices(&mut client), [everything()], "{line}");
        assert_eq!(notices(&mut broadcast), [everything()], "{line}");
        assert_eq!(info(&mut other, "tracking_total_keys"), 0);
        other.check("SET k 1", "OK");
        assert!(notices(&mut client).is_empty(), "{line}");
    }
    other.check("SWAPDB 0 0", "OK");
    assert!(notices(&mut client).is_empty());
}

#[test]
fn a_full_table_forgets_the_oldest_first() {
    let server = Server::start(&["--tracking-table-max-keys", "3"]);
    let (mut client, mut other) = (tracking(&server, ""), server.connect());
    client.line("MGET a b c");
    client.line("GET a");
    assert!(notices(&mut client).is_empty());
    client.line("GET d");
    assert_eq!(notices(&mut client), [notice(&["a"])]);
    client.line("MGET b e f");
    assert_eq!(notices(&mut client), [notice(&["b"]), notice(&["c"])]);
    other.check("MSET a 1 b 1 c 1", "OK");
    assert!(notices(&mut client).is_empty(), "these are tracked no more");
    other.check("CONFIG SET tracking-table-max-keys 1", "OK");
    let mut told = await_notices(&mut client);
    while told.len() < 2 {
        told.extend(await_notices(&mut client));
    }
    assert_eq!(told, [notice(&["d"]), notice(&["e"])]);
    assert_eq!((info(&mut other, "tracking_total_keys"), info(&mut other, "tracking_total_items")), (1, 1));
    other.check("CONFIG SET tracking-table-max-keys 0", "OK");
    (0..50).for_each(|number| drop(client.line(&format!("GET key:{number}"))));
    assert!(notices(&mut client).is_empty());
    assert_eq!(info(&mut other, "tracking_total_keys"), 51);
}

#[test]
fn the_table_keeps_its_bound_though_nothing_is_done_by_and_by() {
    let server = Server::start(&["--enable-debug-command", "yes"]);
    let (mut client, mut other) = (tracking(&server, ""), server.connect());
    other.check("DEBUG PAUSE-CRON 1", "OK");
    client.line("MGET a b c");
    client.check("MULTI", "OK");
    other.check("CONFIG SET tracking-table-max-keys 1", "OK");
    client.send_line("PING");
    client.send_line("EXEC");
    let frames: Vec<String> = (0..4).map(|_| client.receive().to_string()).collect();
    assert_eq!(frames, [notice(&["a"]), notice(&["b"]), "QUEUED".into(), "[PONG]".into()]);
    other.check("DEBUG PAUSE-CRON 0", "OK");
}

#[test]
fn changes_are_broadcast_by_prefix() {
    let server = Server::start(&[]);
    let mut all = tracking(&server, "BCAST");
    let mut some = tracking(&server, "BCAST PREFIX a: PREFIX b: NOLOOP");
    let mut other = server.connect();
    other.check("MSET c 1 a:1 1 b:2 2 a:3 3 a:1 2", "OK");
    assert_eq!(notices(&mut all), [notice(&["a:1", "a:3", "b:2", "c"])], "in order, each once");
    assert_eq!(notices(&mut some), [notice(&["a:1", "a:3"]), notice(&["b:2"])]);
    other.check_all(
        r#"
        MULTI           => OK
        INCR a:1        => QUEUED
        INCR a:2        => QUEUED
        INCR b:1        => QUEUED
        INCR none       => QUEUED
        GET a:9         => QUEUED
        DEL a:10        => QUEUED
        EXEC            => [3, 1, 1, 1, nil, 0]
        "#,
    );
    assert_eq!(notices(&mut all), [notice(&["a:1", "a:2", "b:1", "none"])]);
    assert_eq!(notices(&mut some), [notice(&["a:1", "a:2"]), notice(&["b:1"])]);
    some.check("INCR a:1", "4");
    assert!(notices(&mut some).is_empty(), "it wants to hear of others only");
    assert_eq!(notices(&mut all), [notice(&["a:1"])]);
    all.check("INCR a:1", "5");
    assert_eq!(notices(&mut all), [notice(&["a:1"])]);
    assert_eq!(notices(&mut some), [notice(&["a:1"])]);
    some.check("SET a:1 v PX 30", "OK");
    assert_eq!(await_notices(&mut some), [notice(&["a:1"])], "it expired by itself");
    some.check("CLIENT TRACKING ON BCAST PREFIX c:", "OK");
    some.check("INCR c:1", "1");
    assert_eq!(notices(&mut some), [notice(&["c:1"])]);
    assert_eq!(info(&mut other, "tracking_total_prefixes"), 4);
    drop(some);
    let began = Instant::now();
    while info(&mut other, "tracking_total_prefixes") > 1 {
        assert!(began.elapsed() < LIMIT, "a client that has left is not forgotten");
    }
    assert_eq!(info(&mut other, "tracking_clients"), 1);
}

#[test]
fn only_what_is_announced_is_tracked_where_the_client_says_so() {
    let server = Server::start(&[]);
    let (mut client, mut other) = (tracking(&server, "OPTIN"), server.connect());
    let mut told_of = |client: &mut Client, lines: &[&str]| -> bool {
        lines.iter().for_each(|line| drop(client.line(line)));
        other.check("SET k v", "OK");
        !notices(client).is_empty()
    };
    let yes = "CLIENT CACHING YES";
    assert!(!told_of(&mut client, &["GET k"]));
    assert!(told_of(&mut client, &[yes, "GET k"]));
    assert!(!told_of(&mut client, &[yes, "PING", "GET k"]));
    assert!(!told_of(&mut client, &[yes, "nonsense", "GET k"]));
    assert!(told_of(&mut client, &[yes, "CLIENT ID", "GET k"]));
    assert!(told_of(&mut client, &[yes, "MULTI", "PING", "GET k", "EXEC"]));
    assert!(told_of(&mut client, &["MULTI", yes, "GET k", "EXEC"]));
    assert!(!told_of(&mut client, &["MULTI", "GET k", "EXEC"]));
    assert!(!told_of(&mut client, &["MULTI", yes, "EXEC", "GET k"]));
    client.check("CLIENT TRACKING OFF", "OK");
    client.check("CLIENT TRACKING ON OPTOUT", "OK");
    let no = "CLIENT CACHING NO";
    assert!(told_of(&mut client, &["GET k"]));
    assert!(!told_of(&mut client, &[no, "GET k"]));
    assert!(told_of(&mut client, &[no, "GET other", "GET k"]));
    assert!(!told_of(&mut client, &[no, "MULTI", "GET k", "EXEC"]));
}

#[test]
fn notices_go_to_another_client() {
    let server = Server::start(&[]);
    let mut other = server.connect();
    let mut target = server.connect().hello3();
    let id = target.line("CLIENT ID").integer();
    // One that speaks RESP2 tracks for another that speaks RESP3.
    let mut client = server.connect();
    client.check(&format!("CLIENT TRACKING ON REDIRECT {id}"), "OK");
    client.check("CLIENT GETREDIR", &id.to_string());
    assert!(client.line("CLIENT INFO").text().contains(&format!(" redir={id} ")));
    client.check("GET k", "nil");
    other.check("SET k v", "OK");
    assert_eq!(notices(&mut target), [notice(&["k"])]);
    // The target need not be another one; its own notices are its own then.
    target.check(&format!("CLIENT TRACKING ON REDIRECT {id}"), "OK");
    target.check("GET k", "\"v\"");
    target.check("SET k w", "OK");
    assert_eq!(notices(&mut target), [notice(&["k"])]);
    // Without RESP3 and without a target nothing is said.
    let mut silent = server.connect();
    silent.check("CLIENT TRACKING ON", "OK");
    silent.check("GET k", "\"w\"");
    other.check("SET k v", "OK");
    other.check("FLUSHALL", "OK");
    silent.check("PING", "PONG");
    assert!(silent.pushes.is_empty());
    target.check("CLIENT TRACKING OFF", "OK");
    // The target leaves.
    let broken = format!(">[\"tracking-redir-broken\", {id}]");
    assert!(client.line("HELLO 3").to_string().contains("proto"));
    client.check("MGET k l m", "[nil, nil, nil]");
    target.check("QUIT", "OK");
    assert!(target.is_closed_by_server());
    let began = Instant::now();
    while other.line(&format!("CLIENT LIST ID {id}")).text().contains("id=") {
        assert!(began.elapsed() < LIMIT, "the target is still there");
    }
    for line in ["SET k v", "SET l v", "FLUSHALL"] {
        other.check(line, "OK");
        assert_eq!(notices(&mut client), [broken.as_str()], "{line}");
    }
    let info = client.line("CLIENT TRACKINGINFO").to_string();
    assert_eq!(info, format!(r#"{{"flags": ~["on", "broken_redirect"], "redirect": {id}, "prefixes": []}}"#));
    assert!(client.line("CLIENT LIST").text().contains(" flags=tR "));
    client.check("CLIENT TRACKING ON", "OK");
    client.check("CLIENT TRACKINGINFO", r#"{"flags": ~["on"], "redirect": 0, "prefixes": []}"#);
}

#[test]
fn subscribers_get_notices_as_messages() {
    let server = Server::start(&[]);
    let (mut client, mut other, mut target) = (server.connect(), server.connect(), server.connect());
    let id = target.line("CLIENT ID").integer();
    client.check(&format!("CLIENT TRACKING ON REDIRECT {id}"), "OK");
    client.check("GET k", "nil");
    other.check("SET k v", "OK");
    target.check("PING", "PONG");
    target.check("SUBSCRIBE __redis__:invalidate", r#"["subscribe", "__redis__:invalidate", 1]"#);
    client.check("GET k", "\"v\"");
    other.check("SET k v", "OK");
    target.expect(r#"["message", "__redis__:invalidate", ["k"]]"#);
    assert!(target.last_raw().ends_with(b"*1\r\n$1\r\nk\r\n"));
    other.check("FLUSHALL", "OK");
    target.expect(r#"["message", "__redis__:invalidate", nil]"#);
    // Whichever protocol the tracking client speaks, the target is told in its own.
    assert!(client.line("HELLO 3").to_string().contains("proto"));
    client.check("CLIENT TRACKING OFF", "OK");
    client.check(&format!("CLIENT TRACKING ON BCAST REDIRECT {id}"), "OK");
    other.check("MSET b 1 a 1", "OK");
    target.expect(r#"["message", "__redis__:invalidate", ["a", "b"]]"#);
    other.check("FLUSHALL", "OK");
    target.expect(r#"["message", "__redis__:invalidate", nil]"#);
    assert_eq!(target.last_raw().last_chunk(), Some(b"$-1\r\n"));
    assert!(client.pushes.is_empty());
}

#[test]
fn a_client_that_waited_is_told_behind_its_answer() {
    let server = Server::start(&[]);
    let (mut client, mut other) = (tracking(&server, ""), server.connect());
    client.check("LRANGE to 0 -1", "[]");
    client.send_line("BLMOVE from to LEFT LEFT 0");
    let began = Instant::now();
    while info(&mut other, "blocked_clients") == 0 {
        assert!(began.elapsed() < LIMIT, "it does not wait");
    }
    other.check("RPUSH from v", "1");
    assert_eq!(client.receive().to_string(), "\"v\"");
    assert_eq!(client.receive().to_string(), notice(&["to"]));
}

#[test]
fn clients_without_replies_and_with_another_protocol_are_told_still_or_no_more() {
    let server = Server::start(&[]);
    let (mut client, mut other) = (tracking(&server, ""), server.connect());
    client.check("MGET k l m", "[nil, nil, nil]");
    client.send_line("CLIENT REPLY OFF");
    client.send_line("SET l v");
    assert_eq!(client.receive().to_string(), notice(&["l"]));
    other.check("SET k v", "OK");
    assert_eq!(client.receive().to_string(), notice(&["k"]));
    client.send_line("CLIENT REPLY ON");
    client.expect("OK");
    assert!(client.line("HELLO 2").to_string().contains("proto"));
    other.check("SET m v", "OK");
    assert!(notices(&mut client).is_empty(), "RESP2 has no words for it");
    client.check("MGET k l m", r#"["v", "v", "v"]"#);
    assert!(client.line("HELLO 3").to_string().contains("proto"));
    other.check("SET m v", "OK");
    assert_eq!(notices(&mut client), [notice(&["m"])]);
    client.check("RESET", "RESET");
    assert!(client.line("HELLO 3").to_string().contains("proto"));
    other.check("MSET k w l w", "OK");
    assert!(notices(&mut client).is_empty());
    // Tracking may begin within a transaction; what follows in it counts.
    client.check_all(
        r#"
        MULTI                   => OK
        SET k 1                 => QUEUED
        CLIENT TRACKING ON      => QUEUED
        MGET k l                => QUEUED
        EXEC                    => [OK, OK, ["1", "w"]]
        "#,
    );
    other.check("MSET k x l x", "OK");
    assert_eq!(notices(&mut client), [notice(&["k"]), notice(&["l"])]);
}

#[test]
fn of_scripts_their_commands_count() {
    let server = Server::start(&[]);
    let (mut client, mut other) = (tracking(&server, ""), server.connect());
    let mut own = tracking(&server, "NOLOOP");
    let told_after = |client: &mut Client, other: &mut Client, script: &str, keys: &str| -> Vec<String> {
        client.cmd(&["EVAL", script, "2", "k", "l"]);
        other.check(&format!("MSET {keys}"), "OK");
        notices(client)
    };
    other.check("MSET k 1 l 1", "OK");
    let all = "k 2 l 2 m 2";
    assert!(told_after(&mut client, &mut other, "return redis.call('SET', 'm', 1)", all).is_empty());
    let reads = "return redis.call('GET', 'l')";
    assert_eq!(
        told_after(&mut client, &mut other, reads, all),
        [notice(&["l"])],
        "what is read, not what is declared"
    );
    for line in ["MULTI", "EVAL_RO return(redis.call('MGET','k','l')) 2 k l", "EXEC"] {
        client.line(line);
    }
    other.check("MSET l 1 k 1", "OK");
    assert_eq!(notices(&mut client), [notice(&["l"]), notice(&["k"])], "in the order of the changes");
    // What a script changes is told behind its reply, and not to whoever does not want to hear of itself.
    let writes = "redis.call('GET', 'k'); redis.call('SET', 'k', 3); return redis.call('GET', 'k')";
    client.send(&["EVAL", writes, "1", "k"]);
    assert_eq!(
        [client.receive().to_string(), client.receive().to_string()],
        ["\"3\"".to_owned(), notice(&["k"])]
    );
    own.check("GET k", "\"3\"");
    own.cmd(&["EVAL", "return redis.call('SET', 'k', 4)", "1", "k"]);
    assert!(notices(&mut own).is_empty());
}

#[test]
fn who_leaves_is_forgotten() {
    let server = Server::start(&[]);
    let mut other = server.connect();
    let mut stays = tracking(&server, "");
    stays.line("MGET a b");
    for number in 0..20 {
        let mut client = tracking(&server, "");
        client.line("MGET a b c d");
        if number % 2 == 0 {
            let id = client.line("CLIENT ID").integer();
            other.check(&format!("CLIENT KILL ID {id}"), "1");
        }
    }
    let began = Instant::now();
    while (info(&mut other, "tracking_clients"), info(&mut other, "tracking_total_items")) != (1, 2) {
        assert!(began.elapsed() < LIMIT, "{}", other.line("INFO stats").text());
        thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(info(&mut other, "tracking_total_keys"), 2);
    other.check("SET a 1", "OK");
    assert_eq!(notices(&mut stays), [notice(&["a"])]);
    drop(stays);
    let began = Instant::now();
    while (info(&mut other, "tracking_clients"), info(&mut other, "tracking_total_keys")) != (0, 0) {
        assert!(began.elapsed() < LIMIT, "the table outlives its clients");
        thread::sleep(Duration::from_millis(5));
    }
}
