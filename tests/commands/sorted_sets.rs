//! Sorted sets: every option and every error of every command, in both forms. Expected replies are those of Redis 7.4.

use std::collections::BTreeSet;

use crate::support::client::Client;
use crate::support::frame::Frame;
use crate::support::server::{Server, both_protocols, wait_until};

/// Has every sorted set be large.
const LARGE: &[&str] = &["--zset-max-listpack-entries", "0"];

/// Runs a script over both protocols and in both forms, each time on an empty server. Where protocols differ, the reply
/// in RESP2 stands before a bar, that in RESP3 behind it.
#[track_caller]
fn check(script: &str) {
    for flags in [&[][..], LARGE] {
        both_protocols(flags, |_, client| {
            let is_resp3 = client.is_resp3();
            let chosen = |line: &str| match line.split_once(" | ") {
                Some((resp2, _)) if !is_resp3 => resp2.to_owned(),
                Some((resp2, resp3)) => {
                    let command = resp2.split_once(" => ").map_or(resp2, |(command, _)| command);
                    format!("{command} => {resp3}")
                }
                None => line.to_owned(),
            };
            client.check_all(&script.lines().map(chosen).collect::<Vec<_>>().join("\n"));
        });
    }
}

#[test]
fn members_are_added_and_changed() {
    check(
        r#"
        ZADD z 1 a 2 b 1.5 c        => 3
        ZADD z 3 a 2 b 4 d          => 1
        ZADD z CH 5 a 2 b 6 e       => 2
        ZADD z NX 9 a 7 f           => 1
        ZADD z XX CH 8 a 9 g        => 1
        ZADD z GT CH 7 a 9 b        => 1
        ZADD z LT CH 7 a 99 b 1 h   => 2
        ZADD z GT 100 i             => 1
        ZADD z xx gt ch 1 i         => 0
        ZRANGE z 0 -1 WITHSCORES    => ["h", "1", "c", "1.5", "d", "4", "e", "6", "a", "7", "f", "7", "b", "9", "i", "100"] | [["h", ,1], ["c", ,1.5], ["d", ,4], ["e", ,6], ["a", ,7], ["f", ,7], ["b", ,9], ["i", ,100]]
        ZADD z INCR 2 a             => "9" | ,9
        ZADD z NX INCR 2 a          => nil
        ZADD z XX INCR 2 none       => nil
        ZADD z GT INCR -2 a         => nil
        ZADD none XX 1 a            => 0
        ZADD none XX INCR 1 a       => nil
        EXISTS none                 => 0
        ZINCRBY z 0.5 c             => "2" | ,2
        ZINCRBY z -3 new            => "-3" | ,-3
        ZINCRBY inf +inf a          => "inf" | ,inf
        ZINCRBY inf -inf a          => -ERR resulting score is not a number (NaN)
        ZADD inf INCR -inf a        => -ERR resulting score is not a number (NaN)
        ZSCORE inf a                => "inf" | ,inf
        ZADD n 0.1 a 1e20 b -0.25 c 123456789012345678 d 1e-7 e => 5
        ZMSCORE n a b c d e         => ["0.1", "1e+20", "-0.25", "123456789012345680", "1e-7"] | [,0.1, ,1e+20, ,-0.25, ,123456789012345680, ,1e-7]

        ZADD z                      => -ERR wrong number of arguments for 'zadd' command
        ZADD z 1                    => -ERR wrong number of arguments for 'zadd' command
        ZADD z 1 a 2                => -ERR syntax error
        ZADD z NX XX                => -ERR syntax error
        ZADD z NX XX 1 a            => -ERR XX and NX options at the same time are not compatible
        ZADD z NX GT 1 a            => -ERR GT, LT, and/or NX options at the same time are not compatible
        ZADD z LT GT 1 a            => -ERR GT, LT, and/or NX options at the same time are not compatible
        ZADD z INCR 1 a 2 b         => -ERR INCR option supports a single increment-element pair
        ZADD z x a                  => -ERR value is not a valid float
        ZADD z nan a                => -ERR value is not a valid float
        ZADD z 1 new2 x a           => -ERR value is not a valid float
        ZSCORE z new2               => nil
        ZINCRBY z x a               => -ERR value is not a valid float
        ZINCRBY z 1                 => -ERR wrong number of arguments for 'zincrby' command
        SET s v                     => OK
        ZADD s 1 a                  => -WRONGTYPE Operation against a key holding the wrong kind of value
        ZADD s XX 1 a               => -WRONGTYPE Operation against a key holding the wrong kind of value
        ZADD s x a                  => -ERR value is not a valid float
        ZINCRBY s 1 a               => -WRONGTYPE Operation against a key holding the wrong kind of value
        "#,
    );
}

