//! What the random commands are made of: templates by family, with weights, and what their placeholders stand for.
//!
//! Left out because no two servers need agree: what is random (SPOP of a set with members, RANDOMKEY), ids and times that
//! a server takes from its own clock, SCAN's order, OBJECT REFCOUNT/FREQ/IDLETIME, how a server lays data out in memory,
//! anything newer than 7.0.

/// A family: the commands that one run consists of, but for [`COMMON`], which come in between.
pub struct Family {
    /// Its name, for messages.
    pub name: &'static str,
    /// Weights and templates. `{name}` is replaced by one or more arguments.
    pub templates: &'static [(u64, &'static str)],
}

/// Commands for keys of any type, and some that make keys of each, so that commands meet keys of other types.
pub const COMMON: &[(u64, &str)] = &[
    (8, "DEL {keys}"),
    (4, "UNLINK {keys}"),
    (6, "EXISTS {keys}"),
    (5, "TYPE {key}"),
    (6, "RENAME {key} {key}"),
    (4, "RENAMENX {key} {key}"),
    (8, "COPY {key} {key} {copyoptions}"),
    (4, "MOVE {key} {db}"),
    (4, "OBJECT ENCODING {key}"),
    (8, "EXPIRE {key} {seconds} {expireoptions}"),
    (4, "PERSIST {key}"),
    (6, "TTL {key}"),
    (1, "FLUSHDB"),
    (5, "MULTI"),
    (6, "EXEC"),
    (1, "DISCARD"),
    (3, "WATCH {keys}"),
    (4, "SET {key} {value}"),
    (2, "LPUSH {key} {members}"),
    (2, "HSET {key} {fieldpairs}"),
    (2, "SADD {key} {members}"),
    (2, "ZADD {key} {scorepairs}"),
    (2, "XADD {key} {id} {fieldpairs}"),
];

/// Strings and whatever there is besides the data types.
pub const STRINGS: Family = Family {
    name: "strings",
    templates: &[
        (30, "SET {key} {value}"),
        (20, "SET {key} {value} {setoptions}"),
        (20, "GET {key}"),
        (6, "GETDEL {key}"),
        (10, "GETEX {key} {getexoptions}"),
        (5, "GETSET {key} {value}"),
        (5, "SETNX {key} {value}"),
        (5, "SETEX {key} {seconds} {value}"),
        (5, "PSETEX {key} {milliseconds} {value}"),
        (8, "MGET {keys}"),
        (8, "MSET {pairs}"),
        (6, "MSETNX {pairs}"),
        (12, "APPEND {key} {value}"),
        (8, "STRLEN {key}"),
        (8, "GETRANGE {key} {index} {index}"),
        (4, "SUBSTR {key} {index} {index}"),
        (8, "SETRANGE {key} {offset} {value}"),
        (10, "INCR {key}"),
        (6, "DECR {key}"),
        (10, "INCRBY {key} {integer}"),
        (10, "DECRBY {key} {integer}"),
        (10, "INCRBYFLOAT {key} {float}"),
        (8, "LCS {key} {key} {lcsoptions}"),
        (4, "TOUCH {keys}"),
        (4, "KEYS {pattern}"),
        (4, "DBSIZE"),
        (6, "PEXPIRE {key} {milliseconds} {expireoptions}"),
        (8, "EXPIREAT {key} {at} {expireoptions}"),
        (8, "PEXPIREAT {key} {atms} {expireoptions}"),
        (6, "PTTL {key}"),
        (6, "EXPIRETIME {key}"),
        (6, "PEXPIRETIME {key}"),
        (1, "OBJECT {junk}"),
        (4, "SELECT {db}"),
        (1, "SWAPDB {db} {db}"),
        (1, "FLUSHALL"),
        (1, "UNWATCH"),
        (2, "PING"),
        (2, "PING {value}"),
        (2, "ECHO {value}"),
        (1, "RESET"),
        (3, "NOSUCHCOMMAND {value} {key}"),
    ],
};

