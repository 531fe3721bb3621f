"""What plain redis-py, which knows nothing of the cluster behind it, does through the gateway: host, port, protocol."""

import sys
import threading
import time

import redis

host, port, protocol = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
client = redis.Redis(host=host, port=port, protocol=protocol, decode_responses=True)

client.flushall()
keys = [f"py:{index}" for index in range(500)]
assert client.mset({key: f"of {key}" for key in keys})
assert client.mget(keys + ["none"]) == [f"of {key}" for key in keys] + [None]
assert client.dbsize() == 500
assert sorted(client.scan_iter(match="py:*", count=13)) == sorted(keys)
assert sorted(client.keys("py:*")) == sorted(keys)
assert client.exists(*keys[:10], "none") == 10
assert client.randomkey() in keys

pipe = client.pipeline(transaction=False)
for index in range(1000):
    pipe.incr(f"count:{index % 20}")
assert pipe.execute() == [1 + index // 20 for index in range(1000)]

with client.pipeline(transaction=True) as pipe:
    pipe.watch("{t}balance")
    pipe.multi()
    pipe.set("{t}balance", 10)
    pipe.decrby("{t}balance", 3)
    assert pipe.execute() == [True, 7]


def spend(pipe):
    left = int(pipe.get("{t}balance"))
    pipe.multi()
    pipe.set("{t}balance", left - 1)


client.transaction(spend, "{t}balance")
assert client.get("{t}balance") == "6"

try:
    with client.pipeline(transaction=True) as pipe:
        pipe.set("a", 1)
        pipe.set("b", 1)
        pipe.execute()
    raise AssertionError("keys of two slots in one transaction")
except redis.ResponseError as error:
    assert "CROSSSLOT" in str(error) or "hash to the same slot" in str(error), error



def push_when_waited_for(key, value):
    other = redis.Redis(host=host, port=port, protocol=protocol, decode_responses=True)
    deadline = time.monotonic() + 30
    while not any("b" in one["flags"] and one["cmd"] == "blpop" for one in other.client_list()):
        assert time.monotonic() < deadline, "nobody waits"
    other.rpush(key, value)


# A dozen keys are on all nodes, most likely.
for index in range(12):
    key = f"queue:{index}"
    pusher = threading.Thread(target=push_when_waited_for, args=(key, f"job {index}"))
    pusher.start()
    assert client.blpop([key], timeout=30) in ((key, f"job {index}"), [key, f"job {index}"])
    pusher.join()
assert client.blpop(["queue:0"], timeout=0.01) is None
assert client.xadd("{q}log", {"f": "v"}, id="1-1") == "1-1"
assert client.xread({"{q}log": "$"}, block=10) in ([], {}, None)

assert client.set("ttl", "v", ex=100) and 0 < client.ttl("ttl") <= 100
assert client.delete(*keys) == 500
assert client.info("cluster")["cluster_enabled"] == 0
client.flushall()
assert client.dbsize() == 0
print("gateway: ok")
