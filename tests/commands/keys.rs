//! Generic keys: existence, renaming, copying, listing, databases, OBJECT. Expected replies are those of Redis 7.4.

use crate::support::client::Client;
use crate::support::frame::Frame;
use crate::support::server::both_protocols;
use std::collections::HashSet;

#[track_caller]
fn check(script: &str) {
    both_protocols(&[], |_, client| client.check_all(script));
}

#[test]
fn presence() {
    check(
        r#"
        MSET a 1 b 2 c 3            => OK
        EXISTS a b a none           => 3
        TOUCH a none c              => 2
        TYPE a                      => string
        TYPE none                   => none
        DEL a none a                => 1
        UNLINK b c none             => 2
        EXISTS a b c                => 0
        DBSIZE                      => 0
        DEL                         => -ERR wrong number of arguments for 'del' command
        UNLINK                      => -ERR wrong number of arguments for 'unlink' command
        EXISTS                      => -ERR wrong number of arguments for 'exists' command
        TOUCH                       => -ERR wrong number of arguments for 'touch' command
        TYPE                        => -ERR wrong number of arguments for 'type' command
        DBSIZE x                    => -ERR wrong number of arguments for 'dbsize' command
        "#,
    );
}

#[test]
fn renaming_takes_value_and_deadline_along() {
    check(
        r#"
        SET a v EXAT 4000000000     => OK
        RENAME a b                  => OK
        GET a                       => nil
        EXPIRETIME b                => 4000000000
        SET c w                     => OK
        RENAME c b                  => OK
        GET b                       => "w"
        EXPIRETIME b                => -1
        RENAME b b                  => OK
        RENAME none b               => -ERR no such key
        RENAME none none            => -ERR no such key
        GET b                       => "w"
        SET d x                     => OK
        RENAMENX b d                => 0
        RENAMENX b e                => 1
        RENAMENX e e                => 0
        RENAMENX none e             => -ERR no such key
        MGET b d e                  => [nil, "x", "w"]
        RENAME a                    => -ERR wrong number of arguments for 'rename' command
        RENAMENX a                  => -ERR wrong number of arguments for 'renamenx' command
        "#,
    );
}

#[test]
fn copies_stand_alone() {
    check(
        r#"
        SET a v EXAT 4000000000     => OK
        COPY a b                    => 1
        EXPIRETIME b                => 4000000000
        APPEND b w                  => 2
        GET a                       => "v"
        COPY a b                    => 0
        COPY a b REPLACE            => 1
        GET b                       => "v"
        COPY none b REPLACE         => 0
        GET b                       => "v"
        COPY a a                    => -ERR source and destination objects are the same
        COPY a a DB 1               => 1
        COPY a a DB 16              => -ERR DB index is out of range
        COPY a a DB -1              => -ERR DB index is out of range
        COPY a b DB x               => -ERR value is not an integer or out of range
        COPY a b DB                 => -ERR syntax error
        COPY a b JUNK               => -ERR syntax error
        COPY a                      => -ERR wrong number of arguments for 'copy' command
        SELECT 1                    => OK
        GET a                       => "v"
        EXPIRETIME a                => 4000000000
        "#,
    );
}

#[test]
fn databases_are_apart() {
    check(
        r#"
        SET k zero                  => OK
        SELECT 1                    => OK
        GET k                       => nil
        SET k one                   => OK
        SWAPDB 0 1                  => OK
        GET k                       => "zero"
        SWAPDB 1 1                  => OK
        MOVE k 0                    => 0
        MOVE k 2                    => 1
        EXISTS k                    => 0
        MOVE none 2                 => 0
        MOVE k 1                    => -ERR source and destination objects are the same
        MOVE k x                    => -ERR value is not an integer or out of range
        SELECT 2                    => OK
        GET k                       => "zero"
        FLUSHDB                     => OK
        DBSIZE                      => 0
        SELECT 0                    => OK
        GET k                       => "one"
        SELECT 16                   => -ERR DB index is out of range
        SELECT -1                   => -ERR DB index is out of range
        SELECT x                    => -ERR value is not an integer or out of range
        GET k                       => "one"
        SWAPDB x 1                  => -ERR invalid first DB index
        SWAPDB 1 x                  => -ERR invalid second DB index
        SWAPDB 0 16                 => -ERR DB index is out of range
        "#,
    );
}