/// Hashes.
pub const HASHES: Family = Family {
    name: "hashes",
    templates: &[
        (30, "HSET {key} {fieldpairs}"),
        (6, "HMSET {key} {fieldpairs}"),
        (10, "HSETNX {key} {field} {value}"),
        (20, "HGET {key} {field}"),
        (12, "HMGET {key} {fields}"),
        (10, "HGETALL {key}"),
        (6, "HKEYS {key}"),
        (6, "HVALS {key}"),
        (6, "HLEN {key}"),
        (8, "HEXISTS {key} {field}"),
        (12, "HDEL {key} {fields}"),
        (6, "HSTRLEN {key} {field}"),
        (12, "HINCRBY {key} {field} {integer}"),
        (12, "HINCRBYFLOAT {key} {field} {float}"),
        (4, "HSCAN {key} 0 {scanoptions}"),
        (3, "HRANDFIELD {key} 0"),
    ],
};

/// Lists, and what sorts them.
pub const LISTS: Family = Family {
    name: "lists",
    templates: &[
        (20, "LPUSH {key} {members}"),
        (20, "RPUSH {key} {members}"),
        (5, "LPUSHX {key} {members}"),
        (5, "RPUSHX {key} {members}"),
        (8, "LPOP {key} {countoption}"),
        (8, "RPOP {key} {countoption}"),
        (6, "LLEN {key}"),
        (14, "LRANGE {key} {index} {index}"),
        (8, "LINDEX {key} {index}"),
        (8, "LSET {key} {index} {member}"),
        (10, "LINSERT {key} {where} {member} {member}"),
        (10, "LREM {key} {index} {member}"),
        (6, "LTRIM {key} {index} {index}"),
        (12, "LPOS {key} {member} {lposoptions}"),
        (10, "LMOVE {key} {key} {end} {end}"),
        (6, "RPOPLPUSH {key} {key}"),
        (8, "LMPOP {numkeys} {end} {lmpopoptions}"),
        (3, "BLPOP {keys} 0.01"),
        (3, "BRPOP {keys} 0.01"),
        (3, "BLMOVE {key} {key} {end} {end} 0.01"),
        (3, "BLMPOP 0.01 {numkeys} {end} {lmpopoptions}"),
        (10, "SORT {key} {sortoptions}"),
        (4, "SORT_RO {key} {sortoptions}"),
        (4, "SORT {key} {sortoptions} STORE {key}"),
    ],
};

/// Sets.
pub const SETS: Family = Family {
    name: "sets",
    templates: &[
        (30, "SADD {key} {members}"),
        (14, "SREM {key} {members}"),
        (10, "SISMEMBER {key} {member}"),
        (8, "SMISMEMBER {key} {members}"),
        (6, "SCARD {key}"),
        (8, "SMEMBERS {key}"),
        (8, "SMOVE {key} {key} {member}"),
        (8, "SINTER {keys}"),
        (8, "SUNION {keys}"),
        (8, "SDIFF {keys}"),
        (6, "SINTERSTORE {key} {keys}"),
        (6, "SUNIONSTORE {key} {keys}"),
        (6, "SDIFFSTORE {key} {keys}"),
        (8, "SINTERCARD {numkeys} {limitoption}"),
        (4, "SSCAN {key} 0 {scanoptions}"),
        (2, "SPOP {key} 0"),
        (2, "SPOP {key} 1000"),
        (2, "SRANDMEMBER {key} 1000"),
        (6, "SORT {key} {sortoptions} ALPHA"),
    ],
};

