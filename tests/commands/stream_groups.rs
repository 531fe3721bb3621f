//! Consumer groups of streams: every option and every error of every command, waiting ones included, and XINFO. Expected
//! replies are those of Redis 7.4.

use crate::streams::{check, check_all, waiting};
use crate::support::frame::Frame;
use crate::support::server::Server;

#[test]
fn groups_and_consumers_come_and_go() {
    check(
        r#"
        XGROUP CREATE none g $         => -ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM option to create an empty stream automatically.
        XGROUP CREATE none g x MKSTREAM => -ERR Invalid stream ID specified as stream command argument
        EXISTS none                    => 0
        XGROUP CREATE s g $ MKSTREAM   => OK
        XGROUP CREATE s g $            => -BUSYGROUP Consumer Group name already exists
        XGROUP CREATE s g x            => -ERR Invalid stream ID specified as stream command argument
        XGROUP CREATE s h 5-1 ENTRIESREAD 3 => OK
        XGROUP CREATE s i 0 mkstream entriesread -1 => OK
        XGROUP CREATE s j 0 ENTRIESREAD -2 => -ERR value for ENTRIESREAD must be positive or -1
        XGROUP CREATE s j 0 ENTRIESREAD x => -ERR value is not an integer or out of range
        XGROUP CREATE s j 0 ENTRIESREAD => -ERR unknown subcommand or wrong number of arguments for 'CREATE'. Try XGROUP HELP.
        XGROUP CREATE s j 0 junk       => -ERR unknown subcommand or wrong number of arguments for 'CREATE'. Try XGROUP HELP.
        XGROUP CREATE s j 0 MKSTREAM MKSTREAM MKSTREAM MKSTREAM => -ERR unknown subcommand or wrong number of arguments for 'CREATE'. Try XGROUP HELP.
        XGROUP CREATE s j -            => -ERR Invalid stream ID specified as stream command argument
        XGROUP CREATE s j              => -ERR wrong number of arguments for 'xgroup|create' command
        XINFO GROUPS s                 => [["name", "g", "consumers", 0, "pending", 0, "last-delivered-id", "0-0", "entries-read", nil, "lag", 0], ["name", "h", "consumers", 0, "pending", 0, "last-delivered-id", "5-1", "entries-read", 3, "lag", 0], ["name", "i", "consumers", 0, "pending", 0, "last-delivered-id", "0-0", "entries-read", nil, "lag", 0]]
        XGROUP SETID s h 7             => OK
        XGROUP SETID s h $ ENTRIESREAD 9 => OK
        XGROUP SETID s i +             => OK
        XGROUP SETID s i x             => -ERR Invalid stream ID specified as stream command argument
        XGROUP SETID s i 0 MKSTREAM    => -ERR unknown subcommand or wrong number of arguments for 'SETID'. Try XGROUP HELP.
        XGROUP SETID s i 0 ENTRIESREAD 1 ENTRIESREAD 2 => -ERR unknown subcommand or wrong number of arguments for 'SETID'. Try XGROUP HELP.
        XGROUP SETID s nope 0          => -NOGROUP No such consumer group 'nope' for key name 's'
        XGROUP SETID none g 0          => -ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM option to create an empty stream automatically.
        XGROUP SETID s i               => -ERR wrong number of arguments for 'xgroup|setid' command
        XINFO GROUPS s                 => [["name", "g", "consumers", 0, "pending", 0, "last-delivered-id", "0-0", "entries-read", nil, "lag", 0], ["name", "h", "consumers", 0, "pending", 0, "last-delivered-id", "0-0", "entries-read", 9, "lag", 0], ["name", "i", "consumers", 0, "pending", 0, "last-delivered-id", "18446744073709551615-18446744073709551615", "entries-read", nil, "lag", 0]]
        XGROUP CREATECONSUMER s g bob  => 1
        XGROUP CREATECONSUMER s g alice => 1
        XGROUP CREATECONSUMER s g bob  => 0
        XGROUP CREATECONSUMER s nope bob => -NOGROUP No such consumer group 'nope' for key name 's'
        XGROUP CREATECONSUMER none g bob => -ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM option to create an empty stream automatically.
        XGROUP CREATECONSUMER s g      => -ERR wrong number of arguments for 'xgroup|createconsumer' command
        XGROUP DELCONSUMER s g bob     => 0
        XGROUP DELCONSUMER s g bob     => 0
        XGROUP DELCONSUMER s nope bob  => -NOGROUP No such consumer group 'nope' for key name 's'
        XGROUP DELCONSUMER none g bob  => -ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM option to create an empty stream automatically.
        XGROUP DESTROY s h             => 1
        XGROUP DESTROY s h             => 0
        XGROUP DESTROY none h          => -ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM option to create an empty stream automatically.
        XGROUP DESTROY s               => -ERR wrong number of arguments for 'xgroup|destroy' command
        XGROUP                         => -ERR wrong number of arguments for 'xgroup' command
        XGROUP nope s                  => -ERR unknown subcommand 'nope'. Try XGROUP HELP.
        XGROUP HELP x                  => -ERR wrong number of arguments for 'xgroup|help' command
        SET str x                      => OK
        XGROUP CREATE str g 0 MKSTREAM => -WRONGTYPE Operation against a key holding the wrong kind of value
        XGROUP SETID str g 0           => -WRONGTYPE Operation against a key holding the wrong kind of value
        XGROUP DESTROY str g           => -WRONGTYPE Operation against a key holding the wrong kind of value
        XINFO GROUPS s                 => [["name", "g", "consumers", 1, "pending", 0, "last-delivered-id", "0-0", "entries-read", nil, "lag", 0], ["name", "i", "consumers", 0, "pending", 0, "last-delivered-id", "18446744073709551615-18446744073709551615", "entries-read", nil, "lag", 0]]
        "#,
    );
}