#[test]
fn flushing() {
    for how in ["", " ASYNC", " SYNC", " async"] {
        both_protocols(&[], |_, client| {
            client.check("MSET a 1 b 2", "OK");
            client.check("SELECT 3", "OK");
            client.check("SET c 3", "OK");
            client.check(&format!("FLUSHDB{how}"), "OK");
            client.check("DBSIZE", "0");
            client.check("SET c 3", "OK");
            client.check("SELECT 0", "OK");
            client.check("DBSIZE", "2");
            client.check(&format!("FLUSHALL{how}"), "OK");
            client.check("DBSIZE", "0");
            client.check("SELECT 3", "OK");
            client.check("DBSIZE", "0");
        });
    }
    check(
        "
        FLUSHDB JUNK                => -ERR syntax error
        FLUSHALL ASYNC SYNC         => -ERR syntax error
        ",
    );
}

#[test]
fn listing_by_pattern() {
    check(
        r#"
        MSET hello 1 hallo 2 hillo 3 h*llo 4 => OK
        KEYS hillo                  => ["hillo"]
        KEYS h[^ei]llo?             => []
        KEYS h\*llo                 => ["h*llo"]
        KEYS none                   => []
        KEYS                        => -ERR wrong number of arguments for 'keys' command
        "#,
    );
    both_protocols(&[], |_, client| {
        client.check("MSET hello 1 hallo 2 hillo 3 x 4", "OK");
        assert_eq!(names(&client.line("KEYS h[ae]llo")), set(&["hallo", "hello"]));
        assert_eq!(names(&client.line("KEYS *")), set(&["hallo", "hello", "hillo", "x"]));
        assert!(set(&["hallo", "hello", "hillo", "x"]).contains(&client.line("RANDOMKEY").text()));
        client.check("FLUSHALL", "OK");
        client.check("RANDOMKEY", "nil");
    });
}

#[test]
fn a_scan_meets_every_key_once_or_more() {
    both_protocols(&[], |_, client| {
        for index in 0..1000 {
            client.send(&["SET", &format!("key:{index}"), "v"]);
        }
        for _ in 0..1000 {
            client.reply();
        }
        assert_eq!(scan_all(client, "").len(), 1000);
        assert_eq!(scan_all(client, "COUNT 1").len(), 1000);
        assert_eq!(scan_all(client, "COUNT 100000 TYPE string").len(), 1000);
        assert_eq!(scan_all(client, "MATCH key:77? TYPE STRING").len(), 10);
        assert_eq!(scan_all(client, "MATCH none*").len(), 0);
        client.check_all(
            r#"
            SCAN x                  => -ERR invalid cursor
            SCAN 0 COUNT 0          => -ERR syntax error
            SCAN 0 COUNT x          => -ERR value is not an integer or out of range
            SCAN 0 MATCH            => -ERR syntax error
            SCAN 0 JUNK             => -ERR syntax error
            SCAN                    => -ERR wrong number of arguments for 'scan' command
            "#,
        );
    });
}

#[test]
fn object() {
    check(
        r#"
        SET number 12345            => OK
        SET text abc                => OK
        SET long "forty-five bytes are one more than embstr can." => OK
        OBJECT ENCODING number      => "int"
        OBJECT ENCODING text        => "embstr"
        OBJECT ENCODING long        => "raw"
        OBJECT ENCODING none        => nil
        OBJECT REFCOUNT text        => 1
        OBJECT REFCOUNT none        => nil
        OBJECT IDLETIME none        => nil
        OBJECT ENCODING             => -ERR wrong number of arguments for 'object|encoding' command
        OBJECT JUNK x               => -ERR unknown subcommand 'JUNK'. Try OBJECT HELP.
        OBJECT                      => -ERR wrong number of arguments for 'object' command
        "#,
    );
    both_protocols(&[], |_, client| {
        client.check("SET k v", "OK");
        assert!(client.line("OBJECT IDLETIME k").integer() <= 1);
        client.check("CONFIG SET maxmemory-policy allkeys-lfu", "OK");
        assert!((0..=255).contains(&client.line("OBJECT FREQ k").integer()));
        client.check("CONFIG SET maxmemory-policy allkeys-lru", "OK");
        assert!(client.line("OBJECT HELP").items().len() > 5);
    });
}

fn set(of: &[&str]) -> HashSet<String> {
    of.iter().map(|name| (*name).to_owned()).collect()
}

fn names(reply: &Frame) -> HashSet<String> {
    reply.items().iter().map(Frame::text).collect()
}

/// What a whole scan with these options returns.
#[track_caller]
fn scan_all(client: &mut Client, options: &str) -> HashSet<String> {
    let mut found = HashSet::new();
    let mut cursor = "0".to_owned();
    for _ in 0..100_000 {
        let reply = client.line(&format!("SCAN {cursor} {options}"));
        let [next, keys] = reply.items() else {
            panic!("SCAN {cursor} {options}: {reply}");
        };
        found.extend(names(keys));
        cursor = next.text();
        if cursor == "0" {
            return found;
        }
    }
    panic!("SCAN {options} does not end");
}
