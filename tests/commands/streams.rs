//! Streams without groups: every option and every error of every command, waiting ones included. Expected replies are
//! those of Redis 7.4. Maps of RESP3 are judged by what RESP2 has in their place.

use crate::support::client::Client;
use crate::support::frame::Frame;
use crate::support::server::{Server, both_protocols, wait_until};

/// Runs a script over both protocols, each time on an empty server.
#[track_caller]
pub fn check(script: &str) {
    both_protocols(&[], |_, client| check_all(client, script));
}

/// Runs a script; maps show as RESP2 has them: pairs in the replies of XREAD and XREADGROUP, flat elsewhere.
#[track_caller]
pub fn check_all(client: &mut Client, script: &str) {
    for row in script.lines().map(str::trim).filter(|row| !row.is_empty()) {
        let (line, expected) = row.split_once(" => ").unwrap_or_else(|| panic!("no ` => ` in {row:?}"));
        let reply = plain(client.line(line.trim()), line.starts_with("XREAD")).to_string();
        assert!(reply.trim_end() == expected.trim(), "{row}\n  got: {reply}");
    }
}

fn plain(frame: Frame, in_pairs: bool) -> Frame {
    match frame {
        Frame::Map(pairs) if in_pairs => Frame::Array(
            pairs.into_iter().map(|(key, value)| Frame::Array(vec![key, plain(value, true)])).collect(),
        ),
        Frame::Map(pairs) => {
            let flat = pairs.into_iter().flat_map(|(key, value)| [key, plain(value, false)]);
            Frame::Array(flat.collect())
        }
        Frame::Array(items) => Frame::Array(items.into_iter().map(|item| plain(item, in_pairs)).collect()),
        other => other,
    }
}

#[test]
fn entries_are_added() {
    check(
        r#"
        XADD                           => -ERR wrong number of arguments for 'xadd' command
        XADD s                         => -ERR wrong number of arguments for 'xadd' command
        XADD s * f                     => -ERR wrong number of arguments for 'xadd' command
        XADD s 1-1 f                   => -ERR wrong number of arguments for 'xadd' command
        XADD s 1-1 f v g               => -ERR wrong number of arguments for 'xadd' command
        XADD s 0-0 f v                 => -ERR The ID specified in XADD must be greater than 0-0
        XADD s 0-* f v                 => "0-1"
        XADD s 1-1 f v                 => "1-1"
        XADD s 1-1 f v                 => -ERR The ID specified in XADD is equal or smaller than the target stream top item
        XADD s 1-0 f v                 => -ERR The ID specified in XADD is equal or smaller than the target stream top item
        XADD s 1-* f v                 => "1-2"
        XADD s 1-* "" 007 12 -5        => "1-3"
        XADD s 0-* f v                 => -ERR The ID specified in XADD is equal or smaller than the target stream top item
        XADD s 5 f v                   => "5-0"
        XADD s 5-* f v                 => "5-1"
        XADD s +7-01 f v               => "7-1"
        XADD s abc f v                 => -ERR Invalid stream ID specified as stream command argument
        XADD s - f v                   => -ERR Invalid stream ID specified as stream command argument
        XADD s + f v                   => -ERR Invalid stream ID specified as stream command argument
        XADD s 1-2-3 f v               => -ERR Invalid stream ID specified as stream command argument
        XADD s -1 f v                  => -ERR Invalid stream ID specified as stream command argument
        XADD s 18446744073709551616-0 f v => -ERR Invalid stream ID specified as stream command argument
        XRANGE s - +                   => [["0-1", ["f", "v"]], ["1-1", ["f", "v"]], ["1-2", ["f", "v"]], ["1-3", ["", "007", "12", "-5"]], ["5-0", ["f", "v"]], ["5-1", ["f", "v"]], ["7-1", ["f", "v"]]]
        XLEN s                         => 7
        XADD s NOMKSTREAM 8-0 f v      => "8-0"
        XADD none NOMKSTREAM 8-0 f v   => nil
        XADD none nomkstream * f v     => nil
        EXISTS none                    => 0
        XADD s 18446744073709551615-* f v => "18446744073709551615-0"
        XADD s 18446744073709551615-18446744073709551615 f v => "18446744073709551615-18446744073709551615"
        XADD s * f v                   => -ERR The stream has exhausted the last possible ID, unable to add more items
        XADD s 9-1 f v                 => -ERR The stream has exhausted the last possible ID, unable to add more items
        TYPE s                         => stream
        OBJECT ENCODING s              => "stream"
        SET str x                      => OK
        XADD str * f v                 => -WRONGTYPE Operation against a key holding the wrong kind of value
        XADD str x f v                 => -ERR Invalid stream ID specified as stream command argument
        XLEN str                       => -WRONGTYPE Operation against a key holding the wrong kind of value
        GET s                          => -WRONGTYPE Operation against a key holding the wrong kind of value
        XLEN none                      => 0
        XLEN                           => -ERR wrong number of arguments for 'xlen' command
        "#,
    );
}