/// Sorted sets.
pub const SORTED_SETS: Family = Family {
    name: "sorted sets",
    templates: &[
        (30, "ZADD {key} {scorepairs}"),
        (20, "ZADD {key} {zaddoptions} {scorepairs}"),
        (8, "ZADD {key} {zaddoptions} INCR {score} {member}"),
        (10, "ZINCRBY {key} {score} {member}"),
        (10, "ZREM {key} {members}"),
        (4, "ZCARD {key}"),
        (8, "ZSCORE {key} {member}"),
        (6, "ZMSCORE {key} {members}"),
        (8, "ZRANK {key} {member}"),
        (8, "ZREVRANK {key} {member}"),
        (8, "ZCOUNT {key} {bound} {bound}"),
        (6, "ZLEXCOUNT {key} {lexbound} {lexbound}"),
        (12, "ZRANGE {key} {index} {index} {zrangeoptions}"),
        (10, "ZRANGE {key} {bound} {bound} BYSCORE {zrangeoptions}"),
        (8, "ZRANGE {key} {lexbound} {lexbound} BYLEX {zrangeoptions}"),
        (6, "ZREVRANGE {key} {index} {index} {withscores}"),
        (6, "ZRANGEBYSCORE {key} {bound} {bound} {scorerangeoptions}"),
        (6, "ZREVRANGEBYSCORE {key} {bound} {bound} {scorerangeoptions}"),
        (4, "ZRANGEBYLEX {key} {lexbound} {lexbound} {limit}"),
        (4, "ZREVRANGEBYLEX {key} {lexbound} {lexbound} {limit}"),
        (6, "ZRANGESTORE {key} {key} {index} {index} {zrangeoptions}"),
        (4, "ZREMRANGEBYRANK {key} {index} {index}"),
        (4, "ZREMRANGEBYSCORE {key} {bound} {bound}"),
        (3, "ZREMRANGEBYLEX {key} {lexbound} {lexbound}"),
        (6, "ZPOPMIN {key} {countoption}"),
        (6, "ZPOPMAX {key} {countoption}"),
        (6, "ZMPOP {numkeys} {minmax} {lmpopoptions}"),
        (6, "ZUNION {numkeys} {zjoinoptions} {withscores}"),
        (6, "ZINTER {numkeys} {zjoinoptions} {withscores}"),
        (6, "ZDIFF {numkeys} {withscores}"),
        (5, "ZUNIONSTORE {key} {numkeys} {zjoinoptions}"),
        (5, "ZINTERSTORE {key} {numkeys} {zjoinoptions}"),
        (5, "ZDIFFSTORE {key} {numkeys}"),
        (6, "ZINTERCARD {numkeys} {limitoption}"),
        (4, "ZSCAN {key} 0 {scanoptions}"),
        (3, "ZRANDMEMBER {key} 0"),
        (3, "BZPOPMIN {keys} 0.01"),
        (3, "BZPOPMAX {keys} 0.01"),
        (3, "BZMPOP 0.01 {numkeys} {minmax} {lmpopoptions}"),
    ],
};

/// Bits of strings.
pub const BITMAPS: Family = Family {
    name: "bitmaps",
    templates: &[
        (20, "SETBIT {key} {bitoffset} {bit}"),
        (12, "GETBIT {key} {bitoffset}"),
        (14, "BITCOUNT {key} {bitrange}"),
        (14, "BITPOS {key} {bit} {bitrange}"),
        (12, "BITOP {bitop} {key} {keys}"),
        (20, "BITFIELD {key} {fieldops}"),
        (8, "BITFIELD_RO {key} GET {bittype} {bitoffset}"),
        (8, "SET {key} {value}"),
        (6, "GET {key}"),
        (4, "APPEND {key} {value}"),
    ],
};

/// HyperLogLogs.
pub const HYPERLOGLOGS: Family = Family {
    name: "hyperloglogs",
    templates: &[
        (40, "PFADD {key} {members}"),
        (8, "PFADD {key}"),
        (14, "PFCOUNT {keys}"),
        (8, "PFMERGE {key} {keys}"),
        (10, "GET {key}"),
        (4, "STRLEN {key}"),
        (2, "APPEND {key} {value}"),
    ],
};

/// Places on earth.
pub const PLACES: Family = Family {
    name: "places",
    templates: &[
        (30, "GEOADD {key} {places}"),
        (8, "GEOADD {key} {zaddoptions} {places}"),
        (10, "GEODIST {key} {place} {place} {unitoption}"),
        (8, "GEOHASH {key} {place} {place}"),
        (8, "GEOPOS {key} {place} {place}"),
        (14, "GEOSEARCH {key} FROMMEMBER {place} {geoshape} {geooptions}"),
        (14, "GEOSEARCH {key} FROMLONLAT {longitude} {latitude} {geoshape} {geooptions}"),
        (8, "GEOSEARCHSTORE {key} {key} FROMMEMBER {place} {geoshape} {geostoreoptions}"),
        (8, "GEORADIUS {key} {longitude} {latitude} {radius} {unit} {geooptions}"),
        (8, "GEORADIUSBYMEMBER {key} {place} {radius} {unit} {geooptions}"),
        (4, "GEORADIUS_RO {key} {longitude} {latitude} {radius} {unit} {geooptions}"),
        (4, "ZRANGE {key} 0 -1 WITHSCORES"),
    ],
};

