//! What the server says about itself: INFO, SLOWLOG, LATENCY, MEMORY, ACL, MODULE, DEBUG and the small questions; and
//! the commands that are refused.
//!
//! Slow commands are made by DEBUG SLEEP, which takes at least as long as it is told, however busy the machine is.

use crate::support::client::Client;
use crate::support::frame::Frame;
use crate::support::server::{Server, both_protocols};

/// Runs a script over both protocols, each time on an empty server.
#[track_caller]
fn check(script: &str) {
    both_protocols(&[], |_, client| client.check_all(script));
}

/// The value of a field of INFO; panics if there is none.
#[track_caller]
fn info(client: &mut Client, section: &str, field: &str) -> String {
    let text = client.cmd(&["INFO", section]).text();
    let value = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    value.unwrap_or_else(|| panic!("no {field} in\n{text}")).to_owned()
}

/// The value behind `name` in a map reply; panics if there is none.
#[track_caller]
fn value(reply: &Frame, name: &str) -> Frame {
    let found = reply.pairs().into_iter().find(|(key, _)| key.text() == name);
    found.unwrap_or_else(|| panic!("no {name} in {reply}")).1
}

#[test]
fn slow_commands_are_kept_newest_first_and_cut() {
    both_protocols(&[], |_, client| {
        client.check("SLOWLOG RESET", "OK");
        client.check("CONFIG SET slowlog-log-slower-than 100000 slowlog-max-len 2", "OK");
        client.check("CLIENT SETNAME sleeper", "OK");
        for seconds in ["0.11", "0.12", "0.13"] {
            client.check(&format!("DEBUG SLEEP {seconds}"), "OK");
        }
        client.check("CONFIG SET slowlog-log-slower-than -1", "OK");
        client.check("SLOWLOG LEN", "2");
        let entries = client.line("SLOWLOG GET");
        let newest = entries.items()[0].items();
        assert_eq!(newest[3].items().iter().map(Frame::text).collect::<Vec<_>>(), ["DEBUG", "SLEEP", "0.13"]);
        assert!(newest[2].integer() >= 130_000 && newest[1].integer() > 1_700_000_000, "{entries}");
        assert!(newest[4].text().starts_with("127.0.0.1:") && newest[5].text() == "sleeper", "{entries}");
        assert_eq!(newest[0].integer(), entries.items()[1].items()[0].integer() + 1);
        assert_eq!(client.line("SLOWLOG GET 1").items().len(), 1);
        assert_eq!(client.line("SLOWLOG GET -1").items().len(), 2);
        client.check("SLOWLOG GET -2", "-ERR count should be greater than or equal to -1");
        client.check("SLOWLOG GET x", "-ERR count should be greater than or equal to -1");
        client.check(
            "SLOWLOG GET 1 2",
            "-ERR unknown subcommand or wrong number of arguments for 'GET'. Try SLOWLOG HELP.",
        );
        client.check("SLOWLOG RESET", "OK");
        client.check("SLOWLOG GET", "[]");

        client.check("CONFIG SET slowlog-log-slower-than 0", "OK");
        client.check("SLOWLOG RESET", "OK");
        let long = "x".repeat(200);
        let mut words = vec!["MGET"; 40];
        words[1] = &long;
        client.cmd(&words);
        let args = client.line("SLOWLOG GET 1").items()[0].items()[3].clone();
        assert_eq!(args.items().len(), 32);
        assert_eq!(args.items()[1].text(), format!("{}... (72 more bytes)", &long[..128]));
        assert_eq!(args.items()[31].text(), "... (9 more arguments)");
        client.line("AUTH pa55word");
        client.line("HELLO 9 AUTH me pa55word");
        client.line("CONFIG SET slowlog-max-len 20 requirepass pa55word requirepass pa55word");
        let shown = client.line("SLOWLOG GET").to_string();
        assert!(shown.contains("(redacted)") && !shown.contains("pa55word"), "{shown}");
        client.check("CONFIG SET slowlog-log-slower-than 10000 slowlog-max-len 128", "OK");
        assert!(client.line("SLOWLOG HELP").items().len() > 4);
    });
}

