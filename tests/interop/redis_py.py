"""redis-py against a running server: redis_py.py PORT PROTOCOL. Prints one line and exits 0, or fails with a traceback.

Written as a user of the client writes: only public methods, default options. Nothing here sleeps; waits have limits.
"""

import sys
import threading
import time

import redis


def strings(r):
    assert r.set("k", "v") is True
    assert r.get("k") == "v"
    assert r.set("k", "w", nx=True) is None
    assert r.set("k", "w", xx=True, get=True) == "v"
    assert r.set("k", "x", ex=1000) and 0 < r.ttl("k") <= 1000
    assert r.set("k", "y", keepttl=True) and r.ttl("k") > 0
    assert r.getex("k", persist=True) == "y" and r.ttl("k") == -1
    assert r.getdel("k") == "y" and r.get("k") is None
    assert r.mset({"a": 1, "b": 2}) and r.mget("a", "b", "none") == ["1", "2", None]
    assert r.msetnx({"a": 1, "c": 2}) is False
    assert r.incr("a", 4) == 5 and r.decrby("a", 2) == 3
    assert abs(r.incrbyfloat("a", 0.5) - 3.5) < 1e-9
    assert r.append("s", "hello") == 5 and r.getrange("s", 1, 3) == "ell"
    assert r.setrange("s", 5, " world") == 11 and r.strlen("s") == 11
    assert r.lcs("s", "s", len=True) == 11
    r.set("binary", bytes(range(256)))
    raw = redis.Redis(port=r.connection_pool.connection_kwargs["port"])
    assert raw.get("binary") == bytes(range(256))
    raw.close()


def errors(r):
    r.set("text", "abc")
    for call, part in [
        (lambda: r.incr("text"), "not an integer"),
        (lambda: r.execute_command("GET"), "wrong number of arguments for 'get' command"),
        (lambda: r.execute_command("NOSUCH", "x"), "unknown command"),
        (lambda: r.execute_command("SET", "k", "v", "BAD"), "syntax error"),
        (lambda: r.execute_command("SETEX", "k", 0, "v"), "invalid expire time"),
    ]:
        try:
            call()
        except redis.ResponseError as error:
            assert part in str(error), error
        else:
            raise AssertionError(part)


def expiry(r):
    r.set("e", "v")
    now = int(time.time())
    assert r.expire("e", 100) and not r.expire("e", 50, gt=True) and r.expire("e", 200, gt=True)
    assert r.expireat("e", now + 500) and r.expiretime("e") == now + 500
    assert r.pexpireat("e", (now + 500) * 1000) and r.pexpiretime("e") == (now + 500) * 1000
    assert r.pexpire("e", 100_000, lt=True) and 0 < r.pttl("e") <= 100_000
    assert r.persist("e") and r.ttl("e") == -1 and r.ttl("none") == -2
    r.set("soon", "v", px=20)
    deadline = time.monotonic() + 10
    while r.exists("soon"):
        assert time.monotonic() < deadline, "a key outlived its deadline"


def pipelines(r):
    with r.pipeline(transaction=False) as pipe:
        for index in range(1000):
            pipe.set(f"p:{index}", index)
        assert all(pipe.execute())
    with r.pipeline() as pipe:
        pipe.get("p:1").incr("p:1").get("p:1").echo("x")
        assert pipe.execute()[:3] == ["1", 2, "2"]
    with r.pipeline() as pipe:
        pipe.watch("w")
        r.set("w", "changed")
        pipe.multi()
        pipe.set("w", "mine")
        try:
            pipe.execute()
        except redis.WatchError:
            pass
        else:
            raise AssertionError("a watched key changed and EXEC ran")
    assert r.get("w") == "changed"
    assert r.transaction(lambda pipe: (pipe.multi(), pipe.incr("t")), "t") == [1]