/// Streams.
pub const STREAMS: Family = Family {
    name: "streams",
    templates: &[
        (40, "XADD {key} {id} {fieldpairs}"),
        (10, "XADD {key} {trim} {id} {fieldpairs}"),
        (4, "XADD {key} NOMKSTREAM {id} {fieldpairs}"),
        (6, "XLEN {key}"),
        (12, "XRANGE {key} {idbound} {idbound} {xcount}"),
        (10, "XREVRANGE {key} {idbound} {idbound} {xcount}"),
        (8, "XDEL {key} {id} {id}"),
        (6, "XTRIM {key} {trim}"),
        (4, "XSETID {key} {id}"),
        (10, "XREAD {xcount} STREAMS {key} {id}"),
        (6, "XREAD {xcount} STREAMS {key} {key} {id} {id}"),
        (12, "XGROUP CREATE {key} {group} {idor$} {mkstream}"),
        (4, "XGROUP SETID {key} {group} {idor$}"),
        (3, "XGROUP DESTROY {key} {group}"),
        (3, "XGROUP CREATECONSUMER {key} {group} {consumer}"),
        (3, "XGROUP DELCONSUMER {key} {group} {consumer}"),
        (16, "XREADGROUP GROUP {group} {consumer} {xcount} {noack} STREAMS {key} >"),
        (8, "XREADGROUP GROUP {group} {consumer} {xcount} STREAMS {key} {id}"),
        (8, "XACK {key} {group} {id} {id}"),
        (8, "XPENDING {key} {group}"),
        (8, "XCLAIM {key} {group} {consumer} 0 {id} {claimoptions}"),
        (6, "XAUTOCLAIM {key} {group} {consumer} 0 {id} {claimcount}"),
        (6, "XINFO GROUPS {key}"),
    ],
};

/// What placeholders stand for: one of these, in which other placeholders may stand.
pub const CHOICES: &[(&str, &[&str])] = &[
    ("field", &["f1", "f2", "f3", "f4", "f5", "7", "", "a longer name of a field, as they come at times, so that it is one"]),
    ("member", &["a", "b", "c", "d", "e", "1", "2", "3", "-5", "1000000", "", "x\u{0}y", "12345678901234567890", "{value}"]),
    ("score", &["0", "1", "2", "-1", "1.5", "3.25", "-0", "1e20", "0.1", "inf", "-inf", "nan", "x", "2.5"]),
    ("bound", &["-inf", "+inf", "0", "1", "(1", "2", "(2", "-1", "1.5", "(x", "x"]),
    ("lexbound", &["-", "+", "[a", "(a", "[c", "(c", "[", "(", "x", "[1"]),
    ("where", &["BEFORE", "AFTER", "after", "junk"]),
    ("end", &["LEFT", "RIGHT", "left", "junk"]),
    ("minmax", &["MIN", "MAX", "junk"]),
    ("numkeys", &["1 {key}", "2 {key} {key}", "2 {key} {key}", "3 {key} {key} {key}", "0 {key}", "2 {key}", "-1 {key}", "x"]),
    ("bit", &["0", "1", "1", "0", "2", "x"]),
    ("bitoffset", &["0", "1", "7", "8", "9", "63", "100", "1000", "-1", "x", "#1", "4294967295000"]),
    ("bitop", &["AND", "OR", "XOR", "NOT", "junk"]),
    ("bittype", &["u8", "i8", "u1", "i16", "u16", "i64", "u63", "i5", "u64", "i65", "x8", "u0"]),
    ("overflow", &["WRAP", "SAT", "FAIL", "junk"]),
    ("place", &["Palermo", "Catania", "Agrigento", "none"]),
    ("longitude", &["13.361389", "15.087269", "0", "-179.9", "179.9", "180.1", "x", "1e-5"]),
    ("latitude", &["38.115556", "37.502669", "0", "-85", "84.9", "85.06", "x"]),
    ("radius", &["100", "200", "5000", "0", "-1", "x", "1e7"]),
    ("unit", &["km", "m", "mi", "ft", "KM", "parsec"]),
    ("geoshape", &["BYRADIUS {radius} {unit}", "BYBOX {radius} {radius} {unit}", "BYRADIUS 200 km"]),
    ("id", &["1-1", "1-2", "2-0", "3", "5-5", "7-0", "9-9", "12", "0-0", "5-*", "0", "x", "18446744073709551615-1"]),
    ("idor$", &["0", "$", "2-0", "5-5", "x"]),
    ("idbound", &["-", "+", "1-1", "3", "(2-0", "5-5", "0", "(", "x"]),
    ("group", &["g1", "g2", "g3"]),
    ("consumer", &["alice", "bob"]),
    ("trim", &["MAXLEN 3", "MAXLEN = 2", "MAXLEN 0", "MINID 3", "MINID = 5-5", "MAXLEN x", "MAXLEN -1"]),
];