#[test]
fn pending_entries_are_told_and_acknowledged() {
    check(
        r#"
        XADD s 1 f a                   => "1-0"
        XADD s 2 f b                   => "2-0"
        XADD s 3 f c                   => "3-0"
        XGROUP CREATE s g 0            => OK
        XPENDING s g                   => [0, nil, nil, nil]
        XPENDING s g - + 10            => []
        XREADGROUP GROUP g alice COUNT 2 STREAMS s > => [["s", [["1-0", ["f", "a"]], ["2-0", ["f", "b"]]]]]
        XREADGROUP GROUP g bob STREAMS s > => [["s", [["3-0", ["f", "c"]]]]]
        XREADGROUP GROUP g bob STREAMS s > => nil
        XPENDING s g                   => [3, "1-0", "3-0", [["alice", "2"], ["bob", "1"]]]
        XACK s g 2 9                   => 1
        XACK s g 2                     => 0
        XACK s g 1 x                   => -ERR Invalid stream ID specified as stream command argument
        XACK s nope 1                  => 0
        XACK s nope x                  => 0
        XACK none g x                  => 0
        XPENDING s g                   => [2, "1-0", "3-0", [["alice", "1"], ["bob", "1"]]]
        XPENDING s g - + 10 carol      => []
        XPENDING s g - + 0             => []
        XPENDING s g - + -1            => []
        XPENDING s g IDLE 100000000 - + 10 => []
        XPENDING s g IDLE 100000000 - + 10 alice => []
        XPENDING s g idle x - + 10     => -ERR value is not an integer or out of range
        XPENDING s g IDLE 1 - +        => -ERR syntax error
        XPENDING s g IDLE 1 - + 10 alice more => -ERR syntax error
        XPENDING s g -                 => -ERR syntax error
        XPENDING s g - +               => -ERR syntax error
        XPENDING s g - + x             => -ERR value is not an integer or out of range
        XPENDING s g x + 10            => -ERR Invalid stream ID specified as stream command argument
        XPENDING s g (18446744073709551615-18446744073709551615 + 10 => -ERR invalid start ID for the interval
        XPENDING s g - (0-0 10         => -ERR invalid end ID for the interval
        XPENDING s nope                => -NOGROUP No such key 's' or consumer group 'nope'
        XPENDING none g                => -NOGROUP No such key 'none' or consumer group 'g'
        XPENDING none g x + 1          => -ERR Invalid stream ID specified as stream command argument
        XACK s g                       => -ERR wrong number of arguments for 'xack' command
        SET str x                      => OK
        XACK str g 1                   => -WRONGTYPE Operation against a key holding the wrong kind of value
        XPENDING str g                 => -WRONGTYPE Operation against a key holding the wrong kind of value
        XGROUP DELCONSUMER s g alice   => 1
        XPENDING s g                   => [1, "3-0", "3-0", [["bob", "1"]]]
        "#,
    );
}

#[test]
fn a_group_reads() {
    check(
        r#"
        XADD s 1 f a                   => "1-0"
        XADD s 2 f b                   => "2-0"
        XGROUP CREATE s g 0            => OK
        XREADGROUP GROUP g alice STREAMS s 0 => [["s", []]]
        XREADGROUP GROUP g alice COUNT 1 STREAMS s > => [["s", [["1-0", ["f", "a"]]]]]
        XREADGROUP GROUP g alice NOACK STREAMS s > => [["s", [["2-0", ["f", "b"]]]]]
        XREADGROUP GROUP g alice STREAMS s 0 => [["s", [["1-0", ["f", "a"]]]]]
        XDEL s 1                       => 1
        XREADGROUP GROUP g alice STREAMS s 0 => [["s", [["1-0", nil]]]]
        XREADGROUP GROUP g alice STREAMS s 1 => [["s", []]]
        XREADGROUP GROUP g alice STREAMS s > => nil
        XREADGROUP GROUP nope alice STREAMS s > => -NOGROUP No such key 's' or consumer group 'nope' in XREADGROUP with GROUP option
        XREADGROUP GROUP g alice STREAMS none > => -NOGROUP No such key 'none' or consumer group 'g' in XREADGROUP with GROUP option
        XREADGROUP GROUP g alice STREAMS s $ => -ERR The $ ID is meaningless in the context of XREADGROUP: you want to read the history of this consumer by specifying a proper ID, or use the > ID to get new messages. The $ ID would just return an empty result set.
        XREADGROUP GROUP g alice STREAMS s x => -ERR Invalid stream ID specified as stream command argument
        XREADGROUP GROUP g alice STREAMS s => -ERR wrong number of arguments for 'xreadgroup' command
        XREADGROUP COUNT 1 NOACK STREAMS s > => -ERR Missing GROUP option for XREADGROUP
        XREADGROUP COUNT 1 BLOCK 0 STREAMS s > => -ERR Missing GROUP option for XREADGROUP
        XREADGROUP GROUP streams c STREAMS s > => -NOGROUP No such key 's' or consumer group 'streams' in XREADGROUP with GROUP option
        XREADGROUP COUNT 1 GROUP streams c STREAMS s > => -NOGROUP No such key 's' or consumer group 'streams' in XREADGROUP with GROUP option
        XREADGROUP GROUP g alice junk STREAMS s > => -ERR syntax error
        SET str x                      => OK
        XREADGROUP GROUP g alice STREAMS str > => -WRONGTYPE Operation against a key holding the wrong kind of value
        "#,
    );
}

#[test]
fn pending_entries_are_claimed() {
    check(
        r#"
        XADD s 1 f a                   => "1-0"
        XADD s 2 f b                   => "2-0"
        XADD s 3 f c                   => "3-0"
        XGROUP CREATE s g 0            => OK
        XREADGROUP GROUP g alice COUNT 2 STREAMS s > => [["s", [["1-0", ["f", "a"]], ["2-0", ["f", "b"]]]]]
        XCLAIM s g bob 100000000 1     => []
        XCLAIM s g bob 0 1 3 9         => [["1-0", ["f", "a"]]]
        XCLAIM s g bob 0 3 FORCE       => [["3-0", ["f", "c"]]]
        XCLAIM s g bob -5 2 JUSTID     => ["2-0"]
        XPENDING s g                   => [3, "1-0", "3-0", [["bob", "3"]]]
        XDEL s 2                       => 1
        XCLAIM s g alice 0 1 2 3 justid => ["1-0", "3-0"]
        XPENDING s g                   => [2, "1-0", "3-0", [["alice", "2"]]]
        XCLAIM s g alice 0 1 IDLE 5000 RETRYCOUNT 7 LASTID 9-9 JUSTID => ["1-0"]
        XCLAIM s g alice 0 1 TIME 1000 JUSTID => ["1-0"]
        XINFO GROUPS s                 => [["name", "g", "consumers", 2, "pending", 2, "last-delivered-id", "9-9", "entries-read", 2, "lag", 1]]
        XCLAIM s g alice x 1           => -ERR Invalid min-idle-time argument for XCLAIM
        XCLAIM s g alice 0 x           => -ERR Unrecognized XCLAIM option 'x'
        XCLAIM s g alice 0 1 IDLE x    => -ERR Invalid IDLE option argument for XCLAIM
        XCLAIM s g alice 0 1 TIME x    => -ERR Invalid TIME option argument for XCLAIM
        XCLAIM s g alice 0 1 RETRYCOUNT x => -ERR Invalid RETRYCOUNT option argument for XCLAIM
        XCLAIM s g alice 0 1 LASTID x  => -ERR Invalid stream ID specified as stream command argument
        XCLAIM s g alice 0 1 IDLE      => -ERR Unrecognized XCLAIM option 'IDLE'
        XCLAIM s g alice 0 1 JUSTID 2  => -ERR Unrecognized XCLAIM option '2'
        XCLAIM s nope alice 0 1        => -NOGROUP No such key 's' or consumer group 'nope'
        XCLAIM none g alice 0 1        => -NOGROUP No such key 'none' or consumer group 'g'
        XCLAIM none g alice x x        => -NOGROUP No such key 'none' or consumer group 'g'
        XCLAIM s g alice 0             => -ERR wrong number of arguments for 'xclaim' command
        SET str x                      => OK
        XCLAIM str g alice 0 1         => -WRONGTYPE Operation against a key holding the wrong kind of value
        "#,
    );
}

#[test]
fn long_pending_entries_are_claimed() {
    check(
        r#"
        XADD s 1 f a                   => "1-0"
        XADD s 2 f b                   => "2-0"
        XADD s 3 f c                   => "3-0"
        XADD s 4 f d                   => "4-0"
        XGROUP CREATE s g 0            => OK
        XREADGROUP GROUP g alice STREAMS s > => [["s", [["1-0", ["f", "a"]], ["2-0", ["f", "b"]], ["3-0", ["f", "c"]], ["4-0", ["f", "d"]]]]]
        XAUTOCLAIM s g bob 100000000 0 => ["0-0", [], []]
        XAUTOCLAIM s g bob 0 0 COUNT 2 => ["3-0", [["1-0", ["f", "a"]], ["2-0", ["f", "b"]]], []]
        XDEL s 3                       => 1
        XAUTOCLAIM s g bob 0 3-0 COUNT 1 => ["4-0", [], ["3-0"]]
        XAUTOCLAIM s g bob 0 (1 JUSTID count 10 => ["0-0", ["2-0", "4-0"], []]
        XAUTOCLAIM s g bob 0 -         => ["0-0", [["1-0", ["f", "a"]], ["2-0", ["f", "b"]], ["4-0", ["f", "d"]]], []]
        XAUTOCLAIM s g bob 0 +         => ["0-0", [], []]
        XAUTOCLAIM s g bob x 0         => -ERR Invalid min-idle-time argument for XAUTOCLAIM
        XAUTOCLAIM s g bob 0 x         => -ERR Invalid stream ID specified as stream command argument
        XAUTOCLAIM s g bob 0 (18446744073709551615-18446744073709551615 => -ERR invalid start ID for the interval
        XAUTOCLAIM s g bob 0 0 COUNT 0 => -ERR COUNT must be > 0
        XAUTOCLAIM s g bob 0 0 COUNT x => -ERR COUNT must be > 0
        XAUTOCLAIM s g bob 0 0 COUNT 8070450532247928833 => -ERR COUNT must be > 0
        XAUTOCLAIM s g bob 0 0 COUNT   => -ERR syntax error
        XAUTOCLAIM s g bob 0 0 junk    => -ERR syntax error
        XAUTOCLAIM s nope bob 0 0      => -NOGROUP No such key 's' or consumer group 'nope'
        XAUTOCLAIM none g bob 0 0      => -NOGROUP No such key 'none' or consumer group 'g'
        XAUTOCLAIM s g bob 0           => -ERR wrong number of arguments for 'xautoclaim' command
        SET str x                      => OK
        XAUTOCLAIM str g bob 0 0       => -WRONGTYPE Operation against a key holding the wrong kind of value
        "#,
    );
}

#[test]
fn streams_are_looked_into() {
    check(
        r#"
        XINFO STREAM none              => -ERR no such key
        XADD s 1 f a                   => "1-0"
        XADD s 2 f b                   => "2-0"
        XGROUP CREATE s g 0            => OK
        XREADGROUP GROUP g alice COUNT 1 STREAMS s > => [["s", [["1-0", ["f", "a"]]]]]
        XINFO STREAM s                 => ["length", 2, "radix-tree-keys", 1, "radix-tree-nodes", 2, "last-generated-id", "2-0", "max-deleted-entry-id", "0-0", "entries-added", 2, "recorded-first-entry-id", "1-0", "groups", 1, "first-entry", ["1-0", ["f", "a"]], "last-entry", ["2-0", ["f", "b"]]]
        XINFO GROUPS s                 => [["name", "g", "consumers", 1, "pending", 1, "last-delivered-id", "1-0", "entries-read", 1, "lag", 1]]
        XINFO STREAM s junk            => -ERR unknown subcommand or wrong number of arguments for 'STREAM'. Try XINFO HELP.
        XINFO STREAM s FULL COUNT      => -ERR unknown subcommand or wrong number of arguments for 'STREAM'. Try XINFO HELP.
        XINFO STREAM s FULL junk 1     => -ERR unknown subcommand or wrong number of arguments for 'STREAM'. Try XINFO HELP.
        XINFO STREAM s FULL COUNT x    => -ERR value is not an integer or out of range
        XINFO GROUPS none              => -ERR no such key
        XINFO CONSUMERS s nope         => -NOGROUP No such consumer group 'nope' for key name 's'
        XINFO CONSUMERS none g         => -ERR no such key
        XINFO                          => -ERR wrong number of arguments for 'xinfo' command
        XINFO nope                     => -ERR unknown subcommand 'nope'. Try XINFO HELP.
        XINFO CONSUMERS s              => -ERR wrong number of arguments for 'xinfo|consumers' command
        XINFO HELP x                   => -ERR wrong number of arguments for 'xinfo|help' command
        SET str x                      => OK
        XINFO STREAM str               => -WRONGTYPE Operation against a key holding the wrong kind of value
        XINFO GROUPS str               => -WRONGTYPE Operation against a key holding the wrong kind of value
        XINFO CONSUMERS str g          => -WRONGTYPE Operation against a key holding the wrong kind of value
        "#,
    );
}

#[test]
fn a_stream_is_looked_into_completely() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    for line in [
        "XADD s 100 a 1",
        "XADD s 101 b 1",
        "XADD s 102 c 1",
        "XGROUP CREATE s g 0",
        "XGROUP CREATE s h 0",
        "XREADGROUP GROUP g alice COUNT 1 STREAMS s >",
        "XREADGROUP GROUP g bob COUNT 1 STREAMS s >",
        "XREADGROUP GROUP g bob NOACK COUNT 1 STREAMS s >",
        "XCLAIM s g alice 0 100 TIME 1000 JUSTID",
        "XDEL s 101",
    ] {
        assert!(!client.line(line).is_error(), "{line}");
    }
    let full = client.line("XINFO STREAM s FULL").pairs();
    let field = |name: &str| {
        let found = full.iter().find(|(key, _)| key.text() == name);
        found.unwrap_or_else(|| panic!("no {name}")).1.clone()
    };
    assert_eq!(full.len(), 9);
    assert_eq!(field("entries").to_string(), r#"[["100-0", ["a", "1"]], ["102-0", ["c", "1"]]]"#);
    assert_eq!(field("recorded-first-entry-id").text(), "100-0");
    assert_eq!(field("max-deleted-entry-id").text(), "101-0");
    let groups: Vec<_> = field("groups").items().iter().map(Frame::pairs).collect();
    let names: Vec<String> = groups[0].iter().map(|(key, _)| key.text()).collect();
    let expected = ["name", "last-delivered-id", "entries-read", "lag", "pel-count", "pending", "consumers"];
    assert_eq!(names, expected);
    assert_eq!(groups[0][1].1.text(), "102-0");
    assert_eq!(groups[0][5].1.items()[0].to_string(), r#"["100-0", "alice", 1000, 1]"#);
    assert_eq!(groups[1][3].1, Frame::Null, "a deleted entry hides how far behind the group is");
    let consumer = groups[0][6].1.items()[0].pairs();
    let names: Vec<String> = consumer.iter().map(|(key, _)| key.text()).collect();
    assert_eq!(names, ["name", "seen-time", "active-time", "pel-count", "pending"]);
    assert_eq!(consumer[4].1.to_string(), r#"[["100-0", 1000, 1]]"#);
    let one = client.line("XINFO STREAM s FULL COUNT 1").pairs();
    assert_eq!(one[7].1.to_string(), r#"[["100-0", ["a", "1"]]]"#);

    let mut client = server.connect().hello3();
    let consumers = client.line("XINFO CONSUMERS s g");
    let bob = consumers.items()[1].pairs();
    let names: Vec<String> = bob.iter().map(|(key, _)| key.text()).collect();
    assert_eq!(names, ["name", "pending", "idle", "inactive"]);
    assert!(bob[2].1.integer() >= 0 && bob[3].1.integer() >= 0);
    assert!(client.line("XGROUP HELP").items()[0].text().starts_with("XGROUP <subcommand>"));
    assert!(client.line("XINFO HELP").items()[0].text().starts_with("XINFO <subcommand>"));
}

#[test]
fn groups_know_how_far_behind_they_are() {
    check(
        r#"
        XADD s 1 f v                   => "1-0"
        XADD s 2 f v                   => "2-0"
        XADD s 3 f v                   => "3-0"
        XGROUP CREATE s g 0            => OK
        XINFO GROUPS s                 => [["name", "g", "consumers", 0, "pending", 0, "last-delivered-id", "0-0", "entries-read", nil, "lag", 3]]
        XREADGROUP GROUP g c COUNT 1 NOACK STREAMS s > => [["s", [["1-0", ["f", "v"]]]]]
        XINFO GROUPS s                 => [["name", "g", "consumers", 1, "pending", 0, "last-delivered-id", "1-0", "entries-read", 1, "lag", 2]]
        XDEL s 2                       => 1
        XINFO GROUPS s                 => [["name", "g", "consumers", 1, "pending", 0, "last-delivered-id", "1-0", "entries-read", 1, "lag", nil]]
        XREADGROUP GROUP g c NOACK STREAMS s > => [["s", [["3-0", ["f", "v"]]]]]
        XINFO GROUPS s                 => [["name", "g", "consumers", 1, "pending", 0, "last-delivered-id", "3-0", "entries-read", 3, "lag", 0]]
        "#,
    );
}

#[test]
fn a_group_waits_for_an_entry() {
    let server = Server::start(&[]);
    let (mut writer, mut reader) = (server.connect(), server.connect());
    let wait = ["XREADGROUP", "GROUP", "g", "c", "BLOCK", "0", "STREAMS", "s", ">"];
    let gone = "-NOGROUP No such key 's' or consumer group 'g' in XREADGROUP with GROUP option";
    let cases = [
        ("XADD s 7 f v", r#"[["s", [["7-0", ["f", "v"]]]]]"#),
        ("XGROUP DESTROY s g", gone),
        ("DEL s", gone),
        ("FLUSHALL", gone),
        ("SET s x", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
        ("RENAME other s", gone),
    ];
    for (line, expected) in cases {
        check_all(
            &mut writer,
            "FLUSHALL => OK\nXGROUP CREATE s g $ MKSTREAM => OK\nXADD other 1 f v => \"1-0\"",
        );
        reader.send(&wait);
        waiting(&mut writer, 1);
        assert!(!writer.line(line).is_error());
        assert_eq!(reader.reply().to_string(), expected, "{line}");
    }
    check_all(
        &mut reader,
        r#"
        DEL s                          => 1
        XGROUP CREATE s g $ MKSTREAM   => OK
        XREADGROUP GROUP g c BLOCK 1 STREAMS s > => nil
        XREADGROUP GROUP g c BLOCK 0 STREAMS s 0 => [["s", []]]
        XINFO GROUPS s                 => [["name", "g", "consumers", 1, "pending", 0, "last-delivered-id", "0-0", "entries-read", nil, "lag", 0]]
        "#,
    );
}

#[test]
fn an_entry_goes_to_who_waited_longest() {
    let server = Server::start(&[]);
    let (mut writer, mut first, mut second) = (server.connect(), server.connect(), server.connect());
    writer.check("XGROUP CREATE s g $ MKSTREAM", "OK");
    first.send(&["XREADGROUP", "GROUP", "g", "one", "BLOCK", "0", "STREAMS", "s", ">"]);
    waiting(&mut writer, 1);
    second.send(&["XREADGROUP", "GROUP", "g", "two", "BLOCK", "0", "STREAMS", "s", ">"]);
    waiting(&mut writer, 2);
    writer.check("XADD s 1 f a", "\"1-0\"");
    assert_eq!(first.reply().to_string(), r#"[["s", [["1-0", ["f", "a"]]]]]"#);
    writer.check("XADD s 2 f b", "\"2-0\"");
    assert_eq!(second.reply().to_string(), r#"[["s", [["2-0", ["f", "b"]]]]]"#);
    writer.check("XPENDING s g", r#"[2, "1-0", "2-0", [["one", "1"], ["two", "1"]]]"#);
}

#[test]
fn what_groups_read_breaks_no_transaction() {
    check(
        r#"
        XADD s 1 f v                   => "1-0"
        XGROUP CREATE s g 0            => OK
        WATCH s                        => OK
        XREADGROUP GROUP g c STREAMS s > => [["s", [["1-0", ["f", "v"]]]]]
        XACK s g 1                     => 1
        XGROUP SETID s g 0             => OK
        XGROUP CREATE s h 0            => OK
        MULTI                          => OK
        XLEN s                         => QUEUED
        EXEC                           => [1]
        WATCH s                        => OK
        XDEL s 1                       => 1
        MULTI                          => OK
        XLEN s                         => QUEUED
        EXEC                           => nil
        "#,
    );
}