#[test]
fn adding_trims() {
    check(
        r#"
        XADD s MAXLEN 2 1-1 a 1        => "1-1"
        XADD s MAXLEN 2 1-2 a 2        => "1-2"
        XADD s MAXLEN = 2 1-3 a 3      => "1-3"
        XADD s maxlen = 2 1-4 a 4      => "1-4"
        XRANGE s - +                   => [["1-3", ["a", "3"]], ["1-4", ["a", "4"]]]
        XADD s MAXLEN ~ 2 1-5 a 5      => "1-5"
        XLEN s                         => 3
        XADD s MINID 1-5 1-6 a 6       => "1-6"
        XADD s MINID = 1-6 1-7 a 7     => "1-7"
        XRANGE s - +                   => [["1-6", ["a", "6"]], ["1-7", ["a", "7"]]]
        XADD s MAXLEN 0 1-8 a 8        => "1-8"
        XLEN s                         => 0
        EXISTS s                       => 1
        XADD s MAXLEN                  => -ERR wrong number of arguments for 'xadd' command
        XADD s MAXLEN 1                => -ERR wrong number of arguments for 'xadd' command
        XADD s MAXLEN x 2-1 f v        => -ERR value is not an integer or out of range
        XADD s MAXLEN -1 2-1 f v       => -ERR The MAXLEN argument must be >= 0.
        XADD s MAXLEN 1 MINID 1 2-1 f v => -ERR syntax error, MAXLEN and MINID options at the same time are not compatible
        XADD s MAXLEN 1 MAXLEN 1 2-1 f v => -ERR syntax error, MAXLEN and MINID options at the same time are not compatible
        XADD s MINID x 2-1 f v         => -ERR Invalid stream ID specified as stream command argument
        XADD s MINID - 2-1 f v         => -ERR Invalid stream ID specified as stream command argument
        XADD s LIMIT 1 2-1 f v         => -ERR syntax error, LIMIT cannot be used without specifying a trimming strategy
        XADD s LIMIT 0 2-1 f v         => -ERR syntax error, LIMIT cannot be used without the special ~ option
        XADD s MAXLEN 1 LIMIT 1 2-1 f v => -ERR syntax error, LIMIT cannot be used without the special ~ option
        XADD s MAXLEN ~ 1 LIMIT -1 2-1 f v => -ERR The LIMIT argument must be >= 0.
        XADD s MAXLEN ~ 1 LIMIT x 2-1 f v => -ERR value is not an integer or out of range
        XADD s MAXLEN ~ 1 LIMIT 5 NOMKSTREAM 2-1 f v => "2-1"
        XADD s MAXLEN ~ 1 LIMIT 0 2-2 f v => "2-2"
        XLEN s                         => 2
        "#,
    );
}