#[test]
fn what_is_known_of_members() {
    check(
        r#"
        ZADD z 1 a 2 b 2 c 3 d      => 4
        TYPE z                      => zset
        ZCARD z                     => 4
        ZCARD none                  => 0
        ZSCORE z b                  => "2" | ,2
        ZSCORE z x                  => nil
        ZSCORE none x               => nil
        ZMSCORE z a x d             => ["1", nil, "3"] | [,1, nil, ,3]
        ZMSCORE none a x            => [nil, nil]
        ZRANK z a                   => 0
        ZRANK z c                   => 2
        ZREVRANK z c                => 1
        ZRANK z x                   => nil
        ZRANK none x                => nil
        ZRANK z c WITHSCORE         => [2, "2"] | [2, ,2]
        ZREVRANK z a withscore      => [3, "1"] | [3, ,1]
        ZREVRANK z x WITHSCORE      => nil
        ZCOUNT z 2 3                => 3
        ZCOUNT z (2 3               => 1
        ZCOUNT z 2 (3               => 2
        ZCOUNT z -inf +inf          => 4
        ZCOUNT z 3 1                => 0
        ZCOUNT none 1 3             => 0
        ZADD l 0 a 0 b 0 c 0 10     => 4
        ZLEXCOUNT l - +             => 4
        ZLEXCOUNT l [a (c           => 2
        ZLEXCOUNT l (a [c           => 2
        ZLEXCOUNT l + -             => 0
        ZLEXCOUNT none - +          => 0

        ZCARD                       => -ERR wrong number of arguments for 'zcard' command
        ZSCORE z                    => -ERR wrong number of arguments for 'zscore' command
        ZMSCORE z                   => -ERR wrong number of arguments for 'zmscore' command
        ZRANK z                     => -ERR wrong number of arguments for 'zrank' command
        ZRANK z a x                 => -ERR syntax error
        ZREVRANK z a WITHSCORE x    => -ERR wrong number of arguments for 'zrevrank' command
        ZCOUNT z x 1                => -ERR min or max is not a float
        ZCOUNT z 1 nan              => -ERR min or max is not a float
        ZLEXCOUNT z a [b            => -ERR min or max not valid string range item
        ZLEXCOUNT z - ++            => -ERR min or max not valid string range item
        SET s v                     => OK
        ZCARD s                     => -WRONGTYPE Operation against a key holding the wrong kind of value
        ZSCORE s a                  => -WRONGTYPE Operation against a key holding the wrong kind of value
        ZMSCORE s a                 => -WRONGTYPE Operation against a key holding the wrong kind of value
        ZRANK s a                   => -WRONGTYPE Operation against a key holding the wrong kind of value
        ZREVRANK s a                => -WRONGTYPE Operation against a key holding the wrong kind of value
        ZCOUNT s 1 2                => -WRONGTYPE Operation against a key holding the wrong kind of value
        ZCOUNT s x 2                => -ERR min or max is not a float
        ZLEXCOUNT s - +             => -WRONGTYPE Operation against a key holding the wrong kind of value
        "#,
    );
}

#[test]
fn ranges_of_ranks() {
    check(
        r#"
        ZADD z 1 a 2 b 3 c 4 d      => 4
        ZRANGE z 0 -1               => ["a", "b", "c", "d"]
        ZRANGE z 1 2                => ["b", "c"]
        ZRANGE z -2 -1 WITHSCORES   => ["c", "3", "d", "4"] | [["c", ,3], ["d", ,4]]
        ZRANGE z 2 1                => []
        ZRANGE z 4 9                => []
        ZRANGE z 0 1 REV            => ["d", "c"]
        ZRANGE z 0 -1 LIMIT 1 -1    => ["a", "b", "c", "d"]
        ZREVRANGE z 0 0 WITHSCORES  => ["d", "4"] | [["d", ,4]]
        ZREVRANGE z -9 99           => ["d", "c", "b", "a"]
        ZRANGE none 0 -1            => []
        ZRANGE z x 1                => -ERR value is not an integer or out of range
        ZRANGE z 0 1.5              => -ERR value is not an integer or out of range
        ZRANGE z 0 1 x              => -ERR syntax error
        ZRANGE z 0 1 REV REV        => -ERR syntax error
        ZRANGE z 0 1 LIMIT 0 1      => -ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX
        ZRANGE z 0 1 LIMIT 0        => -ERR syntax error
        ZREVRANGE z 0 1 REV         => -ERR syntax error
        ZREVRANGE z 0 1 BYSCORE     => -ERR syntax error
        ZRANGE z 0                  => -ERR wrong number of arguments for 'zrange' command
        SET s v                     => OK
        ZRANGE s 0 -1               => -WRONGTYPE Operation against a key holding the wrong kind of value
        ZREVRANGE s 0 -1            => -WRONGTYPE Operation against a key holding the wrong kind of value
        "#,
    );
}

#[test]
fn ranges_of_scores_and_members() {
    check(
        r#"
        ZADD z -inf a 1 b 2 c 2.5 d +inf e => 5
        ZRANGE z 1 2.5 BYSCORE      => ["b", "c", "d"]
        ZRANGE z (1 (2.5 BYSCORE WITHSCORES => ["c", "2"] | [["c", ,2]]
        ZRANGE z -inf +inf BYSCORE LIMIT 1 2 => ["b", "c"]
        ZRANGE z +inf -inf BYSCORE REV LIMIT 1 2 => ["d", "c"]
        ZRANGE z 1 2.5 BYSCORE REV  => []
        ZRANGEBYSCORE z -inf (2     => ["a", "b"]
        ZRANGEBYSCORE z -inf +inf LIMIT 3 -1 => ["d", "e"]
        ZRANGEBYSCORE z -inf +inf LIMIT -1 2 => []
        ZRANGEBYSCORE z -inf +inf LIMIT 0 0 => []
        ZRANGEBYSCORE z 2 2.5 WITHSCORES LIMIT 1 9 => ["d", "2.5"] | [["d", ,2.5]]
        ZREVRANGEBYSCORE z +inf (2  => ["e", "d"]
        ZREVRANGEBYSCORE z 2.5 1 LIMIT 1 1 => ["c"]
        ZREVRANGEBYSCORE z 1 2.5    => []
        ZRANGEBYSCORE none 1 2      => []
        ZADD l 0 a 0 b 0 c 0 d      => 4
        ZRANGE l [b + BYLEX         => ["b", "c", "d"]
        ZRANGE l + (b BYLEX REV LIMIT 1 1 => ["c"]
        ZRANGEBYLEX l - (c          => ["a", "b"]
        ZRANGEBYLEX l [b [c LIMIT 1 9 => ["c"]
        ZREVRANGEBYLEX l (c -       => ["b", "a"]
        ZREVRANGEBYLEX l + - LIMIT 0 1 => ["d"]
        ZRANGEBYLEX l + -           => []

        ZRANGE z 1 x BYSCORE        => -ERR min or max is not a float
        ZRANGEBYSCORE z 1 x         => -ERR min or max is not a float
        ZREVRANGEBYSCORE z [1 2     => -ERR min or max is not a float
        ZRANGEBYSCORE z 1 2 BYSCORE => -ERR syntax error
        ZRANGEBYSCORE z 1 2 LIMIT x 1 => -ERR value is not an integer or out of range
        ZRANGE l a b BYLEX          => -ERR min or max not valid string range item
        ZRANGEBYLEX l a +           => -ERR min or max not valid string range item
        ZREVRANGEBYLEX l - b        => -ERR min or max not valid string range item
        ZRANGE l - + BYLEX WITHSCORES => -ERR syntax error, WITHSCORES not supported in combination with BYLEX
        ZRANGEBYLEX l - + WITHSCORES => -ERR syntax error, WITHSCORES not supported in combination with BYLEX
        SET s v                     => OK
        ZRANGEBYSCORE s 1 2         => -WRONGTYPE Operation against a key holding the wrong kind of value
        ZREVRANGEBYSCORE s 1 2      => -WRONGTYPE Operation against a key holding the wrong kind of value
        ZRANGEBYLEX s - +           => -WRONGTYPE Operation against a key holding the wrong kind of value
        ZREVRANGEBYLEX s + -        => -WRONGTYPE Operation against a key holding the wrong kind of value
        "#,
    );
}

#[test]
fn ranges_are_stored() {
    check(
        r#"
        ZADD z 1 a 2 b 3 c 4 d      => 4
        ZRANGESTORE to z 1 2        => 2
        ZRANGE to 0 -1 WITHSCORES   => ["b", "2", "c", "3"] | [["b", ,2], ["c", ,3]]
        ZRANGESTORE to z 0 0 REV    => 1
        ZRANGE to 0 -1              => ["d"]
        ZRANGESTORE to z (1 3 BYSCORE LIMIT 1 5 => 1
        ZRANGE to 0 -1              => ["c"]
        ZRANGESTORE z z 0 1         => 2
        ZRANGE z 0 -1               => ["a", "b"]
        EXPIRE to 1000              => 1
        ZRANGESTORE to z - + BYLEX  => 2
        TTL to                      => -1
        ZRANGESTORE to none 0 -1    => 0
        EXISTS to                   => 0
        SET s v                     => OK
        ZRANGESTORE s z 5 9         => 0
        EXISTS s                    => 0
        SET s v                     => OK
        ZRANGESTORE to s 0 -1       => -WRONGTYPE Operation against a key holding the wrong kind of value
        ZRANGESTORE to z 0 -1 WITHSCORES => -ERR syntax error
        ZRANGESTORE to z 0          => -ERR wrong number of arguments for 'zrangestore' command
        "#,
    );
}

#[test]
fn members_are_removed() {
    check(
        r#"
        ZADD z 1 a 2 b 3 c 4 d 5 e 6 f 7 g => 7
        ZREM z a x a                => 1
        ZREM none a                 => 0
        ZREMRANGEBYRANK z 0 0       => 1
        ZREMRANGEBYRANK z 9 10      => 0
        ZREMRANGEBYRANK z -1 -1     => 1
        ZREMRANGEBYSCORE z (3 4     => 1
        ZREMRANGEBYSCORE z 100 200  => 0
        ZRANGE z 0 -1               => ["c", "e", "f"]
        ZREMRANGEBYSCORE z -inf +inf => 3
        EXISTS z                    => 0
        ZADD l 0 a 0 b 0 c 0 d      => 4
        ZREMRANGEBYLEX l (a [c      => 2
        ZRANGE l 0 -1               => ["a", "d"]
        ZREM l a d                  => 2
        EXISTS l                    => 0
        ZREMRANGEBYLEX l - +        => 0

        ZREM z                      => -ERR wrong number of arguments for 'zrem' command
        ZREMRANGEBYRANK z 0 x       => -ERR value is not an integer or out of range
        ZREMRANGEBYSCORE z x 1      => -ERR min or max is not a float
        ZREMRANGEBYLEX z x +        => -ERR min or max not valid string range item
        SET s v                     => OK
        ZREM s a                    => -WRONGTYPE Operation against a key holding the wrong kind of value
        ZREMRANGEBYRANK s 0 1       => -WRONGTYPE Operation against a key holding the wrong kind of value
        ZREMRANGEBYSCORE s 0 1      => -WRONGTYPE Operation against a key holding the wrong kind of value
        ZREMRANGEBYLEX s - +        => -WRONGTYPE Operation against a key holding the wrong kind of value
        "#,
    );
}

#[test]
fn members_are_popped() {
    check(
        r#"
        ZADD z 1 a 2 b 3 c 4 d 5 e 6 f => 6
        ZPOPMIN z                   => ["a", "1"] | ["a", ,1]
        ZPOPMAX z                   => ["f", "6"] | ["f", ,6]
        ZPOPMIN z 0                 => []
        ZPOPMAX z 2                 => ["e", "5", "d", "4"] | [["e", ,5], ["d", ,4]]
        ZPOPMIN z 9                 => ["b", "2", "c", "3"] | [["b", ,2], ["c", ,3]]
        EXISTS z                    => 0
        ZPOPMIN z                   => []
        ZPOPMAX z 2                 => []
        ZADD z 1 a 2 b 3 c          => 3
        ZMPOP 2 none z MIN          => ["z", [["a", "1"]]] | ["z", [["a", ,1]]]
        ZMPOP 1 z MAX COUNT 5       => ["z", [["c", "3"], ["b", "2"]]] | ["z", [["c", ,3], ["b", ,2]]]
        ZMPOP 1 z MAX               => nil

        ZPOPMIN z -1                => -ERR value is out of range, must be positive
        ZPOPMAX z x                 => -ERR value is out of range, must be positive
        ZPOPMIN z 1 2               => -ERR syntax error
        ZMPOP 0 z MIN               => -ERR numkeys should be greater than 0
        ZMPOP x z MIN               => -ERR numkeys should be greater than 0
        ZMPOP 1 z                   => -ERR wrong number of arguments for 'zmpop' command
        ZMPOP 2 z MIN               => -ERR syntax error
        ZMPOP 1 z LEFT              => -ERR syntax error
        ZMPOP 1 z MIN COUNT         => -ERR syntax error
        ZMPOP 1 z MIN COUNT 0       => -ERR count should be greater than 0
        ZMPOP 1 z MIN COUNT 1 COUNT 2 => -ERR syntax error
        SET s v                     => OK
        ZPOPMIN s                   => -WRONGTYPE Operation against a key holding the wrong kind of value
        ZPOPMAX s                   => -WRONGTYPE Operation against a key holding the wrong kind of value
        ZMPOP 2 none s MIN          => -WRONGTYPE Operation against a key holding the wrong kind of value
        "#,
    );
}

#[test]
fn commands_that_wait_find_what_is_there() {
    check(
        r#"
        ZADD z 1 a 2 b 3 c 4 d 5 e  => 5
        BZPOPMIN none z 0           => ["z", "a", "1"] | ["z", "a", ,1]
        BZPOPMAX z 0                => ["z", "e", "5"] | ["z", "e", ,5]
        BZMPOP 0 2 none z MIN COUNT 2 => ["z", [["b", "2"], ["c", "3"]]] | ["z", [["b", ,2], ["c", ,3]]]
        BZMPOP 0 1 z MAX            => ["z", [["d", "4"]]] | ["z", [["d", ,4]]]
        BZPOPMIN none 0.001         => nil
        BZPOPMAX none z 0.001       => nil
        BZMPOP 0.001 1 none MAX     => nil
        MULTI                       => OK
        BZPOPMIN none 0             => QUEUED
        BZMPOP 0 1 none MAX         => QUEUED
        EXEC                        => [nil, nil]
        SET s v                     => OK
        BZPOPMIN none s 0           => -WRONGTYPE Operation against a key holding the wrong kind of value
        BZPOPMAX s 0                => -WRONGTYPE Operation against a key holding the wrong kind of value
        BZMPOP 0 1 s MIN            => -WRONGTYPE Operation against a key holding the wrong kind of value
        BZPOPMIN z x                => -ERR timeout is not a float or out of range
        BZPOPMAX z -1               => -ERR timeout is negative
        BZMPOP x 1 z MIN            => -ERR timeout is not a float or out of range
        BZMPOP x 0 z MIN            => -ERR numkeys should be greater than 0
        BZMPOP 0 1 z MIN COUNT -1   => -ERR count should be greater than 0
        BZMPOP 0 1 z                => -ERR wrong number of arguments for 'bzmpop' command
        BZPOPMIN z                  => -ERR wrong number of arguments for 'bzpopmin' command
        "#,
    );
}

/// Sends a request that waits, and waits until it does.
fn begin(server: &Server, line: &str) -> Client {
    let mut control = server.connect();
    let blocked = |control: &mut Client| {
        let page = control.line("INFO clients").text();
        let count = page.lines().find_map(|line| line.strip_prefix("blocked_clients:"));
        count.and_then(|count| count.parse::<usize>().ok()).unwrap_or(0)
    };
    let before = blocked(&mut control);
    let mut client = server.connect();
    client.send_raw(format!("{line}\r\n").as_bytes());
    wait_until("the client waits", || blocked(&mut control) > before);
    client
}

#[test]
fn whoever_waits_is_served_in_order() {
    let server = Server::start(&["--threads", "2"]);
    let mut first = begin(&server, "BZPOPMIN k 0");
    let mut second = begin(&server, "BZPOPMAX other k 0");
    let mut third = begin(&server, "BZMPOP 0 1 k MIN COUNT 5");
    let mut other = server.connect();
    other.check("RPUSH k x", "1");
    other.check("DEL k", "1");
    other.check("ZADD k 1 a 2 b 3 c 4 d", "4");
    assert_eq!(first.reply().to_string(), r#"["k", "a", "1"]"#);
    assert_eq!(second.reply().to_string(), r#"["k", "d", "4"]"#);
    assert_eq!(third.reply().to_string(), r#"["k", [["b", "2"], ["c", "3"]]]"#);
    other.check("EXISTS k", "0");
    let mut last = begin(&server, "BZPOPMIN to 0");
    other.check("ZADD from 7 m", "1");
    other.check("ZUNIONSTORE to 1 from", "1");
    assert_eq!(last.reply().to_string(), r#"["to", "m", "7"]"#);
}

#[test]
fn unions() {
    check(
        r#"
        ZADD x 1 a 2 b 3 c          => 3
        ZADD y 10 b 20 c 30 d       => 3
        ZUNION 2 x y                => ["a", "b", "c", "d"]
        ZUNION 2 x y WITHSCORES     => ["a", "1", "b", "12", "c", "23", "d", "30"] | [["a", ,1], ["b", ,12], ["c", ,23], ["d", ,30]]
        ZUNION 2 x y WEIGHTS 2 0.5 WITHSCORES => ["a", "2", "b", "9", "d", "15", "c", "16"] | [["a", ,2], ["b", ,9], ["d", ,15], ["c", ,16]]
        ZUNION 2 x y AGGREGATE MIN WITHSCORES => ["a", "1", "b", "2", "c", "3", "d", "30"] | [["a", ,1], ["b", ,2], ["c", ,3], ["d", ,30]]
        ZUNION 2 x none AGGREGATE max => ["a", "b", "c"]
        ZUNION 1 none               => []
        ZUNIONSTORE to 2 x y WEIGHTS 1 -1 AGGREGATE SUM => 4
        ZRANGE to 0 -1 WITHSCORES   => ["d", "-30", "c", "-17", "b", "-8", "a", "1"] | [["d", ,-30], ["c", ,-17], ["b", ,-8], ["a", ,1]]
        ZUNIONSTORE x 2 x x         => 3
        ZRANGE x 0 -1 WITHSCORES    => ["a", "2", "b", "4", "c", "6"] | [["a", ,2], ["b", ,4], ["c", ,6]]
        ZUNIONSTORE x 1 none        => 0
        EXISTS x                    => 0
        ZADD i +inf a               => 1
        ZADD j -inf a               => 1
        ZUNION 2 i j WITHSCORES     => ["a", "0"] | [["a", ,0]]
        ZUNION 1 i WEIGHTS 0 WITHSCORES => ["a", "0"] | [["a", ,0]]
        SADD plain a d              => 2
        ZUNION 2 y plain WITHSCORES => ["a", "1", "b", "10", "c", "20", "d", "31"] | [["a", ,1], ["b", ,10], ["c", ,20], ["d", ,31]]
        ZUNIONSTORE to 1 plain WEIGHTS 3 => 2
        ZSCORE to a                 => "3" | ,3

        ZUNION 0 y                  => -ERR at least 1 input key is needed for 'zunion' command
        ZUNIONSTORE to 0 y          => -ERR at least 1 input key is needed for 'zunionstore' command
        ZUNION x y                  => -ERR value is not an integer or out of range
        ZUNION 2 y                  => -ERR syntax error
        ZUNION 1 y WEIGHTS          => -ERR syntax error
        ZUNION 1 y WEIGHTS x        => -ERR weight value is not a float
        ZUNION 1 y AGGREGATE avg    => -ERR syntax error
        ZUNION 1 y LIMIT 1          => -ERR syntax error
        ZUNIONSTORE to 1 y WITHSCORES => -ERR syntax error
        SET s v                     => OK
        ZUNION 2 y s x              => -WRONGTYPE Operation against a key holding the wrong kind of value
        ZUNIONSTORE s 1 y           => 3
        TYPE s                      => zset
        "#,
    );
}

#[test]
fn intersections_and_differences() {
    check(
        r#"
        ZADD x 1 a 2 b 3 c          => 3
        ZADD y 10 b 20 c 30 d       => 3
        ZINTER 2 x y                => ["b", "c"]
        ZINTER 2 x y WITHSCORES WEIGHTS 1 2 => ["b", "22", "c", "43"] | [["b", ,22], ["c", ,43]]
        ZINTER 2 x y AGGREGATE MAX WITHSCORES => ["b", "10", "c", "20"] | [["b", ,10], ["c", ,20]]
        ZINTER 2 x none             => []
        ZINTERSTORE to 2 x y AGGREGATE MIN => 2
        ZRANGE to 0 -1 WITHSCORES   => ["b", "2", "c", "3"] | [["b", ,2], ["c", ,3]]
        ZINTERSTORE to 2 x none     => 0
        EXISTS to                   => 0
        ZINTERCARD 2 x y            => 2
        ZINTERCARD 2 x y LIMIT 1    => 1
        ZINTERCARD 2 x y LIMIT 0    => 2
        ZINTERCARD 2 x none         => 0
        ZDIFF 2 x y                 => ["a"]
        ZDIFF 2 y x WITHSCORES      => ["d", "30"] | [["d", ,30]]
        ZDIFF 2 none x              => []
        ZDIFF 3 x none none         => ["a", "b", "c"]
        ZDIFF 2 x x                 => []
        ZDIFFSTORE to 2 x y         => 1
        ZRANGE to 0 -1              => ["a"]
        ZDIFFSTORE to 2 x x         => 0
        EXISTS to                   => 0
        SADD plain a b 7            => 3
        ZINTER 2 x plain WITHSCORES => ["a", "2", "b", "3"] | [["a", ,2], ["b", ,3]]
        ZDIFF 2 x plain             => ["c"]
        ZDIFF 2 plain x WITHSCORES  => ["7", "1"] | [["7", ,1]]
        ZINTERCARD 2 plain x        => 2

        ZINTER 0 x                  => -ERR at least 1 input key is needed for 'zinter' command
        ZINTERSTORE to -1 x         => -ERR at least 1 input key is needed for 'zinterstore' command
        ZINTERCARD 0 x              => -ERR at least 1 input key is needed for 'zintercard' command
        ZINTERCARD 1 x LIMIT -1     => -ERR LIMIT can't be negative
        ZINTERCARD 1 x WEIGHTS 1    => -ERR syntax error
        ZDIFF 0 x                   => -ERR at least 1 input key is needed for 'zdiff' command
        ZDIFF 1 x WEIGHTS 1         => -ERR syntax error
        ZDIFFSTORE to 0 x           => -ERR at least 1 input key is needed for 'zdiffstore' command
        ZDIFFSTORE to 9 x           => -ERR syntax error
        SET s v                     => OK
        ZINTER 2 x s                => -WRONGTYPE Operation against a key holding the wrong kind of value
        ZINTERSTORE to 2 none s     => -WRONGTYPE Operation against a key holding the wrong kind of value
        ZINTERCARD 2 x s LIMIT -1   => -WRONGTYPE Operation against a key holding the wrong kind of value
        ZDIFF 2 x s                 => -WRONGTYPE Operation against a key holding the wrong kind of value
        ZDIFFSTORE to 2 x s         => -WRONGTYPE Operation against a key holding the wrong kind of value
        "#,
    );
}

#[test]
fn forms_by_size() {
    both_protocols(&[], |_, client| {
        client.check_all(
            r#"
            ZADD z 1 a              => 1
            OBJECT ENCODING z       => "listpack"
            CONFIG SET zset-max-listpack-entries 2 zset-max-listpack-value 8 => OK
            ZADD z 1 b              => 1
            OBJECT ENCODING z       => "listpack"
            ZADD z 1 c              => 1
            OBJECT ENCODING z       => "skiplist"
            ZREM z b c              => 2
            OBJECT ENCODING z       => "skiplist"
            ZADD y 1 12345678       => 1
            OBJECT ENCODING y       => "listpack"
            ZADD y 1 123456789      => 1
            OBJECT ENCODING y       => "skiplist"
            ZUNIONSTORE u 1 z       => 1
            OBJECT ENCODING u       => "listpack"
            "#,
        );
    });
}

#[test]
fn members_at_random() {
    for flags in [&[][..], LARGE] {
        both_protocols(flags, |_, client| {
            client.check("ZADD z 1 a 2 b 3 c 4 d", "4");
            let members = |frame: Frame| match frame {
                Frame::Array(items) => items.iter().map(Frame::text).collect::<Vec<_>>(),
                other => panic!("{other}"),
            };
            for count in 0..6 {
                let chosen = members(client.line(&format!("ZRANDMEMBER z {count}")));
                let different: BTreeSet<_> = chosen.iter().cloned().collect();
                assert_eq!((chosen.len(), different.len()), (count.min(4), count.min(4)));
            }
            assert_eq!(members(client.line("ZRANDMEMBER z -20")).len(), 20);
            assert!("abcd".contains(&client.line("ZRANDMEMBER z").text()));
            let with_scores = client.line("ZRANDMEMBER z 9 WITHSCORES").to_string();
            let expected = if client.is_resp3() {
                r#"[["a", ,1], ["b", ,2], ["c", ,3], ["d", ,4]]"#
            } else {
                r#"["a", "1", "b", "2", "c", "3", "d", "4"]"#
            };
            assert_eq!(with_scores, expected);
            client.check_all(
                r#"
                ZRANDMEMBER none    => nil
                ZRANDMEMBER none 3  => []
                ZRANDMEMBER z x     => -ERR value is not an integer or out of range
                ZRANDMEMBER z 1 x   => -ERR syntax error
                ZRANDMEMBER z -9223372036854770000 WITHSCORES => -ERR value is out of range
                ZRANDMEMBER z -9223372036854775808 => -ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807
                SET s v             => OK
                ZRANDMEMBER s       => -WRONGTYPE Operation against a key holding the wrong kind of value
                ZRANDMEMBER s 1     => -WRONGTYPE Operation against a key holding the wrong kind of value
                "#,
            );
        });
    }
}

#[test]
fn scans() {
    both_protocols(LARGE, |_, client| {
        for number in 0..300 {
            client.check(&format!("ZADD z {number} m{number}"), "1");
        }
        let mut seen = BTreeSet::new();
        let mut cursor = "0".to_owned();
        loop {
            let Frame::Array(reply) = client.line(&format!("ZSCAN z {cursor} COUNT 20 MATCH m*")) else {
                panic!("not an array");
            };
            let [next, Frame::Array(items)] = reply.as_slice() else { panic!("{reply:?}") };
            for pair in items.chunks(2) {
                assert_eq!(pair[0].text(), format!("m{}", pair[1].text()));
                assert!(seen.insert(pair[0].text()), "{} twice", pair[0]);
            }
            cursor = next.text();
            if cursor == "0" {
                break;
            }
        }
        assert_eq!(seen.len(), 300);
    });
    check(
        r#"
        ZADD z 1.5 a                => 1
        ZSCAN z 0                   => ["0", ["a", "1.5"]]
        ZSCAN z 0 MATCH b*          => ["0", []]
        ZSCAN none 0 COUNT x        => ["0", []]
        ZSCAN z x                   => -ERR invalid cursor
        ZSCAN z 0 COUNT x           => -ERR value is not an integer or out of range
        ZSCAN z 0 COUNT 0           => -ERR syntax error
        ZSCAN z 0 NOVALUES          => -ERR NOVALUES option can only be used in HSCAN
        ZSCAN z 0 x                 => -ERR syntax error
        SET s v                     => OK
        ZSCAN s 0                   => -WRONGTYPE Operation against a key holding the wrong kind of value
        "#,
    );
}
