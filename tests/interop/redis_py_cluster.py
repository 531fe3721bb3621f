"""redis-py's cluster clients against a running cluster: redis_py_cluster.py KIND HOST:PORT PROTOCOL MODE NODES.

KIND is "sync" or "asyncio". MODE "all" does what users do, on keys of every slot of a cluster of so many NODES; "load"
writes and reads until standard input ends, then looks for every key. Only public methods; no error may reach the
caller, none is retried here.
"""

import asyncio
import inspect
import sys
import threading

import redis
import redis.asyncio

SLOTS = 16384
BATCH = 512


async def done(value):
    """The value of either kind of client."""
    return await value if inspect.isawaitable(value) else value


def one_key_per_slot():
    """A short key for each slot."""
    found, number = {}, 0
    while len(found) < SLOTS:
        key = f"k{number}"
        found.setdefault(redis.crc.key_slot(key.encode()), key)
        number += 1
    return [found[slot] for slot in range(SLOTS)]


def batches(keys):
    return (keys[start : start + BATCH] for start in range(0, len(keys), BATCH))


def pipeline(r, kind):
    return r.pipeline(transaction=False) if kind == "sync" else r.pipeline()


async def fill(r, kind, keys):
    for batch in batches(keys):
        pipe = pipeline(r, kind)
        for key in batch:
            pipe.set(key, "v" + key)
        assert all(await done(pipe.execute()))


async def check(r, kind, keys):
    for batch in batches(keys):
        pipe = pipeline(r, kind)
        for key in batch:
            pipe.get(key)
        assert await done(pipe.execute()) == ["v" + key for key in batch]


async def everything(r, kind, nodes):
    keys = one_key_per_slot()
    assert len(r.get_primaries()) == nodes, r.get_primaries()
    await done(r.flushall(target_nodes="primaries"))
    await fill(r, kind, keys)
    await check(r, kind, keys)
    for key in keys[::50]:
        assert await done(r.get(key)) == "v" + key
        assert await done(r.set(key, "w", ex=1000)) is True and await done(r.ttl(key)) > 0
        assert await done(r.getset(key, "v" + key)) == "w"
    assert await done(r.dbsize(target_nodes="primaries")) == SLOTS
    assert await done(r.mset_nonatomic({"{a}1": 1, "{b}1": 2}))
    assert await done(r.mget_nonatomic("{a}1", "{b}1", "none")) == ["1", "2", None]
    assert await done(r.exists("{a}1", "{a}2")) == 1 and await done(r.unlink("{a}1", "{a}2")) == 1
    assert await done(r.delete("{b}1")) == 1
    try:
        await done(r.execute_command("MGET", "a", "b", target_nodes=r.get_primaries()[0]))
    except redis.ResponseError as error:
        assert "slot" in str(error) or "MOVED" in str(error), error
    else:
        raise AssertionError("MGET over two slots was answered")
    await transactions(r, kind)
    await subscriptions(r)
    await shard_subscriptions(r)
    seen = set()
    if kind == "sync":
        seen.update(r.scan_iter(match="k*", count=1000))
    else:
        async for key in r.scan_iter(match="k*", count=1000):
            seen.add(key)
    assert seen == set(keys), len(seen)
    await cluster_commands(r)
    assert await done(r.flushall(target_nodes="primaries")) and await done(r.dbsize(target_nodes="primaries")) == 0


async def transactions(r, kind):
    pipe = r.pipeline(transaction=True)
    pipe.set("{t}1", 1).incr("{t}1").get("{t}1")
    # The first is True of the one client and "OK" of the other.
    assert (await done(pipe.execute()))[1:] == [2, "2"]
    assert await done(r.delete("{t}1")) == 1


async def heard(receive, *kinds):
    """The next message of some kinds; confirmations and silence are passed over."""
    for _ in range(200):
        message = await done(receive(timeout=0.1))
        if message is not None and message["type"] in kinds:
            return message
    raise AssertionError(f"none of {kinds}")