def keys(r):
    r.flushdb()
    with r.pipeline(transaction=False) as pipe:
        for index in range(500):
            pipe.set(f"s:{index}", index)
        pipe.execute()
    assert len(set(r.scan_iter(match="s:*", count=50))) == 500
    assert len(list(r.scan_iter(match="s:1?", _type="string"))) == 10
    assert r.dbsize() == 500 and len(r.keys("s:4*")) == 111
    assert r.randomkey().startswith("s:") and r.type("s:1") == "string" and r.type("none") == "none"
    assert r.rename("s:1", "renamed") and r.copy("renamed", "copied") is True
    assert r.exists("renamed", "copied", "s:1") == 2 and r.unlink("renamed", "copied") == 2
    assert r.object("encoding", "s:2") in ("int", b"int") and r.memory_usage("s:2") > 0
    assert r.touch("s:2", "none") == 1


def collections(r):
    assert r.hset("h", mapping={"name": "ada", "visits": 3}) == 2 and r.hget("h", "name") == "ada"
    assert r.hincrby("h", "visits", 2) == 5 and r.hgetall("h") == {"name": "ada", "visits": "5"}
    assert r.hexpire("h", 100, "name") == [1] and 0 < r.httl("h", "name", "none")[0] <= 100
    assert dict(r.hscan_iter("h")) == {"name": "ada", "visits": "5"}
    assert r.rpush("l", "a", "b", "c") == 3 and r.lrange("l", 0, -1) == ["a", "b", "c"]
    assert r.lmove("l", "m", "LEFT", "RIGHT") == "a" and r.lpos("l", "c") == 1
    assert tuple(r.blpop(["none", "l"], timeout=1)) == ("l", "b") and r.blpop("none", timeout=0.05) is None
    assert r.sadd("s1", 1, 2, 3) == 3 and r.sadd("s2", 2, 3, 4) == 3
    assert r.sinter("s1", "s2") == {"2", "3"} and r.sintercard(2, ["s1", "s2"], limit=1) == 1
    assert r.smismember("s1", ["1", "9"]) == [1, 0] and set(r.sscan_iter("s1")) == {"1", "2", "3"}
    assert r.zadd("z", {"ada": 120, "grace": 95.5}) == 2 and r.zincrby("z", 1, "grace") == 96.5
    pairs = [(member, float(score)) for member, score in r.zrange("z", 0, -1, desc=True, withscores=True)]
    assert pairs == [("ada", 120.0), ("grace", 96.5)], pairs
    assert r.zrank("z", "ada") == 1 and r.zscore("z", "ada") == 120.0 and r.zcard("z") == 2
    assert dict(r.zscan_iter("z")) == {"ada": 120.0, "grace": 96.5}
    assert r.setbit("bits", 7, 1) == 0 and r.bitcount("bits") == 1 and r.bitpos("bits", 1) == 7
    assert r.pfadd("visitors", "a", "b", "a") == 1 and r.pfcount("visitors") == 2
    assert r.geoadd("places", (13.361389, 38.115556, "Palermo", 15.087269, 37.502669, "Catania")) == 2
    assert abs(r.geodist("places", "Palermo", "Catania", unit="km") - 166.2742) < 1e-3
    assert r.geosearch("places", member="Palermo", radius=50, unit="km") == ["Palermo"]
    first = r.xadd("events", {"kind": "login"})
    assert r.xgroup_create("events", "workers", id="0") and r.xlen("events") == 1
    read = r.xreadgroup("workers", "w1", {"events": ">"}, count=10)
    read = read["events"][0] if isinstance(read, dict) else read[0][1]
    assert read[0][0] == first and read[0][1] == {"kind": "login"}, read
    assert r.xpending("events", "workers")["pending"] == 1 and r.xack("events", "workers", first) == 1
    assert r.sort("s1", desc=True) == ["3", "2", "1"]
    raw = redis.Redis(port=r.connection_pool.connection_kwargs["port"])
    raw.restore("again", 0, raw.dump("h"))
    raw.close()
    assert r.hgetall("again") == {"name": "ada", "visits": "5"}