#[test]
fn the_oldest_entries_are_trimmed() {
    check(
        r#"
        XADD s 1 a 1                   => "1-0"
        XADD s 2 a 1                   => "2-0"
        XADD s 3 b 1                   => "3-0"
        XADD s 4 a 1                   => "4-0"
        XADD s 5 b 1 c 2               => "5-0"
        XTRIM s MAXLEN ~ 0             => 5
        XADD s 1 a 1                   => -ERR The ID specified in XADD is equal or smaller than the target stream top item
        XADD s 6 a 1                   => "6-0"
        XADD s 7 a 1                   => "7-0"
        XADD s 8 a 1                   => "8-0"
        XADD s 9 a 1                   => "9-0"
        XTRIM s MAXLEN 9               => 0
        XTRIM s MAXLEN 3               => 1
        XRANGE s - +                   => [["7-0", ["a", "1"]], ["8-0", ["a", "1"]], ["9-0", ["a", "1"]]]
        XTRIM s MINID = 8              => 1
        XRANGE s - +                   => [["8-0", ["a", "1"]], ["9-0", ["a", "1"]]]
        XTRIM s MINID 8-1              => 1
        XTRIM s MINID ~ 100 LIMIT 0    => 1
        XLEN s                         => 0
        XTRIM s                        => -ERR wrong number of arguments for 'xtrim' command
        XTRIM s MAXLEN                 => -ERR wrong number of arguments for 'xtrim' command
        XTRIM s MAXLEN ~               => -ERR value is not an integer or out of range
        XTRIM s MAXLEN x               => -ERR value is not an integer or out of range
        XTRIM s MAXLEN -1              => -ERR The MAXLEN argument must be >= 0.
        XTRIM s MAXLEN 1 LIMIT 5       => -ERR syntax error, LIMIT cannot be used without the special ~ option
        XTRIM s LIMIT 0 LIMIT 0        => -ERR syntax error, XTRIM must be called with a trimming strategy
        XTRIM s LIMIT 1 LIMIT 1        => -ERR syntax error, LIMIT cannot be used without specifying a trimming strategy
        XTRIM s MAXLEN 1 MINID 1       => -ERR syntax error, MAXLEN and MINID options at the same time are not compatible
        XTRIM s NOMKSTREAM MAXLEN 1    => -ERR syntax error
        XTRIM s MAXLEN 1 junk          => -ERR syntax error
        XTRIM none MAXLEN 1            => 0
        SET str x                      => OK
        XTRIM str MAXLEN 1             => -WRONGTYPE Operation against a key holding the wrong kind of value
        "#,
    );
}

