//! SORT and SORT_RO: every option and every error. Expected replies are those of Redis 7.4.

use crate::support::server::{Server, both_protocols};

#[track_caller]
fn check(script: &str) {
    both_protocols(&["--threads", "2"], |_, client| client.check_all(script));
}

#[test]
fn numbers_and_texts() {
    check(
        r#"
        RPUSH k 3 10 2 -1 1.5 2     => 6
        SORT k                      => ["-1", "1.5", "2", "2", "3", "10"]
        SORT_RO k                   => ["-1", "1.5", "2", "2", "3", "10"]
        SORT k DESC                 => ["10", "3", "2", "2", "1.5", "-1"]
        SORT k DESC asc             => ["-1", "1.5", "2", "2", "3", "10"]
        SORT k ALPHA                => ["-1", "1.5", "10", "2", "2", "3"]
        SORT k ALPHA DESC           => ["3", "2", "2", "10", "1.5", "-1"]
        SORT k LIMIT 1 2            => ["1.5", "2"]
        SORT k LIMIT 4 100          => ["3", "10"]
        SORT k LIMIT 6 1            => []
        SORT k LIMIT -5 2           => ["-1", "1.5"]
        SORT k LIMIT 2 -1           => ["2", "2", "3", "10"]
        SORT k LIMIT 2 0            => []
        SORT k DESC LIMIT 0 2       => ["10", "3"]
        SORT k LIMIT 2 9223372036854775807 => ["2", "2", "3", "10"]
        SORT none                   => []
        SORT_RO none ALPHA          => []
        RPUSH words b a "" c 12     => 5
        SORT words                  => -ERR One or more scores can't be converted into double
        SORT words ALPHA            => ["", "12", "a", "b", "c"]
        RPUSH blank " 2" "" -1 "1\x00x" => 4
        SORT blank                  => ["-1", "", "1\x00x", " 2"]
        SET s v                     => OK
        SORT s                      => -WRONGTYPE Operation against a key holding the wrong kind of value
        SORT_RO s ALPHA             => -WRONGTYPE Operation against a key holding the wrong kind of value
        SORT s JUNK                 => -ERR syntax error
        SORT k LIMIT 1              => -ERR syntax error
        SORT k LIMIT x 1            => -ERR value is not an integer or out of range
        SORT k LIMIT 1 x            => -ERR value is not an integer or out of range
        SORT k BY                   => -ERR syntax error
        SORT k GET                  => -ERR syntax error
        SORT k STORE                => -ERR syntax error
        SORT_RO k STORE d           => -ERR syntax error
        SORT                        => -ERR wrong number of arguments for 'sort' command
        SORT_RO                     => -ERR wrong number of arguments for 'sort_ro' command
        "#,
    );
}

#[test]
fn sets_and_sorted_sets() {
    check(
        r#"
        SADD numbers 3 1 2          => 3
        SORT numbers DESC           => ["3", "2", "1"]
        SADD texts b c a            => 3
        SORT texts ALPHA            => ["a", "b", "c"]
        SORT texts                  => -ERR One or more scores can't be converted into double
        SORT texts BY nosort STORE d => 3
        LRANGE d 0 -1               => ["a", "b", "c"]
        ZADD z 1 a 5 b 2 c 10 d 3 e => 5
        SORT z ALPHA DESC           => ["e", "d", "c", "b", "a"]
        SORT z BY nosort            => ["a", "c", "e", "b", "d"]
        SORT z BY nosort DESC       => ["d", "b", "e", "c", "a"]
        SORT z BY nosort LIMIT 0 1  => ["a"]
        SORT z BY nosort DESC LIMIT 0 2 => ["d", "b"]
        SORT z BY nosort DESC LIMIT 3 5 => ["c", "a"]
        SORT z BY nosort LIMIT 1 2  => ["c", "e"]
        SORT z BY nosort LIMIT 5 10 => []
        SORT z BY nosort DESC LIMIT 5 10 => []
        SORT z BY nosort LIMIT -10 100 => ["a", "c", "e", "b", "d"]
        RPUSH k 2 1 4 3 5           => 5
        SORT k BY nosort            => ["2", "1", "4", "3", "5"]
        SORT k BY nosort DESC       => ["5", "3", "4", "1", "2"]
        SORT k BY nosort LIMIT 1 2  => ["1", "4"]
        SORT k BY nosort DESC LIMIT 1 2 => ["3", "4"]
        HSET h f v                  => 1
        SORT h                      => -WRONGTYPE Operation against a key holding the wrong kind of value
        "#,
    );
}

