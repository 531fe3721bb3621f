"""redis-py against a running server, where it is told of things or has them done at once: pub/sub, events of keys, locks,
scripts, functions, the client-side cache. redis_py_events.py PORT PROTOCOL. Prints one line and exits 0, or fails.

Written as a user of the client writes: only public methods. Whoever waits for a message waits by a limit.
"""

import sys
import time

import redis
from redis.cache import CacheConfig
from redis.exceptions import LockError, LockNotOwnedError, NoScriptError

LIMIT_S = 20


def eventually(what, holds):
    deadline = time.monotonic() + LIMIT_S
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.005)


def heard(listener, *kinds):
    """The next message of some kinds."""
    deadline = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline:
        message = listener.get_message(timeout=0.1)
        if message is not None and message["type"] in kinds:
            return message
    raise AssertionError(f"none of {kinds}")


def refused(error, call, part=""):
    try:
        call()
    except error as said:
        assert part in str(said), said
    else:
        raise AssertionError(f"no {error.__name__} {part}")


def channels(r, port, protocol):
    listener = r.pubsub()
    listener.subscribe("news", "sport")
    listener.psubscribe("w*r")
    assert [heard(listener, "subscribe")["data"] for _ in range(2)] == [1, 2]
    assert heard(listener, "psubscribe")["data"] == 3
    assert r.publish("news", "hello") == 1 and r.publish("weather", "rain") == 1 and r.publish("none", "x") == 0
    assert heard(listener, "message") == {"type": "message", "pattern": None, "channel": "news", "data": "hello"}
    message = heard(listener, "pmessage")
    assert (message["pattern"], message["channel"], message["data"]) == ("w*r", "weather", "rain")
    assert sorted(r.pubsub_channels()) == ["news", "sport"] and r.pubsub_channels("n*") == ["news"]
    assert r.pubsub_numsub("news", "none") == [("news", 1), ("none", 0)] and r.pubsub_numpat() == 1
    if protocol == 2:
        listener.ping("are you there")
        assert heard(listener, "pong")["data"] == "are you there"
    with r.pipeline() as pipe:
        for number in range(500):
            pipe.publish("news", number)
        assert pipe.execute() == [1] * 500
    assert [heard(listener, "message")["data"] for _ in range(500)] == [str(number) for number in range(500)]
    listener.unsubscribe()
    listener.punsubscribe()
    for kind in ("unsubscribe", "unsubscribe", "punsubscribe"):
        heard(listener, kind)
    assert not listener.subscribed and r.pubsub_channels() == []
    listener.ssubscribe("shard")
    heard(listener, "ssubscribe")
    assert r.spublish("shard", "here") == 1 and heard(listener, "smessage")["data"] == "here"
    listener.close()
    handled = []
    listener = r.pubsub(ignore_subscribe_messages=True)
    listener.subscribe(called=lambda message: handled.append(message["data"]))
    thread = listener.run_in_thread(sleep_time=0.01, daemon=True)
    eventually("the subscription is made", lambda: r.publish("called", "x") == 1)
    eventually("the handler is called", lambda: handled)
    thread.stop()
    thread.join(LIMIT_S)


def events(r, port, protocol):
    assert r.config_set("notify-keyspace-events", "KEA")
    listener = r.pubsub(ignore_subscribe_messages=True)
    listener.psubscribe("__key*@0__:*")
    eventually("the subscription is made", lambda: r.pubsub_numpat() == 1)
    r.set("e", "v")
    said = {(heard(listener, "pmessage")["channel"]) for _ in range(2)}
    assert said == {"__keyspace@0__:e", "__keyevent@0__:set"}, said
    r.set("e", "v", px=10)
    for _ in range(20):
        if heard(listener, "pmessage")["channel"] == "__keyevent@0__:expired":
            break
    else:
        raise AssertionError("it never expired")
    listener.close()
    assert r.config_set("notify-keyspace-events", "")


def locks(r, port, protocol):
    lock, other = r.lock("lock", timeout=100), r.lock("lock", timeout=100)
    assert lock.acquire() and lock.locked() and lock.owned()
    assert not other.acquire(blocking=False) and not other.acquire(blocking_timeout=0.05)
    assert 0 < r.ttl("lock") <= 100
    assert lock.extend(100) and r.ttl("lock") > 150
    assert lock.extend(50, replace_ttl=True) and r.ttl("lock") <= 50
    assert lock.reacquire() and r.ttl("lock") > 50
    refused(LockError, other.release, "unlocked")
    thief = r.lock("lock", timeout=100)
    for steal in (thief.release, thief.reacquire, lambda: thief.extend(10)):
        thief.local.token = b"not mine"
        refused(LockNotOwnedError, steal)
    assert lock.owned() and lock.release() is None and not r.exists("lock")
    with other:
        assert other.owned() and not lock.acquire(blocking=False)
    short = r.lock("lock", timeout=0.02)
    assert short.acquire()
    eventually("it runs out", lambda: not short.owned())
    refused(LockNotOwnedError, short.release)
    assert r.lock("lock", timeout=10).acquire(blocking_timeout=LIMIT_S)
    r.script_flush()
    assert r.lock("another", timeout=10).acquire() and r.delete("lock", "another") == 2