async def subscriptions(r):
    """Subscribers at every node hear what is published at every node, in order."""
    listeners = [r.pubsub(node=node) for node in r.get_primaries()]
    for listener in listeners:
        await done(listener.subscribe("news"))
        await done(listener.psubscribe("w*"))
        await heard(listener.get_message, "subscribe")
        await heard(listener.get_message, "psubscribe")
    nodes = r.get_primaries()
    for number in range(100):
        node = nodes[number % len(nodes)]
        await done(r.execute_command("PUBLISH", "news", number, target_nodes=node))
        await done(r.publish("weather", number))
        for listener in listeners:
            # They come from two nodes: which is first is not said.
            said = {await message_of(listener), await message_of(listener)}
            assert said == {("news", str(number)), ("weather", str(number))}, said
    for listener in listeners:
        await done(listener.unsubscribe("news"))
        await heard(listener.get_message, "unsubscribe")
        await close(listener)


async def message_of(listener):
    """Channel and text of the next message to a channel or a pattern."""
    message = await heard(listener.get_message, "message", "pmessage")
    return message["channel"], message["data"]


async def close(listener):
    await done(listener.aclose() if hasattr(listener, "aclose") else listener.close())


async def shard_subscriptions(r):
    """Shard channels of many slots: each is subscribed to, and published to, at its owner."""
    names = [f"shard:{number}" for number in range(30)]
    listener = r.pubsub()
    for name in names:
        await done(listener.ssubscribe(name))
    for name in names:
        assert await done(r.spublish(name, "to " + name)) in (0, 1)
    left = {name: "to " + name for name in names}
    while left:
        message = await heard(listener.get_sharded_message, "smessage")
        assert left.pop(message["channel"]) == message["data"]
    for name in names:
        await done(listener.sunsubscribe(name))
    await close(listener)


async def cluster_commands(r):
    one = r.get_primaries()[0]
    info = await done(r.cluster_info(target_nodes=one))
    assert info["cluster_state"] == "ok" and int(info["cluster_slots_assigned"]) == SLOTS, info
    listed = await done(r.cluster_nodes())
    assert len(listed) == len(r.get_primaries()), listed
    assert await done(r.cluster_keyslot("foo")) == 12182
    counts = [await done(r.cluster_countkeysinslot(slot)) for slot in (0, 8191, SLOTS - 1)]
    assert counts == [1, 1, 1], counts
    assert len(await done(r.cluster_get_keys_in_slot(12182, 10))) == 1
    assert await done(r.ping(target_nodes="all")) and await done(r.keyslot("foo")) == 12182


async def load(r, kind):
    """Writes and reads one by one and in pipelines for as long as standard input is open."""
    keys = one_key_per_slot()
    await fill(r, kind, keys)
    print("filled", flush=True)
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    rounds, number = 0, 0
    while not ended.is_set():
        rounds += 1
        for _ in range(200):
            number = (number + 7919) % SLOTS
            key = keys[number]
            assert await done(r.get(key)) == "v" + key, key
            assert await done(r.set(key, "v" + key)), key
        start = number % (SLOTS - BATCH)
        await check(r, kind, keys[start : start + BATCH])
        await fill(r, kind, keys[start : start + BATCH])
    await check(r, kind, keys)
    print("rounds", rounds, flush=True)


async def run(kind, host, port, protocol, mode, nodes):
    options = {"host": host, "port": port, "protocol": protocol, "decode_responses": True}
    if kind == "sync":
        r = redis.RedisCluster(**options)
    else:
        r = await redis.asyncio.RedisCluster(**options)
    if mode == "load":
        await load(r, kind)
    else:
        await everything(r, kind, nodes)
    await done(r.close() if kind == "sync" else r.aclose())
    print("redis-py: ok", redis.__version__, kind, "RESP%d" % protocol)


def main():
    host, port = sys.argv[2].rsplit(":", 1)
    asyncio.run(run(sys.argv[1], host, int(port), int(sys.argv[3]), sys.argv[4], int(sys.argv[5])))


main()