def clients(r, port, protocol):
    me = r.client_id()
    named = redis.Redis(port=port, protocol=protocol, decode_responses=True, client_name="second")
    assert named.client_getname() == "second"
    listed = {int(client["id"]): client for client in r.client_list()}
    assert me in listed and listed[named.client_id()]["name"] == "second"
    if not r.info("server")["redis_version"].startswith("7.0."):  # older than CLIENT SETINFO
        assert listed[me]["lib-name"].startswith("redis-py"), listed[me]
    assert int(r.client_info()["id"]) == me
    assert r.client_kill_filter(_id=named.client_id()) == 1
    named.close()
    assert r.client_no_evict("ON") and r.client_pause(1, all=False) and r.client_unpause()


def server(r):
    assert r.ping() and r.echo("text") == "text" and len(r.time()) == 2
    info = r.info("all")
    assert info["redis_version"].startswith("7.") and info["connected_clients"] >= 1
    assert isinstance(r.info("keyspace").get("db0", {}).get("keys"), int)
    assert "cmdstat_get" in r.info("commandstats")
    before = r.config_get("maxmemory-policy")["maxmemory-policy"]
    assert r.config_set("maxmemory-policy", "allkeys-lfu")
    assert r.config_get("maxmemory*")["maxmemory-policy"] == "allkeys-lfu"
    assert r.config_set("maxmemory-policy", before) and r.config_resetstat()
    assert r.command_count() == len(r.command()) and "get" in r.command()
    assert r.command_getkeys("MSET", "a", "1", "b", "2") == ["a", "b"]
    assert r.slowlog_reset() and isinstance(r.slowlog_get(), list) and r.slowlog_len() >= 0
    assert isinstance(r.memory_stats(), dict) and r.latency_latest() == []
    assert r.select(1) and r.dbsize() == 0 and r.select(0)


def introspection(r):
    assert r.config_set("slowlog-log-slower-than", 0) and r.slowlog_reset() and r.get("none") is None
    entry = next(entry for entry in r.slowlog_get() if entry["command"] in ("GET none", b"GET none"))
    assert entry["duration"] >= 0 and abs(entry["start_time"] - time.time()) < 600, entry
    assert r.config_set("slowlog-log-slower-than", 10_000)
    assert r.latency_history("command") == [] and r.latency_reset() == 0
    assert r.memory_usage("none") is None and r.memory_purge() and r.memory_stats()["keys.count"] >= 0
    assert r.acl_whoami() == "default" and r.acl_users() == ["default"] and "string" in r.acl_cat()
    user = r.acl_getuser("default")
    assert user["flags"] and r.acl_getuser("nosuch") is None and len(r.acl_list()) == 1
    role = r.role()
    assert role[0] in ("master", b"master") and role[2] == [], role
    assert r.wait(0, 10) == 0 and r.module_list() == [] and r.lastsave().year > 2000 and r.lolwut()
    r.set("d", "v")
    assert "embstr" in str(r.debug_object("d"))
    try:
        r.execute_command("CLUSTER INFO")
    except redis.ResponseError as error:
        assert "cluster support disabled" in str(error), error
    else:
        raise AssertionError("CLUSTER INFO answered")


def monitor(r, port, protocol):
    watcher = redis.Redis(port=port, protocol=protocol, decode_responses=True)
    with watcher.monitor() as feed:
        writer = threading.Thread(target=lambda: r.set("monitored", "value"))
        writer.start()
        for _ in range(10):
            if "monitored" in feed.next_command()["command"]:
                break
        else:
            raise AssertionError("MONITOR did not show the command")
        writer.join()
    watcher.close()


def main():
    port, protocol = int(sys.argv[1]), int(sys.argv[2])
    r = redis.Redis(port=port, protocol=protocol, decode_responses=True, socket_timeout=20)
    r.flushall()
    for part in (strings, errors, expiry, collections, pipelines, keys, server, introspection):
        part(r)
    # One connection by name from here on: what a pool hands out may differ from call to call.
    with redis.Redis(port=port, protocol=protocol, decode_responses=True, single_connection_client=True) as single:
        clients(single, port, protocol)
    monitor(r, port, protocol)
    print("redis-py: ok", redis.__version__, "RESP%d" % protocol)


main()