#[test]
fn by_and_get_follow_patterns() {
    check(
        r#"
        RPUSH k 1 2 3 4             => 4
        MSET w1 30 w2 10 w3 20 name1 one name2 two name3 three => OK
        HSET h1 w 1 n eins          => 2
        HSET h2 w 3 n zwei          => 2
        HSET h3 w 2                 => 1
        SORT k BY w*                => ["4", "2", "3", "1"]
        SORT_RO k BY w* DESC        => ["1", "3", "2", "4"]
        SORT k BY h*->w             => ["4", "1", "3", "2"]
        SORT k BY w* LIMIT 1 2      => ["2", "3"]
        SORT k BY w* GET name*      => [nil, "two", "three", "one"]
        SORT k BY w* GET # GET h*->n => ["4", nil, "2", "zwei", "3", nil, "1", "eins"]
        SORT k BY w* GET constant   => [nil, nil, nil, nil]
        SORT k GET w*->             => [nil, nil, nil, nil]
        SET w1-> arrow              => OK
        SORT k GET w*-> LIMIT 0 1   => ["arrow"]
        SORT k GET h* LIMIT 0 1     => [nil]
        SORT k GET name*->f LIMIT 0 1 => [nil]
        SORT k BY name*             => -ERR One or more scores can't be converted into double
        SORT k BY name* ALPHA       => ["4", "1", "3", "2"]
        SORT k BY name* ALPHA DESC  => ["2", "3", "1", "4"]
        SORT k BY none* ALPHA       => ["1", "2", "3", "4"]
        SORT k BY none* ALPHA DESC LIMIT 1 2 => ["2", "3"]
        SORT k BY equal*            => ["1", "2", "3", "4"]
        SORT k BY nosort GET #      => ["1", "2", "3", "4"]
        SORT k BY w* GET # STORE d  => 4
        LRANGE d 0 -1               => ["4", "2", "3", "1"]
        SORT k GET name* STORE d    => 4
        LRANGE d 0 -1               => ["one", "two", "three", ""]
        SORT k DESC STORE k         => 4
        LRANGE k 0 -1               => ["4", "3", "2", "1"]
        SORT none STORE d           => 0
        EXISTS d                    => 0
        SORT k LIMIT 10 10 STORE d  => 0
        EXISTS d                    => 0
        SET d string EX 1000        => OK
        SORT k STORE x STORE d LIMIT 0 2 => 2
        TYPE d                      => list
        TTL d                       => -1
        EXISTS x                    => 0
        MULTI                       => OK
        SORT k BY w*                => QUEUED
        SORT_RO k GET name*         => QUEUED
        EXEC                        => [["4", "2", "3", "1"], ["one", "two", "three", nil]]
        COMMAND GETKEYS SORT abc STORE invalid STORE stillbad STORE def => ["abc", "def"]
        COMMAND GETKEYS SORT_RO abc => ["abc"]
        "#,
    );
}

#[test]
fn what_is_stored_is_packed_if_it_is_small() {
    let server = Server::start(&["--list-max-listpack-size", "16"]);
    let mut client = server.connect();
    for (count, encoding) in [(16, "\"listpack\""), (17, "\"quicklist\"")] {
        client.line("DEL k");
        for number in 0..count {
            client.line(&format!("RPUSH k {number}"));
        }
        client.check("SORT k DESC STORE d", &count.to_string());
        client.check("OBJECT ENCODING d", encoding);
        client.check("LINDEX d -1", "\"0\"");
    }
}

#[test]
fn many_elements_are_sorted() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    let mut request = vec!["RPUSH".to_owned(), "k".to_owned()];
    // Each number below 10007 once, in a scattered order.
    request.extend((0..10_007).map(|at| (at * 7919 % 10_007).to_string()));
    client.cmd(&request);
    let all = client.line("SORT k");
    assert!(all.items().iter().enumerate().all(|(at, frame)| frame.text() == at.to_string()));
    client.check("SORT k LIMIT 5000 3", r#"["5000", "5001", "5002"]"#);
    client.check("SORT k DESC LIMIT 0 3", r#"["10006", "10005", "10004"]"#);
}

#[test]
fn reads_and_changes_are_counted_as_redis_counts_them() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    client.check("RPUSH k 1 2 3", "3");
    client.check("MSET w1 3 w2 2", "OK");
    for (line, expected) in [
        ("SORT k", [1, 0, 0]),
        ("SORT none", [0, 1, 0]),
        ("SORT k BY w*", [3, 1, 0]),
        ("SORT k BY w* GET w*", [5, 2, 0]),
        ("SORT k STORE d", [1, 0, 3]),
        ("SORT none STORE d", [0, 1, 1]),
        ("SORT none STORE d", [0, 1, 0]),
    ] {
        let before = super::strings::counts(&mut client);
        client.line(line);
        let after = super::strings::counts(&mut client);
        let counted: Vec<i64> = before.iter().zip(after).map(|(before, after)| after - before).collect();
        assert_eq!(counted, expected, "{line}");
    }
}