#[test]
fn ranges_are_read_both_ways() {
    check(
        r#"
        XADD s 1-0 f a                 => "1-0"
        XADD s 1-1 f b                 => "1-1"
        XADD s 2-5 f c g d             => "2-5"
        XADD s 3-0 f e                 => "3-0"
        XRANGE s - +                   => [["1-0", ["f", "a"]], ["1-1", ["f", "b"]], ["2-5", ["f", "c", "g", "d"]], ["3-0", ["f", "e"]]]
        XREVRANGE s + -                => [["3-0", ["f", "e"]], ["2-5", ["f", "c", "g", "d"]], ["1-1", ["f", "b"]], ["1-0", ["f", "a"]]]
        XRANGE s 1 1                   => [["1-0", ["f", "a"]], ["1-1", ["f", "b"]]]
        XRANGE s 1-1 2                 => [["1-1", ["f", "b"]], ["2-5", ["f", "c", "g", "d"]]]
        XRANGE s (1-1 +                => [["2-5", ["f", "c", "g", "d"]], ["3-0", ["f", "e"]]]
        XRANGE s - (2-5                => [["1-0", ["f", "a"]], ["1-1", ["f", "b"]]]
        XRANGE s (1 (3                 => [["1-1", ["f", "b"]], ["2-5", ["f", "c", "g", "d"]], ["3-0", ["f", "e"]]]
        XREVRANGE s (3 (1              => [["3-0", ["f", "e"]], ["2-5", ["f", "c", "g", "d"]], ["1-1", ["f", "b"]]]
        XREVRANGE s 2 1-1              => [["2-5", ["f", "c", "g", "d"]], ["1-1", ["f", "b"]]]
        XRANGE s 3 1                   => []
        XREVRANGE s - +                => []
        XRANGE s - + COUNT 2           => [["1-0", ["f", "a"]], ["1-1", ["f", "b"]]]
        XREVRANGE s + - count 2        => [["3-0", ["f", "e"]], ["2-5", ["f", "c", "g", "d"]]]
        XRANGE s - + COUNT 0           => nil
        XRANGE s - + COUNT -1          => nil
        XRANGE none - + COUNT 0        => []
        XRANGE none - +                => []
        XRANGE s - + COUNT 1 COUNT 3   => [["1-0", ["f", "a"]], ["1-1", ["f", "b"]], ["2-5", ["f", "c", "g", "d"]]]
        XRANGE s - + COUNT             => -ERR syntax error
        XRANGE s - + COUNT x           => -ERR value is not an integer or out of range
        XRANGE s - + junk 1            => -ERR syntax error
        XRANGE s ( +                   => -ERR Invalid stream ID specified as stream command argument
        XRANGE s (- +                  => -ERR Invalid stream ID specified as stream command argument
        XRANGE s - (+                  => -ERR Invalid stream ID specified as stream command argument
        XRANGE s (18446744073709551615-18446744073709551615 + => -ERR invalid start ID for the interval
        XRANGE s - (0-0                => -ERR invalid end ID for the interval
        XRANGE s * +                   => -ERR Invalid stream ID specified as stream command argument
        XRANGE s -                     => -ERR wrong number of arguments for 'xrange' command
        XREVRANGE s x y                => -ERR Invalid stream ID specified as stream command argument
        SET str x                      => OK
        XRANGE str - +                 => -WRONGTYPE Operation against a key holding the wrong kind of value
        XRANGE str x +                 => -ERR Invalid stream ID specified as stream command argument
        "#,
    );
}

#[test]
fn entries_are_deleted() {
    check(
        r#"
        XADD s 1-0 f a                 => "1-0"
        XADD s 2-0 f b                 => "2-0"
        XADD s 3-0 g c                 => "3-0"
        XDEL s 2 9 2-0                 => 1
        XRANGE s - +                   => [["1-0", ["f", "a"]], ["3-0", ["g", "c"]]]
        XREVRANGE s + -                => [["3-0", ["g", "c"]], ["1-0", ["f", "a"]]]
        XDEL s 1 x                     => -ERR Invalid stream ID specified as stream command argument
        XLEN s                         => 2
        XDEL s 1 3                     => 2
        XLEN s                         => 0
        EXISTS s                       => 1
        XADD s 3-0 f v                 => -ERR The ID specified in XADD is equal or smaller than the target stream top item
        XADD s 3-1 f v                 => "3-1"
        XDEL none 1                    => 0
        XDEL none x                    => 0
        XDEL s                         => -ERR wrong number of arguments for 'xdel' command
        SET str x                      => OK
        XDEL str 1                     => -WRONGTYPE Operation against a key holding the wrong kind of value
        "#,
    );
}

#[test]
fn the_last_id_is_set() {
    check(
        r#"
        XSETID none 1-1                => -ERR no such key
        XSETID none x                  => -ERR Invalid stream ID specified as stream command argument
        XSETID s 1 0                   => -ERR syntax error
        XADD s 1-1 f v                 => "1-1"
        XADD s 1-2 f v                 => "1-2"
        XSETID s 5                     => OK
        XADD s 4 f v                   => -ERR The ID specified in XADD is equal or smaller than the target stream top item
        XSETID s 1-1                   => -ERR The ID specified in XSETID is smaller than the target stream top item
        XSETID s 9 ENTRIESADDED 1      => -ERR The entries_added specified in XSETID is smaller than the target stream length
        XSETID s 9 ENTRIESADDED -1     => -ERR entries_added must be positive
        XSETID s 9 ENTRIESADDED x      => -ERR value is not an integer or out of range
        XSETID s 9 MAXDELETEDID 10     => -ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id
        XSETID s 9 MAXDELETEDID x      => -ERR Invalid stream ID specified as stream command argument
        XSETID s 9 junk 1              => -ERR syntax error
        XSETID s 9 ENTRIESADDED        => -ERR syntax error
        XSETID s 9 entriesadded 7 maxdeletedid 8 => OK
        XSETID s -                     => -ERR Invalid stream ID specified as stream command argument
        XINFO STREAM s                 => ["length", 2, "radix-tree-keys", 1, "radix-tree-nodes", 2, "last-generated-id", "9-0", "max-deleted-entry-id", "8-0", "entries-added", 7, "recorded-first-entry-id", "1-1", "groups", 0, "first-entry", ["1-1", ["f", "v"]], "last-entry", ["1-2", ["f", "v"]]]
        XSETID s 7                     => -ERR The ID specified in XSETID is smaller than current max_deleted_entry_id
        SET str x                      => OK
        XSETID str 1                   => -WRONGTYPE Operation against a key holding the wrong kind of value
        XSETID s                       => -ERR wrong number of arguments for 'xsetid' command
        "#,
    );
}

#[test]
fn what_is_behind_an_id_is_read() {
    check(
        r#"
        XADD s 1-0 f a                 => "1-0"
        XADD s 2-0 f b                 => "2-0"
        XADD t 5-0 f c                 => "5-0"
        XREAD STREAMS none 0           => nil
        XREAD STREAMS s $              => nil
        XREAD STREAMS s 2              => nil
        XREAD COUNT 1 STREAMS s t none 0 => -ERR Invalid stream ID specified as stream command argument
        XREAD                          => -ERR wrong number of arguments for 'xread' command
        XREAD STREAMS s                => -ERR wrong number of arguments for 'xread' command
        XREAD COUNT x STREAMS s 0      => -ERR value is not an integer or out of range
        XREAD BLOCK x STREAMS s 0      => -ERR timeout is not an integer or out of range
        XREAD BLOCK -1 STREAMS s 0     => -ERR timeout is negative
        XREAD BLOCK 9223372036854775807 STREAMS s 0 => -ERR timeout is out of range
        XREAD junk STREAMS s 0         => -ERR syntax error
        XREAD COUNT 1 BLOCK 1          => -ERR syntax error
        XREAD GROUP g c STREAMS s >    => -ERR The GROUP option is only supported by XREADGROUP. You called XREAD instead.
        XREAD NOACK STREAMS s 0        => -ERR The NOACK option is only supported by XREADGROUP. You called XREAD instead.
        XREAD STREAMS s >              => -ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> option.
        XREAD STREAMS s x              => -ERR Invalid stream ID specified as stream command argument
        XREAD STREAMS s -              => -ERR Invalid stream ID specified as stream command argument
        SET str x                      => OK
        XREAD STREAMS str 0            => -WRONGTYPE Operation against a key holding the wrong kind of value
        XREAD STREAMS s str 0 0        => -WRONGTYPE Operation against a key holding the wrong kind of value
        "#,
    );
}

#[test]
fn ids_follow_the_clock() {
    both_protocols(&[], |_, client| {
        let before = client.line("TIME").items()[0].text();
        let ids: Vec<(u64, u64)> = (0..3)
            .map(|_| {
                let id = client.line("XADD s * f v").text();
                let (ms, seq) = id.split_once('-').expect("two parts");
                (ms.parse().expect("ms"), seq.parse().expect("seq"))
            })
            .collect();
        assert!(ids.is_sorted_by(|a, b| a < b), "{ids:?}");
        assert!(ids[0].0 / 1000 >= before.parse::<u64>().expect("seconds"), "{ids:?} {before}");
        check_all(
            client,
            "XADD future 9999999999999-7 f v => \"9999999999999-7\"\nXADD future * f v => \"9999999999999-8\"",
        );
    });
}

#[test]
fn nodes_hold_as_much_as_is_configured() {
    both_protocols(&[], |_, client| {
        client.check("CONFIG SET stream-node-max-entries 10 stream-node-max-bytes 4096", "OK");
        for number in 1..=100 {
            client.line(&format!("XADD s {number} f v"));
        }
        check_all(
            client,
            r#"
            XADD s MAXLEN ~ 55 LIMIT 30 101 f v => "101-0"
            XLEN s                              => 71
            XADD s MAXLEN ~ 55 LIMIT 30 102 f v => "102-0"
            XLEN s                              => 62
            XTRIM s MINID ~ 58                  => 10
            CONFIG SET stream-node-max-entries 1 => OK
            XADD s 103 f v                      => "103-0"
            XADD s 104 f v                      => "104-0"
            XTRIM s MAXLEN ~ 2                  => 52
            XTRIM s MAXLEN ~ 0 LIMIT 1          => 1
            CONFIG SET stream-node-max-entries 100 stream-node-max-bytes 30 => OK
            XADD s 105 f v                      => "105-0"
            XADD s 106 f v                      => "106-0"
            XTRIM s MAXLEN ~ 1                  => 2
            XRANGE s - +                        => [["106-0", ["f", "v"]]]
            "#,
        );
    });
}

#[test]
fn the_last_entry_is_read() {
    check(
        r#"
        XREAD STREAMS s +              => nil
        XADD s 1 f a                   => "1-0"
        XADD s 2 f b                   => "2-0"
        XADD s 3 f c                   => "3-0"
        XREAD COUNT 2 STREAMS s none + + => [["s", [["3-0", ["f", "c"]]]]]
        XDEL s 3                       => 1
        XREAD STREAMS s +              => [["s", [["2-0", ["f", "b"]]]]]
        XGROUP CREATE s g 0            => OK
        XREADGROUP GROUP g c STREAMS s + => -ERR The + ID is meaningless in the context of XREADGROUP: you want to read the history of this consumer by specifying a proper ID, or use the > ID to get new messages. The + ID would just return an empty result set.
        XTRIM s MAXLEN 0               => 2
        XREAD STREAMS s +              => nil
        XREAD STREAMS s 0              => nil
        "#,
    );
}

#[test]
fn several_streams_are_read_at_once() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    check_all(
        &mut client,
        r#"
        XADD s 1 f a                   => "1-0"
        XADD s 2 f b                   => "2-0"
        XADD t 5 f c                   => "5-0"
        XREAD COUNT 1 STREAMS s none t 0 0 0 => [["s", [["1-0", ["f", "a"]]]], ["t", [["5-0", ["f", "c"]]]]]
        XREAD STREAMS s s 1 0          => [["s", [["2-0", ["f", "b"]]]], ["s", [["1-0", ["f", "a"]], ["2-0", ["f", "b"]]]]]
        XGROUP CREATE s g 0            => OK
        XGROUP CREATE t g $            => OK
        XREADGROUP GROUP g c STREAMS t s > > => [["s", [["1-0", ["f", "a"]], ["2-0", ["f", "b"]]]]]
        "#,
    );
    let mut client = server.connect().hello3();
    client.check("XREAD STREAMS t s 0 1", r#"{"t": [["5-0", ["f", "c"]]], "s": [["2-0", ["f", "b"]]]}"#);
    client.check("XREADGROUP GROUP g c STREAMS s 1", r#"{"s": [["2-0", ["f", "b"]]]}"#);
    client.check("XREAD STREAMS s $", "nil");
}

#[test]
fn a_stream_moves_with_its_key() {
    check(
        r#"
        XADD {s}1 1 f a                => "1-0"
        XGROUP CREATE {s}1 g 0         => OK
        XREADGROUP GROUP g c STREAMS {s}1 > => [["{s}1", [["1-0", ["f", "a"]]]]]
        RENAME {s}1 {s}2               => OK
        COPY {s}2 {s}3                 => 1
        XDEL {s}2 1                    => 1
        XRANGE {s}3 - +                => [["1-0", ["f", "a"]]]
        XPENDING {s}3 g                => [1, "1-0", "1-0", [["c", "1"]]]
        XACK {s}3 g 1                  => 1
        XPENDING {s}2 g                => [1, "1-0", "1-0", [["c", "1"]]]
        DEL {s}2 {s}3                  => 2
        XLEN {s}3                      => 0
        "#,
    );
}

/// Waits until so many clients wait for a key.
pub fn waiting(client: &mut Client, count: usize) {
    let line = format!("blocked_clients:{count}\r\n");
    wait_until("clients wait", || client.line("INFO clients").text().contains(&line));
}

#[test]
fn a_reader_waits_for_an_entry() {
    let server = Server::start(&[]);
    let (mut writer, mut reader) = (server.connect(), server.connect());
    writer.check("XADD s 1 f old", "\"1-0\"");
    reader.check("XREAD BLOCK 1 STREAMS s $", "nil");
    reader.check("XREAD BLOCK 0 STREAMS s t 0 0", r#"[["s", [["1-0", ["f", "old"]]]]]"#);
    reader.send(&["XREAD", "BLOCK", "0", "STREAMS", "t", "s", "s", "$", "$", "$"]);
    waiting(&mut writer, 1);
    check_all(
        &mut writer,
        r#"
        MULTI                          => OK
        XADD s 2 f gone                => QUEUED
        XDEL s 2                       => QUEUED
        EXEC                           => ["2-0", 1]
        SET t x                        => OK
        DEL t                          => 1
        XADD s 3 f new                 => "3-0"
        "#,
    );
    assert_eq!(
        reader.reply().to_string(),
        r#"[["s", [["3-0", ["f", "new"]]]], ["s", [["3-0", ["f", "new"]]]]]"#
    );
    reader.send(&["XREAD", "BLOCK", "0", "STREAMS", "t", "+"]);
    waiting(&mut writer, 1);
    writer.check("XADD t 1-1 f v", "\"1-1\"");
    assert_eq!(reader.reply().to_string(), r#"[["t", [["1-1", ["f", "v"]]]]]"#);
    check_all(
        &mut reader,
        r#"
        MULTI                          => OK
        XREAD BLOCK 0 STREAMS t $      => QUEUED
        EXEC                           => [nil]
        "#,
    );
}