#[test]
fn slow_events_are_monitored_from_the_threshold_on() {
    both_protocols(&[], |_, client| {
        client.check("CONFIG SET latency-monitor-threshold 0", "OK");
        client.line("LATENCY RESET");
        client.check("DEBUG SLEEP 0.11", "OK");
        client.check("LATENCY LATEST", "[]");
        client.check("LATENCY HISTORY command", "[]");
        client.check("LATENCY GRAPH command", "-ERR No samples available for event 'command'");
        assert!(client.line("LATENCY DOCTOR").text().contains("latency-monitor-threshold"));
        client.check("CONFIG SET latency-monitor-threshold 100", "OK");
        client.check("DEBUG SLEEP 0.11", "OK");
        // Nothing else is noted from here on, however slow the machine is.
        client.check("CONFIG SET latency-monitor-threshold 0", "OK");
        let latest = client.line("LATENCY LATEST");
        let event = latest.items().iter().map(Frame::items).find(|event| event[0].text() == "command");
        let event = event.unwrap_or_else(|| panic!("{latest}"));
        assert!(event[2].integer() >= 110 && event[3].integer() >= event[2].integer(), "{latest}");
        let history = client.line("LATENCY HISTORY command");
        assert_eq!(history.items().last().map(Frame::items), Some(&event[1..3]), "{history}");
        assert!(client.line("LATENCY GRAPH command").text().contains('#'));
        assert!(client.line("LATENCY DOCTOR").text().contains("SLOWLOG GET"));
        client.check("LATENCY RESET nosuch", "0");
        client.check("LATENCY RESET nosuch COMMAND", "1");
        client.check("LATENCY HISTORY command", "[]");
        client.line("LATENCY RESET");
        client.check("LATENCY LATEST", "[]");
        client.check("LATENCY RESET", "0");
        assert!(client.line("LATENCY HELP").items().len() > 4);
    });
}

#[test]
fn making_room_for_a_large_value_is_an_event() {
    let server = Server::start(&["--maxmemory", "16mb", "--maxmemory-policy", "allkeys-lru"]);
    let mut client = server.connect();
    client.check("DEBUG POPULATE 150000 small 64", "OK");
    client.check("CONFIG SET latency-monitor-threshold 1", "OK");
    client.check(&format!("SET large {}", "x".repeat(8 << 20)), "OK");
    let history = client.line("LATENCY HISTORY eviction-cycle");
    assert!(!history.items().is_empty(), "some 60,000 keys went in less than a millisecond");
    assert!(client.line("LATENCY DOCTOR").text().contains("eviction-cycle"));
}

#[test]
fn histograms_count_up_to_powers_of_two() {
    both_protocols(&[], |_, client| {
        client.check("CONFIG RESETSTAT", "OK");
        assert!(client.line("LATENCY HISTOGRAM get nosuch").pairs().is_empty());
        for _ in 0..10 {
            client.check("GET k", "nil");
        }
        client.check("CONFIG GET nosuch", if client.is_resp3() { "{}" } else { "[]" });
        let all = client.line("LATENCY HISTOGRAM");
        for reply in [client.line("LATENCY HISTOGRAM get"), all] {
            let get = value(&reply, "get");
            assert_eq!(value(&get, "calls").integer(), 10);
            let buckets = value(&get, "histogram_usec").pairs();
            assert_eq!(buckets[buckets.len() - 1].1.integer(), 10);
            for pair in buckets.windows(2) {
                assert!(
                    pair[0].0.integer() < pair[1].0.integer() && pair[0].1.integer() < pair[1].1.integer()
                );
            }
            assert!(buckets.iter().all(|(bound, _)| (bound.integer() as u64).is_power_of_two()));
        }
        // A command with subcommands stands for all of them.
        let config = client.line("LATENCY HISTOGRAM config");
        assert!(value(&config, "config|get").pairs().len() == 2);
    });
}

