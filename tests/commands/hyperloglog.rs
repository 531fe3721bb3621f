//! HyperLogLogs: counting, merging, and values that are none. Expected replies are those of Redis 7.4.

use crate::support::client::Client;
use crate::support::frame::Frame;
use crate::support::server::Server;
use crate::support::server::both_protocols;
use crate::support::tool::is_installed;

/// Runs a script over both protocols, each time on an empty server.
#[track_caller]
fn check(script: &str) {
    both_protocols(&[], |_, client| client.check_all(script));
}

#[test]
fn elements_are_counted_once() {
    check(
        r#"
        PFCOUNT k                   => 0
        EXISTS k                    => 0
        PFADD k                     => 1
        PFADD k                     => 0
        PFCOUNT k                   => 0
        STRLEN k                    => 18
        PFADD k a b c               => 1
        PFADD k a b c               => 0
        PFADD k ""                  => 1
        PFCOUNT k                   => 4
        TYPE k                      => string
        OBJECT ENCODING k           => "raw"
        PFADD j c d e               => 1
        PFCOUNT k j none            => 6
        PFDEBUG ENCODING k          => sparse
        PFDEBUG TODENSE k           => 1
        PFDEBUG TODENSE k           => 0
        PFDEBUG ENCODING k          => dense
        STRLEN k                    => 12304
        PFADD k a b c               => 0
        PFADD k f                   => 1
        PFCOUNT k                   => 5
        PFCOUNT k j                 => 7
        PFADD new                   => 1
        PFDEBUG DECODE new          => "Z:16384"
        PFDEBUG DECODE k            => -ERR HLL encoding is not sparse
        PFDEBUG GETREG none         => -ERR The specified key does not exist
        PFDEBUG NOSUCH k            => -ERR Unknown PFDEBUG subcommand 'NOSUCH'
        PFDEBUG ENCODING            => -ERR wrong number of arguments for 'pfdebug' command
        PFSELFTEST                  => OK
        PFADD                       => -ERR wrong number of arguments for 'pfadd' command
        PFCOUNT                     => -ERR wrong number of arguments for 'pfcount' command
        PFMERGE                     => -ERR wrong number of arguments for 'pfmerge' command
        "#,
    );
    both_protocols(&[], |_, client| {
        client.check("PFADD k a", "1");
        let registers = client.line("PFDEBUG GETREG k");
        let raised = registers.items().iter().filter(|register| **register != Frame::Integer(0)).count();
        assert_eq!((registers.items().len(), raised), (16384, 1));
    });
}

#[test]
fn others_are_merged_in() {
    check(
        r#"
        PFADD a{t} 1 2 3            => 1
        PFADD b{t} 3 4 5            => 1
        PFMERGE c{t} a{t} b{t} none{t} => OK
        PFCOUNT c{t}                => 5
        PFCOUNT a{t}                => 3
        PFMERGE a{t} b{t}           => OK
        PFCOUNT a{t}                => 5
        EXPIREAT a{t} 9000000000    => 1
        PFMERGE a{t}                => OK
        EXPIRETIME a{t}             => 9000000000
        PFMERGE d{t}                => OK
        PFCOUNT d{t}                => 0
        EXISTS d{t}                 => 1
        PFDEBUG ENCODING c{t}       => sparse
        PFDEBUG TODENSE b{t}        => 1
        PFMERGE c{t} b{t}           => OK
        PFDEBUG ENCODING c{t}       => dense
        PFCOUNT c{t}                => 5
        "#,
    );
}

#[test]
fn what_is_no_hyperloglog_is_refused() {
    check(
        r#"
        SET s bar                   => OK
        PFADD s 1                   => -WRONGTYPE Key is not a valid HyperLogLog string value.
        PFCOUNT s                   => -WRONGTYPE Key is not a valid HyperLogLog string value.
        PFCOUNT s none              => -WRONGTYPE Key is not a valid HyperLogLog string value.
        PFMERGE x{s} s              => -WRONGTYPE Key is not a valid HyperLogLog string value.
        PFDEBUG ENCODING s          => -WRONGTYPE Key is not a valid HyperLogLog string value.
        PFADD k a b c               => 1
        APPEND k hello              => 32
        PFCOUNT k                   => -INVALIDOBJ Corrupted HLL object detected
        PFCOUNT k none{k}           => -INVALIDOBJ Corrupted HLL object detected
        PFMERGE k                   => -INVALIDOBJ Corrupted HLL object detected
        PFDEBUG TODENSE k           => -INVALIDOBJ Corrupted HLL object detected
        DEL k                       => 1
        PFADD k a b c               => 1
        SETRANGE k 4 x              => 27
        PFCOUNT k                   => -WRONGTYPE Key is not a valid HyperLogLog string value.
        SETRANGE k 4 "\x00"         => 27
        PFCOUNT k                   => -WRONGTYPE Key is not a valid HyperLogLog string value.
        "#,
    );
}