/// Placeholders that stand for several of another.
pub const REPEATS: &[(&str, &str, u64)] = &[
    ("members", "member", 4),
    ("fields", "field", 3),
    ("fieldpairs", "fieldpair", 3),
    ("scorepairs", "scorepair", 4),
    ("fieldops", "fieldop", 3),
    ("places", "placeat", 2),
];

/// Placeholders that are put together of others.
pub const COMPOUNDS: &[(&str, &str)] = &[
    ("fieldpair", "{field} {value}"),
    ("scorepair", "{score} {member}"),
    ("placeat", "{longitude} {latitude} {place}"),
];

/// Placeholders for options: so many of these at most.
pub const OPTIONS: &[(&str, u64, &[&str])] = &[
    (
        "setoptions",
        3,
        &["NX", "XX", "GET", "KEEPTTL", "EX {seconds}", "PX {milliseconds}", "EXAT {at}", "PXAT {atms}"],
    ),
    ("getexoptions", 2, &["PERSIST", "EX {seconds}", "PX {milliseconds}", "EXAT {at}", "PXAT {atms}"]),
    ("expireoptions", 2, &["NX", "XX", "GT", "LT"]),
    ("copyoptions", 2, &["REPLACE", "DB {db}"]),
    ("lcsoptions", 3, &["LEN", "IDX", "WITHMATCHLEN", "MINMATCHLEN {index}"]),
    ("scanoptions", 2, &["COUNT 1000", "MATCH *", "COUNT 0", "COUNT x"]),
    ("countoption", 1, &["0", "1", "2", "100", "-1", "x"]),
    ("lposoptions", 3, &["RANK 1", "RANK -1", "RANK 2", "RANK 0", "COUNT 0", "COUNT 2", "MAXLEN 3", "COUNT -1"]),
    ("lmpopoptions", 1, &["COUNT 1", "COUNT 2", "COUNT 100", "COUNT 0", "COUNT x"]),
    ("limitoption", 1, &["LIMIT 0", "LIMIT 1", "LIMIT 2", "LIMIT -1", "LIMIT x"]),
    ("sortoptions", 3, &["ALPHA", "ASC", "DESC", "LIMIT 0 3", "LIMIT 1 -1", "BY nosort", "GET #", "BY k*", "GET k*"]),
    ("zaddoptions", 2, &["NX", "XX", "GT", "LT", "CH"]),
    ("zrangeoptions", 2, &["REV", "WITHSCORES", "LIMIT 0 2", "LIMIT 1 -1", "LIMIT x 1"]),
    ("withscores", 1, &["WITHSCORES"]),
    ("scorerangeoptions", 2, &["WITHSCORES", "LIMIT 0 2", "LIMIT 1 -1"]),
    ("limit", 1, &["LIMIT 0 2", "LIMIT 1 -1"]),
    ("zjoinoptions", 2, &["WEIGHTS 1 2", "WEIGHTS 2", "AGGREGATE MIN", "AGGREGATE MAX", "AGGREGATE SUM"]),
    ("bitrange", 1, &["0 -1", "1 2", "0 10 BIT", "-3 -1 BYTE", "5 2", "0 x", "0 -1 BIT", "1"]),
    (
        "fieldop",
        1,
        &[
            "GET {bittype} {bitoffset}",
            "SET {bittype} {bitoffset} {integer}",
            "INCRBY {bittype} {bitoffset} {integer}",
            "OVERFLOW {overflow}",
        ],
    ),
    ("unitoption", 1, &["{unit}"]),
    ("geooptions", 3, &["ASC", "DESC", "COUNT 1", "COUNT 2 ANY", "WITHCOORD", "WITHDIST", "WITHHASH"]),
    ("geostoreoptions", 2, &["ASC", "COUNT 1", "STOREDIST"]),
    ("xcount", 1, &["COUNT 2", "COUNT 100", "COUNT 0", "COUNT x"]),
    ("mkstream", 1, &["MKSTREAM"]),
    ("noack", 1, &["NOACK"]),
    ("claimoptions", 2, &["JUSTID", "FORCE", "RETRYCOUNT 3", "LASTID 5-5"]),
    ("claimcount", 1, &["COUNT 1", "JUSTID", "COUNT 0"]),
];