#[test]
fn memory_is_told_in_bytes() {
    check(
        r#"
        MEMORY USAGE k               => nil
        SET k v                      => OK
        MEMORY USAGE k SAMPLES       => -ERR syntax error
        MEMORY USAGE k SAMPLES -1    => -ERR syntax error
        MEMORY USAGE k SAMPLES x     => -ERR value is not an integer or out of range
        MEMORY USAGE k JUNK 1        => -ERR syntax error
        MEMORY PURGE                 => OK
        "#,
    );
    both_protocols(&[], |_, client| {
        client.check("SET small v", "OK");
        client.check(&format!("SET large {}", "x".repeat(10_000)), "OK");
        let small = client.line("MEMORY USAGE small").integer();
        assert!((10..200).contains(&small), "{small}");
        assert_eq!(client.line("MEMORY USAGE small SAMPLES 5").integer(), small);
        let large = client.line("MEMORY USAGE large").integer();
        assert!((10_000..13_000).contains(&large), "{large}");
        let stats = client.line("MEMORY STATS");
        assert_eq!(value(&stats, "keys.count").integer(), 2);
        assert!(value(&stats, "total.allocated").integer() > 10_000);
        assert!(value(&stats, "allocator.resident").integer() > 100_000);
        assert!(value(&value(&stats, "db.0"), "overhead.hashtable.main").integer() > 0);
        assert!(client.line("MEMORY DOCTOR").text().contains("too little data"));
        assert!(client.line("MEMORY MALLOC-STATS").text().contains("jemalloc"));
        assert!(client.line("MEMORY HELP").items().len() > 4);
    });
}

#[test]
fn small_questions() {
    check(
        r#"
        ROLE                         => ["master", 0, []]
        WAIT 0 0                     => 0
        WAIT 3 0                     => 0
        WAIT x 0                     => -ERR value is not an integer or out of range
        WAIT 0 x                     => -ERR timeout is not an integer or out of range
        WAIT 0 -1                    => -ERR timeout is negative
        TIME x                       => -ERR wrong number of arguments for 'time' command
        MODULE LIST                  => []
        MODULE LOAD x                => -ERR unknown subcommand 'LOAD'. Try MODULE HELP.
        LOLWUT VERSION               => -ERR syntax error
        LOLWUT VERSION x             => -ERR value is not an integer or out of range
        "#,
    );
    both_protocols(&[], |_, client| {
        let time = client.line("TIME");
        let [seconds, microseconds] = time.items() else { panic!("{time}") };
        let seconds: i64 = seconds.text().parse().expect("seconds");
        assert!(microseconds.text().parse::<u32>().is_ok_and(|us| us < 1_000_000), "{time}");
        let saved = client.line("LASTSAVE").integer();
        assert!((seconds - 600..=seconds).contains(&saved), "{saved} {seconds}");
        assert!(client.line("LOLWUT VERSION 5").text().contains("Larder ver. "));
        assert!(client.line("MODULE HELP").items().len() > 4);
    });
}