#[test]
fn sparse_ones_become_dense_as_configured() {
    both_protocols(&["--hll-sparse-max-bytes", "100"], |_, client| {
        client.check("PFADD k", "1");
        let mut number = 0;
        while client.line("STRLEN k").integer() <= 100 {
            client.check("PFDEBUG ENCODING k", "sparse");
            client.cmd(&["PFADD", "k", &number.to_string()]);
            number += 1;
        }
        client.check("PFDEBUG ENCODING k", "dense");
        client.check("CONFIG SET hll-sparse-max-bytes 3000", "OK");
        client.check("PFADD j 1", "1");
        client.check("CONFIG SET hll-sparse-max-bytes 20", "OK");
        client.check("PFADD j 2 3 4 5", "1");
        client.check("PFDEBUG ENCODING j", "dense");
    });
}

#[test]
fn the_count_is_kept_until_the_value_changes() {
    both_protocols(&[], |_, client| {
        client.check("PFADD k a b c", "1");
        client.check("GETRANGE k 15 15", "\"\\x80\"");
        client.check("PFCOUNT k", "3");
        client.check("GETRANGE k 15 15", "\"\\x00\"");
        client.check("PFADD k a b c", "0");
        client.check("GETRANGE k 15 15", "\"\\x00\"");
        client.check("PFADD k 1 2 3", "1");
        client.check("GETRANGE k 15 15", "\"\\x80\"");
        // A key that is too long for its entry, so that the value lies elsewhere.
        let key = "k".repeat(300);
        assert_eq!(client.cmd(&["PFADD", &key, "a", "b"]), Frame::Integer(1));
        assert_eq!(client.cmd(&["PFDEBUG", "TODENSE", &key]), Frame::Integer(1));
        assert_eq!(client.cmd(&["PFADD", &key, "b", "c"]), Frame::Integer(1));
        assert_eq!(client.cmd(&["PFCOUNT", &key]), Frame::Integer(3));
        assert_eq!(client.cmd(&["PFCOUNT", &key]), Frame::Integer(3));
    });
}

#[test]
fn values_are_those_of_redis_to_the_byte() {
    if !is_installed("redis-server", &["--version"]) {
        return;
    }
    let (ours, theirs) = (Server::start(&[]), Server::start_program("redis-server", &[]));
    let (mut our, mut their) = (ours.connect(), theirs.connect());
    let mut both = |command: &[String]| {
        let (our, their) = (our.cmd(command), their.cmd(command));
        assert_eq!(our, their, "{command:?}");
    };
    let words = |line: String| -> Vec<String> { line.split(' ').map(str::to_owned).collect() };
    for step in 0..400 {
        let key = ["a{t}", "b{t}", "c{t}"][step % 3];
        let elements: Vec<String> = (0..step % 20).map(|at| (step * 7 + at * at).to_string()).collect();
        both(&words(format!("PFADD {key} {}", elements.join(" ")).trim_end().to_owned()));
        if step % 10 == 0 {
            both(&words("PFMERGE d{t} a{t} b{t}".to_owned()));
            both(&words("PFCOUNT a{t} b{t} c{t}".to_owned()));
            for key in ["a{t}", "b{t}", "c{t}", "d{t}"] {
                both(&words(format!("GET {key}")));
                both(&words(format!("PFCOUNT {key}")));
                both(&words(format!("GET {key}")));
            }
        }
    }
    fill(&mut our, &mut their);
}

/// So many elements that the value becomes dense.
fn fill(our: &mut Client, their: &mut Client) {
    for step in 0..100 {
        let mut command = vec!["PFADD".to_owned(), "big".to_owned()];
        command.extend((0..100).map(|at| format!("element {}", step * 100 + at)));
        assert_eq!(our.cmd(&command), their.cmd(&command));
        assert_eq!(our.line("PFCOUNT big"), their.line("PFCOUNT big"));
        assert_eq!(our.line("GET big"), their.line("GET big"), "after {step}");
    }
}
