//! What an operator asks of the server: CONFIG, INFO, COMMAND, SHUTDOWN. Expected replies are those of Redis 7.4.

use crate::support::client::Client;
use crate::support::server::{Server, both_protocols};

fn info(client: &mut Client, section: &str, field: &str) -> String {
    let text = client.line(&format!("INFO {section}")).text();
    let prefix = format!("{field}:");
    let found = text.lines().find_map(|line| line.strip_prefix(&prefix)).map(str::to_owned);
    found.unwrap_or_else(|| panic!("INFO {section} has no {field}:\n{text}"))
}

#[test]
fn parameters_are_read_and_set() {
    both_protocols(&[], |_, client| {
        client.check_all(
            r#"
            CONFIG SET hz 20                    => OK
            CONFIG SET maxmemory 100mb timeout 5 => OK
            CONFIG SET timeout 0                => OK
            CONFIG SET hz x timeout 7           => -ERR CONFIG SET failed (possibly related to argument 'hz') - argument couldn't be parsed into an integer
            CONFIG SET nosuch 1                 => -ERR Unknown option or number of arguments for CONFIG SET - 'nosuch'
            CONFIG SET databases 1              => -ERR CONFIG SET failed (possibly related to argument 'databases') - can't set immutable config
            CONFIG SET hz 10 hz 20              => -ERR CONFIG SET failed (possibly related to argument 'hz') - duplicate parameter
            CONFIG SET hz                       => -ERR wrong number of arguments for 'config|set' command
            CONFIG GET                          => -ERR wrong number of arguments for 'config|get' command
            CONFIG JUNK                         => -ERR unknown subcommand 'JUNK'. Try CONFIG HELP.
            "#,
        );
        let get = |client: &mut Client, what: &str| -> Vec<String> {
            let pairs = client.line(&format!("CONFIG GET {what}")).pairs();
            let mut found: Vec<_> =
                pairs.iter().map(|(name, value)| format!("{} {}", name.text(), value.text())).collect();
            found.sort();
            found
        };
        assert_eq!(get(client, "hz"), ["hz 20"]);
        assert_eq!(get(client, "maxmemory"), ["maxmemory 104857600"]);
        assert_eq!(get(client, "timeout hz nosuch"), ["hz 20", "timeout 0"]);
        assert_eq!(get(client, "maxmemory-p*"), ["maxmemory-policy allkeys-lru"]);
        assert!(get(client, "*").len() > 30);
        client.check("CONFIG SET maxmemory 0 hz 10", "OK");
        client.check("CONFIG RESETSTAT", "OK");
        assert!(client.line("CONFIG HELP").items().len() > 3);
    });
}

#[test]
fn rewriting_needs_a_file_and_keeps_what_was_set() {
    let server = Server::start(&[]);
    let reply = server.connect().line("CONFIG REWRITE").to_string();
    assert_eq!(reply, "-ERR The server is running without a config file");
}

#[test]
fn info_counts() {
    both_protocols(&[], |server, client| {
        client.check("CONFIG RESETSTAT", "OK");
        client.check("SET k v", "OK");
        client.check("GET k", "\"v\"");
        client.check("GET none", "nil");
        assert_eq!(info(client, "stats", "keyspace_hits"), "1");
        assert_eq!(info(client, "stats", "keyspace_misses"), "1");
        assert!(info(client, "keyspace", "db0").starts_with("keys=1,expires=0,"));
        assert!(info(client, "commandstats", "cmdstat_get").starts_with("calls=2,"));
        assert_eq!(info(client, "server", "tcp_port"), server.port());
        assert!(info(client, "server", "redis_version").starts_with("7."));
        assert_eq!(info(client, "replication", "role"), "master");
        assert!(info(client, "memory", "used_memory").parse::<u64>().is_ok_and(|bytes| bytes > 0));
        assert!(info(client, "", "connected_clients").parse::<u64>().is_ok_and(|clients| clients >= 1));
        assert!(client.line("INFO nosuch").text().is_empty());
        client.line("INCR");
        assert_eq!(info(client, "errorstats", "errorstat_ERR"), "count=1");
    });
}

#[test]
fn command_describes_itself() {
    both_protocols(&[], |_, client| {
        client.check_all(
            r#"
            COMMAND GETKEYS SET k v             => ["k"]
            COMMAND GETKEYS MSET a 1 b 2        => ["a", "b"]
            COMMAND GETKEYS ECHO x              => -ERR The command has no key arguments
            COMMAND GETKEYS NOSUCH              => -ERR Invalid command specified
            COMMAND INFO nosuch                 => [nil]
            COMMAND JUNK                        => -ERR unknown subcommand 'JUNK'. Try COMMAND HELP.
            "#,
        );
        let count = client.line("COMMAND COUNT").integer();
        assert_eq!(client.line("COMMAND").items().len() as i64, count);
        // With subcommands, unlike the others.
        assert!(client.line("COMMAND LIST").items().len() as i64 > count);
        let row = client.line("COMMAND INFO get").items()[0].clone();
        assert_eq!(row.items()[0].text(), "get");
        assert_eq!(row.items()[1].integer(), 2);
        assert_eq!(row.items().len(), 10);
        let docs = client.line("COMMAND DOCS get").pairs();
        assert_eq!(docs[0].0.text(), "get");
        let keys = client.line("COMMAND GETKEYSANDFLAGS SET k v");
        assert_eq!(keys.items()[0].items()[0].text(), "k");
        assert!(client.line("COMMAND HELP").items().len() > 5);
    });
}

#[test]
fn shutdown_ends_the_process() {
    let mut server = Server::start(&[]);
    let mut client = server.connect();
    client.check("SHUTDOWN JUNK", "-ERR syntax error");
    client.check("SHUTDOWN ABORT", "-ERR No shutdown in progress.");
    client.send(&["SHUTDOWN", "NOSAVE"]);
    assert!(client.is_closed_by_server());
    assert!(server.wait_exit().success(), "{}", server.output());
}