#[test]
fn there_is_one_user() {
    check(
        r#"
        ACL WHOAMI                   => "default"
        ACL USERS                    => ["default"]
        ACL LIST                     => ["user default on nopass ~* &* +@all"]
        ACL GETUSER nosuch           => nil
        ACL CAT nosuch               => -ERR Unknown category 'nosuch'
        ACL CAT read x               => -ERR unknown subcommand or wrong number of arguments for 'CAT'. Try ACL HELP.
        ACL SETUSER bob on           => -ERR unknown subcommand 'SETUSER'. Try ACL HELP.
        "#,
    );
    both_protocols(&[], |_, client| {
        let user = client.line("ACL GETUSER default");
        let flags: Vec<String> = value(&user, "flags").items().iter().map(Frame::text).collect();
        assert_eq!(flags, ["on", "nopass"]);
        assert_eq!(value(&user, "commands").text(), "+@all");
        let names = |reply: Frame| reply.items().iter().map(Frame::text).collect::<Vec<_>>();
        assert!(names(client.line("ACL CAT")).contains(&"scripting".to_owned()));
        let dangerous = names(client.line("ACL CAT DANGEROUS"));
        assert!(dangerous.contains(&"config|set".to_owned()) && !dangerous.contains(&"get".to_owned()));
        assert!(client.line("ACL HELP").items().len() > 4);
    });
    let server = Server::start(&["--requirepass", "secret"]);
    let mut client = server.connect();
    client.check("AUTH secret", "OK");
    for line in ["ACL LIST", "ACL GETUSER default"] {
        let shown = client.line(line).to_string();
        assert!(
            shown.contains("hidden") && !shown.contains("nopass") && !shown.contains("secret"),
            "{shown}"
        );
    }
}

