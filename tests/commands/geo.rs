//! Geospatial indexes: every option and every error of every command. Expected replies are those of redis-server 7.0.

use crate::support::server::both_protocols;

/// Runs a script over both protocols, each time on an empty server. Where protocols differ, the reply in RESP2 stands
/// before a bar, that in RESP3 behind it.
#[track_caller]
fn check(script: &str) {
    both_protocols(&[], |_, client| {
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

#[test]
fn places_are_added_and_told() {
    check(
        r#"
        GEOADD g 13.361389 38.115556 Palermo 15.087269 37.502669 Catania => 2
        GEOADD g 13.361389 38.115556 Palermo => 0
        GEOADD g CH 13.5 38.5 Palermo => 1
        GEOADD g NX 1 1 Palermo     => 0
        GEOADD g XX 1 1 Nowhere     => 0
        GEOADD g XX CH 13.361389 38.115556 Palermo => 1
        TYPE g                      => zset
        ZSCORE g Palermo            => "3479099956230698" | ,3479099956230698
        GEOPOS g Palermo none       => [["13.36138933897018433", "38.11555639549629859"], nil] | [[,13.36138933897018433, ,38.11555639549629859], nil]
        GEOPOS none a               => [nil]
        GEOPOS g                    => []
        GEOHASH g Palermo Catania x => ["sqc8b49rny0", "sqdtr74hyu0", nil]
        GEOHASH none a              => [nil]
        GEODIST g Palermo Catania   => "166274.1516"
        GEODIST g Palermo Catania KM => "166.2742"
        GEODIST g Palermo Catania mi => "103.3182"
        GEODIST g Palermo Catania ft => "545518.8700"
        GEODIST g Palermo Palermo   => "0.0000"
        GEODIST g Palermo none      => nil
        GEODIST none a b            => nil

        GEOADD g 1 2                => -ERR wrong number of arguments for 'geoadd' command
        GEOADD g 1 2 a 3            => -ERR syntax error
        GEOADD g NX XX 1 2 a        => -ERR syntax error
        GEOADD g CH NX CH           => -ERR syntax error
        GEOADD g x 2 a              => -ERR value is not a valid float
        GEOADD g 1 2 a 181 2 b      => -ERR invalid longitude,latitude pair 181.000000,2.000000
        GEOADD g 1 86 a             => -ERR invalid longitude,latitude pair 1.000000,86.000000
        GEODIST g a b m x           => -ERR syntax error
        GEODIST g a b parsec        => -ERR unsupported unit provided. please use M, KM, FT, MI
        SET s v                     => OK
        GEOADD s 1 2 a              => -WRONGTYPE Operation against a key holding the wrong kind of value
        GEOPOS s a                  => -WRONGTYPE Operation against a key holding the wrong kind of value
        GEOHASH s a                 => -WRONGTYPE Operation against a key holding the wrong kind of value
        GEODIST s a b               => -WRONGTYPE Operation against a key holding the wrong kind of value
        "#,
    );
}

#[test]
fn places_are_found() {
    check(
        r#"
        GEOADD g 13.361389 38.115556 Palermo 15.087269 37.502669 Catania 12.758489 38.788135 edge1 17.241510 38.788135 edge2 => 4
        GEOSEARCH g FROMLONLAT 15 37 BYRADIUS 200 km ASC => ["Catania", "Palermo"]
        GEOSEARCH g FROMLONLAT 15 37 BYRADIUS 200 KM DESC => ["Palermo", "Catania"]
        GEOSEARCH g FROMLONLAT 15 37 BYBOX 400 400 km ASC => ["Catania", "Palermo", "edge2", "edge1"]
        GEOSEARCH g FROMLONLAT 15 37 BYBOX 400 400 km COUNT 2 => ["Catania", "Palermo"]
        GEOSEARCH g FROMMEMBER Catania BYRADIUS 1 m => ["Catania"]
        GEOSEARCH g FROMMEMBER Catania BYRADIUS 167 km ASC WITHDIST WITHHASH => [["Catania", "0.0000", 3479447370796909], ["Palermo", "166.2742", 3479099956230698]]
        GEOSEARCH g FROMMEMBER Palermo BYRADIUS 1 m WITHCOORD => [["Palermo", ["13.36138933897018433", "38.11555639549629859"]]] | [["Palermo", [,13.36138933897018433, ,38.11555639549629859]]]
        GEOSEARCH g FROMLONLAT 0 0 BYRADIUS 1 m => []
        GEOSEARCH none FROMMEMBER a BYRADIUS 1 m => []
        GEORADIUS g 15 37 200 km ASC WITHDIST => [["Catania", "56.4413"], ["Palermo", "190.4424"]]
        GEORADIUS_RO g 15 37 200 km COUNT 1 => ["Catania"]
        GEORADIUSBYMEMBER g Palermo 200 km DESC => ["Catania", "edge1", "Palermo"]
        GEORADIUSBYMEMBER_RO g Palermo 10 km => ["Palermo"]
        GEORADIUS none 15 37 200 km => []
        GEORADIUSBYMEMBER none a x junk => []
        GEORADIUSBYMEMBER_RO none a 1 m => []

        GEOSEARCH g FROMLONLAT 15 37 BYRADIUS => -ERR wrong number of arguments for 'geosearch' command
        GEOSEARCH g FROMLONLAT 15 37 BYRADIUS 200 => -ERR syntax error
        GEOSEARCH g FROMLONLAT 15 37 ASC DESC WITHDIST => -ERR exactly one of BYRADIUS and BYBOX can be specified for GEOSEARCH
        GEOSEARCH g BYBOX 1 1 m ASC DESC => -ERR exactly one of FROMMEMBER or FROMLONLAT can be specified for GEOSEARCH
        geosearch g BYBOX 1 1 m ASC DESC => -ERR exactly one of FROMMEMBER or FROMLONLAT can be specified for geosearch
        GEOSEARCH g FROMLONLAT 1 1 FROMMEMBER Palermo BYRADIUS 1 m => -ERR syntax error
        GEOSEARCH g FROMMEMBER Palermo FROMLONLAT 1 1 BYRADIUS 1 m => -ERR syntax error
        GEOSEARCH g FROMLONLAT 1 1 BYRADIUS 1 m BYBOX 1 1 m => -ERR syntax error
        GEOSEARCH g FROMMEMBER none BYRADIUS 1 m => -ERR could not decode requested zset member
        GEOSEARCH g FROMLONLAT 1 91 BYRADIUS 1 m => -ERR invalid longitude,latitude pair 1.000000,91.000000
        GEOSEARCH g FROMLONLAT 1 1 BYRADIUS x m => -ERR need numeric radius
        GEOSEARCH g FROMLONLAT 1 1 BYRADIUS -1 m => -ERR radius cannot be negative
        GEOSEARCH g FROMLONLAT 1 1 BYBOX x 1 m => -ERR need numeric width
        GEOSEARCH g FROMLONLAT 1 1 BYBOX 1 x m => -ERR need numeric height
        GEOSEARCH g FROMLONLAT 1 1 BYBOX 1 -1 m => -ERR height or width cannot be negative
        GEOSEARCH g FROMLONLAT 1 1 BYRADIUS 1 x => -ERR unsupported unit provided. please use M, KM, FT, MI
        GEOSEARCH g FROMLONLAT 1 1 BYRADIUS 1 m COUNT 0 => -ERR COUNT must be > 0
        GEOSEARCH g FROMLONLAT 1 1 BYRADIUS 1 m COUNT x => -ERR value is not an integer or out of range
        GEOSEARCH g FROMLONLAT 1 1 BYRADIUS 1 m ANY => -ERR the ANY argument requires COUNT argument
        GEOSEARCH g FROMLONLAT 1 1 BYRADIUS 1 m STOREDIST => -ERR syntax error
        GEORADIUS g 15 37 x km      => -ERR need numeric radius
        GEORADIUS g 15 37 -1 km     => -ERR radius cannot be negative
        GEORADIUS_RO g 15 37 1 km STORE to => -ERR syntax error
        GEORADIUSBYMEMBER g none 1 m => -ERR could not decode requested zset member
        GEORADIUSBYMEMBER_RO g Palermo 1 x => -ERR unsupported unit provided. please use M, KM, FT, MI
        SET s v                     => OK
        GEOSEARCH s FROMLONLAT x 1 BYRADIUS 1 m => -WRONGTYPE Operation against a key holding the wrong kind of value
        GEORADIUS s 1 1 1 m         => -WRONGTYPE Operation against a key holding the wrong kind of value
        GEORADIUS_RO s 1 1 1 m      => -WRONGTYPE Operation against a key holding the wrong kind of value
        GEORADIUSBYMEMBER s a 1 m   => -WRONGTYPE Operation against a key holding the wrong kind of value
        "#,
    );
}

#[test]
fn what_is_found_is_stored() {
    check(
        r#"
        GEOADD g 13.361389 38.115556 Palermo 15.087269 37.502669 Catania => 2
        GEOSEARCHSTORE to g FROMLONLAT 15 37 BYRADIUS 200 km => 2
        ZRANGE to 0 -1              => ["Palermo", "Catania"]
        GEOPOS to Catania           => [["15.08726745843887329", "37.50266842333162032"]] | [[,15.08726745843887329, ,37.50266842333162032]]
        GEOSEARCHSTORE to g FROMLONLAT 15 37 BYRADIUS 200 km COUNT 1 DESC => 1
        ZRANGE to 0 -1              => ["Palermo"]
        GEOSEARCHSTORE to g FROMMEMBER Palermo BYRADIUS 0 km STOREDIST => 1
        ZRANGE to 0 -1 WITHSCORES   => ["Palermo", "0"] | [["Palermo", ,0]]
        GEORADIUS g 15 37 200 km STORE to => 2
        ZCARD to                    => 2
        GEORADIUSBYMEMBER g Palermo 1 km STORE other STOREDIST to => 1
        EXISTS other                => 0
        ZRANGE to 0 -1 WITHSCORES   => ["Palermo", "0"] | [["Palermo", ,0]]
        GEOSEARCHSTORE to g FROMLONLAT 0 0 BYBOX 1 1 m => 0
        EXISTS to                   => 0
        SET to v                    => OK
        GEOSEARCHSTORE to none FROMLONLAT 0 0 BYBOX 1 1 m => 0
        EXISTS to                   => 0
        GEORADIUS none 15 37 200 km STORE to => 0
        GEOSEARCHSTORE to g FROMLONLAT 0 0 BYBOX 1 1 m WITHDIST => -ERR GEOSEARCHSTORE is not compatible with WITHDIST, WITHHASH and WITHCOORD options
        GEORADIUS g 15 37 200 km STORE to WITHCOORD => -ERR STORE option in GEORADIUS is not compatible with WITHDIST, WITHHASH and WITHCOORD options
        GEOSEARCHSTORE to g FROMLONLAT 0 0 ASC DESC ASC => -ERR exactly one of BYRADIUS and BYBOX can be specified for GEOSEARCHSTORE
        GEOSEARCHSTORE to g FROMLONLAT 0 0 => -ERR wrong number of arguments for 'geosearchstore' command
        "#,
    );
}