def scripts(r, port, protocol):
    add = r.register_script("return redis.call('INCRBY', KEYS[1], ARGV[1])")
    assert add(keys=["n"], args=[5]) == 5 and add(keys=["n"], args=[2]) == 7
    r.script_flush()
    refused(NoScriptError, lambda: r.evalsha(add.sha, 1, "n", 1), "No matching script")
    for transaction in (True, False):
        with r.pipeline(transaction=transaction) as pipe:
            for _ in range(50):
                add(keys=["n"], args=[1], client=pipe)
            pipe.get("n")
            assert pipe.execute()[-2] == int(r.get("n"))
        assert r.script_flush()
    assert r.script_exists(add.sha) == [False] and r.script_load("return 1") and add(keys=["n"], args=[0]) == 107
    assert r.script_exists(add.sha, "0" * 40) == [True, False]
    assert r.eval("return {1, 'two', {3, false}, 4.9}", 0) == [1, "two", [3, None], 4]
    assert r.eval("return ARGV", 0, "a", "b") == ["a", "b"] and r.eval_ro("return redis.call('GET', KEYS[1])", 1, "n") == "107"
    assert r.eval("return cjson.encode({a = {1, 2}})", 0) == '{"a":[1,2]}'
    assert r.eval("return redis.status_reply('FINE')", 0) == "FINE"
    refused(redis.ResponseError, lambda: r.eval("return redis.error_reply('MINE is bad')", 0), "MINE is bad")
    refused(redis.ResponseError, lambda: r.eval_ro("return redis.call('SET', KEYS[1], 1)", 1, "n"), "Write commands")
    refused(redis.ResponseError, lambda: r.eval("return nosuch", 0), "nosuch")
    listener = r.pubsub()
    listener.subscribe("from a script")
    heard(listener, "subscribe")
    assert r.eval("return redis.call('PUBLISH', 'from a script', 'hello')", 0) == 1
    assert heard(listener, "message")["data"] == "hello"
    listener.close()


def cached_scripts(r, port, protocol):
    """What a script changes is told as what a command changes."""
    if protocol == 2:
        return
    cached = redis.Redis(port=port, protocol=3, decode_responses=True, cache_config=CacheConfig())
    r.set("c", 1)
    assert cached.get("c") == "1"
    r.eval("return redis.call('INCR', KEYS[1])", 1, "c")
    eventually("a script's change is seen", lambda: cached.get("c") == "2")
    cached.close()


def functions(r, port, protocol):
    library = """#!lua name=books
        redis.register_function('put', function(keys, args) return redis.call('SET', keys[1], args[1]) end)
        redis.register_function{function_name = 'look', flags = {'no-writes'},
            callback = function(keys) return redis.call('GET', keys[1]) end}
        """
    assert r.function_load(library, replace=True) == "books"
    assert r.fcall("put", 1, "title", "Emma") in ("OK", True)
    assert r.fcall("look", 1, "title") == "Emma" == r.fcall_ro("look", 1, "title")
    refused(redis.ResponseError, lambda: r.fcall_ro("put", 1, "title", "x"))
    refused(redis.ResponseError, lambda: r.fcall("nosuch", 0), "Function not found")
    assert len(r.function_list()) == 1
    raw = redis.Redis(port=port, protocol=protocol)
    dump = raw.function_dump()
    assert r.function_flush() and r.function_list() == []
    assert raw.function_restore(dump) and r.fcall("look", 1, "title") == "Emma"
    assert r.function_delete("books") and r.function_stats() is not None
    raw.close()


def cache(r, port, protocol):
    """The client asks for it in RESP3 only."""
    if protocol == 2:
        return
    cached = redis.Redis(port=port, protocol=3, decode_responses=True, cache_config=CacheConfig())
    r.mset({"c1": "one", "c2": "two"})
    assert (cached.get("c1"), cached.get("c2"), cached.mget("c1", "c2")) == ("one", "two", ["one", "two"])
    assert cached.get_cache().size >= 3
    calls = lambda: r.info("commandstats")["cmdstat_get"]["calls"]
    before = calls()
    assert all(cached.get("c1") == "one" for _ in range(100)) and calls() == before, "it is answered by the cache"
    r.set("c1", "changed")
    eventually("another's change is seen", lambda: cached.get("c1") == "changed")
    eventually("in all answers that it is part of", lambda: cached.mget("c1", "c2") == ["changed", "two"])
    assert cached.get("c2") == "two"
    r.set("c3", "short", px=200)
    assert cached.get("c3") in ("short", None)
    eventually("it expires", lambda: cached.get("c3") is None)
    r.incr("c4")
    assert cached.get("c4") == "1"
    r.incr("c4")
    eventually("a counter is seen", lambda: cached.get("c4") == "2")
    r.flushall()
    eventually("all is gone", lambda: (cached.get("c1"), cached.get("c2"), cached.get("c4")) == (None, None, None))
    r.set("c1", "again")
    eventually("a key that was not there is seen when it is", lambda: cached.get("c1") == "again")
    cached.close()


def main():
    port, protocol = int(sys.argv[1]), int(sys.argv[2])
    parts = sys.argv[3:] or ["channels", "events", "locks", "scripts", "functions", "cache", "cached_scripts"]
    r = redis.Redis(port=port, protocol=protocol, decode_responses=True, socket_timeout=LIMIT_S)
    for part in parts:
        r.flushall()
        globals()[part](r, port, protocol)
    print("redis-py: ok", redis.__version__, "RESP%d" % protocol)


main()