#[test]
fn what_has_no_place_here_is_refused() {
    check(
        r#"
        REPLICAOF localhost 7000 => -ERR replication is not supported: this server is a master without replicas
        SLAVEOF NO ONE           => -ERR replication is not supported: this server is a master without replicas
        PSYNC ? -1               => -ERR replication is not supported: this server is a master without replicas
        SYNC                     => -ERR replication is not supported: this server is a master without replicas
        REPLCONF a b             => -ERR replication is not supported: this server is a master without replicas
        SAVE                     => -ERR saving to disk is not supported: all data is in memory only
        BGSAVE                   => -ERR saving to disk is not supported: all data is in memory only
        BGSAVE SCHEDULE          => -ERR saving to disk is not supported: all data is in memory only
        BGREWRITEAOF             => -ERR saving to disk is not supported: all data is in memory only
        "#,
    );
    both_protocols(&[], |_, client| {
        client.check(
            "MIGRATE host 7000 key 0 100",
            "-ERR MIGRATE is not supported: copy keys with GET, PTTL and SET, or let the client do so",
        );
        for line in ["CLUSTER INFO", "CLUSTER SLOTS", "CLUSTER KEYSLOT k"] {
            client.check(line, "-ERR This instance has cluster support disabled");
        }
        // As in Redis, which looks a subcommand up before anything else.
        client.check("CLUSTER nosuch", "-ERR unknown subcommand 'nosuch'. Try CLUSTER HELP.");
        client.check("COMMAND GETKEYS MIGRATE h 1 k 0 9 COPY", r#"["k"]"#);
        client.check(r#"COMMAND GETKEYS MIGRATE h 1 "" 0 9 AUTH keys KEYS a b"#, r#"["a", "b"]"#);
        client.check(
            "COMMAND GETKEYS MIGRATE h 1 k 0 9 KEYS a",
            "-ERR Invalid arguments specified for command",
        );
    });
}

#[test]
fn debug_is_for_those_who_may() {
    let refused = "-ERR DEBUG command not allowed. If the enable-debug-command option is set to \"local\", you can \
                   run it from a local connection, otherwise you need to set this option in the configuration \
                   file, and then restart the server.";
    for (allowed, reply) in [("no", refused), ("local", "OK"), ("yes", "OK")] {
        let server = Server::start(&["--enable-debug-command", allowed]);
        server.connect().check("DEBUG SLEEP 0", reply);
    }
}

#[test]
fn debug_answers_what_tests_ask() {
    check(
        r#"
        DEBUG SLEEP x                => -ERR value is not a valid float
        DEBUG SLEEP -1               => -ERR value is out of range
        DEBUG OBJECT k               => -ERR no such key
        DEBUG SET-ACTIVE-EXPIRE 0    => OK
        DEBUG SET-ACTIVE-EXPIRE 1    => OK
        DEBUG SET-ACTIVE-EXPIRE x    => -ERR value is not an integer or out of range
        DEBUG STRINGMATCH-LEN -1 a   => -ERR value is out of range
        DEBUG ERROR "MINE so it is"  => -MINE so it is
        DEBUG LOG hello              => OK
        DEBUG PROTOCOL nosuch        => -ERR Wrong protocol type name. Please use one of the following: string|integer|double|bignum|null|array|set|map|attrib|push|verbatim|true|false
        DEBUG PROTOCOL string        => "Hello World"
        DEBUG PROTOCOL integer       => 12345
        DEBUG PROTOCOL null          => nil
        DEBUG PROTOCOL array         => [0, 1, 2]
        DEBUG SEGFAULT               => -ERR unknown subcommand 'SEGFAULT'. Try DEBUG HELP.
        DEBUG POPULATE -1            => -ERR value is out of range, must be positive
        DEBUG POPULATE 3 p 10        => OK
        DEBUG POPULATE 5 p           => OK
        STRLEN p:0                   => 10
        GET p:4                      => "value:4"
        DBSIZE                       => 5
        DEBUG SLEEP 0.001            => OK
        "#,
    );
    let server = Server::start(&[]);
    let mut client = server.connect();
    client.check("DEBUG STRINGMATCH-LEN 1000 A*A", "1");
    client.check("DEBUG STRINGMATCH-LEN 1000 a*", "0");
    for (kind, resp2, resp3) in [
        ("double", r#""3.141""#, ",3.141"),
        ("bignum", r#""1234567999999999999999999999999999999""#, "(1234567999999999999999999999999999999"),
        ("set", "[0, 1, 2]", "~[0, 1, 2]"),
        ("map", "[0, 0, 1, 1, 2, 0]", "{0: #f, 1: #t, 2: #f}"),
        ("verbatim", r#""This is a verbatim\nstring""#, r#"=txt:"This is a verbatim\nstring""#),
        ("true", "1", "#t"),
        ("false", "0", "#f"),
    ] {
        server.connect().check(&format!("DEBUG PROTOCOL {kind}"), resp2);
        server.connect().hello3().check(&format!("DEBUG PROTOCOL {kind}"), resp3);
    }
    client.check("DEBUG PROTOCOL push", "-ERR RESP2 is not supported by this command");
    client.check("DEBUG PROTOCOL attrib", r#""Some real reply following the attribute""#);
    assert!(client.line("DEBUG HELP").items().len() > 4);
}

#[test]
fn equal_data_has_equal_digests() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    let empty = client.line("DEBUG DIGEST").text();
    assert_eq!(empty, "0".repeat(40));
    client.check("DEBUG POPULATE 1000", "OK");
    let full = client.line("DEBUG DIGEST").text();
    assert!(full != empty && full.len() == 40, "{full}");
    client.check("SET key:7 other", "OK");
    assert_ne!(client.line("DEBUG DIGEST").text(), full);
    client.check("SET key:7 value:7", "OK");
    assert_eq!(client.line("DEBUG DIGEST").text(), full);
    client.check("MSET a same b same c else", "OK");
    let values = client.line("DEBUG DIGEST-VALUE a b c nosuch");
    let [a, b, c, nosuch] = values.items() else { panic!("{values}") };
    assert!(a == b && a != c && nosuch.text() == empty, "{values}");
    assert!(client.line("DEBUG OBJECT a").text().contains(" encoding:embstr serializedlength:4 "));
}

#[test]
fn info_has_its_sections_on_request() {
    both_protocols(&[], |_, client| {
        client.check("SET k v", "OK");
        let titles = |text: String| -> Vec<String> {
            text.lines().filter_map(|line| line.strip_prefix("# ")).map(str::to_owned).collect()
        };
        let default = titles(client.line("INFO").text());
        assert_eq!(titles(client.line("INFO default").text()), default);
        assert!(!default.contains(&"Commandstats".to_owned()) && !default.contains(&"Larder".to_owned()));
        let all = titles(client.line("INFO ALL").text());
        assert!(all.contains(&"Commandstats".to_owned()) && !all.contains(&"Larder".to_owned()));
        assert!(titles(client.line("INFO everything").text()).contains(&"Larder".to_owned()));
        assert_eq!(titles(client.line("INFO keyspace nosuch server").text()), ["Server", "Keyspace"]);
        client.check("INFO nosuch", if client.is_resp3() { r#"=txt:"""# } else { r#""""# });
        client.check("DEBUG SLEEP 0.01", "OK");
        let longest: u64 = info(client, "larder", "max_command_usec_debug|sleep").parse().expect("a number");
        assert!(longest >= 10_000, "{longest}");
        assert!(info(client, "larder", "worker0").contains("commands="));
        assert!(info(client, "larder", "shard0").contains("ghost_bytes="));
        client.check("CONFIG SET latency-tracking-info-percentiles 100", "OK");
        let exact = info(client, "latencystats", "latency_percentiles_usec_debug|sleep");
        let exact: f64 = exact.strip_prefix("p100=").and_then(|us| us.parse().ok()).expect("a number");
        assert!(exact >= 10_000.0 && exact <= longest as f64, "{exact} {longest}");
        client.check("CONFIG SET latency-tracking-info-percentiles \"50 99 99.9\"", "OK");
    });
}

#[test]
fn the_mean_time_to_live_is_sampled() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    for key in 0..500 {
        client.check(&format!("SET forever:{key} v"), "OK");
        client.check(&format!("SET {key} v EX {}", if key % 2 == 0 { 1_000 } else { 3_000 }), "OK");
    }
    let row = info(&mut client, "keyspace", "db0");
    assert!(row.starts_with("keys=1000,expires=500,avg_ttl="), "{row}");
    let mean = row.split(',').find_map(|field| field.strip_prefix("avg_ttl="));
    let mean_ms: u64 = mean.and_then(|mean| mean.parse().ok()).expect("a number");
    assert!((1_300_000..2_700_000).contains(&mean_ms), "{mean_ms}");
}

/// redis-cli and its like take the first place where a field's name stands, whatever is around it.
#[test]
fn fields_stand_before_whatever_holds_their_names() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    client.check("SET k v", "OK");
    let text = client.line("INFO everything").text();
    for field in [
        "redis_version",
        "cluster_enabled",
        "used_memory",
        "connected_clients",
        "blocked_clients",
        "total_commands_processed",
        "total_connections_received",
        "loading",
        "db0:keys",
        "role",
        "redis_mode",
        "run_id",
        "maxmemory",
        "uptime_in_seconds",
    ] {
        let at = text.find(field).unwrap_or_else(|| panic!("no {field}"));
        let behind = text.as_bytes()[at + field.len()];
        let starts = text[..at].ends_with('\n');
        assert!(starts && b":=".contains(&behind), "{field}: {:?}", &text[at.saturating_sub(30)..at + 30]);
    }
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with("# ")) {
        assert!(line.contains(':'), "{line}");
    }
    assert_eq!(text.matches("\r\n").count(), text.matches('\n').count());
}

#[test]
fn looking_around_inside_a_transaction_ends() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    client.check("WATCH w", "OK");
    client.check("MULTI", "OK");
    let queued = [
        "SET k v",
        "INFO everything",
        "MEMORY STATS",
        "DEBUG DIGEST",
        "DEBUG POPULATE 20 p",
        "CONFIG RESETSTAT",
        "CONFIG SET maxmemory-policy allkeys-lfu",
        "UNWATCH",
        "LATENCY HISTOGRAM",
        "GET k",
    ];
    for line in queued {
        client.check(line, "QUEUED");
    }
    let replies = client.line("EXEC");
    assert_eq!(replies.items().len(), queued.len());
    assert!(replies.items().iter().all(|reply| !reply.is_error()), "{replies}");
    assert_eq!(replies.items()[queued.len() - 1].text(), "v");
}
