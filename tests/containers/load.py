"""A cluster client that checks all it is told: load.py HOST:PORT.

It writes a key for each slot and says "filled"; then two threads, each with a client and keys of its own, write and read
until standard input ends, every value with the number of its write. What is read must be what was last acknowledged. At
the end every key is read once more, and one line tells how many operations there were and the longest. Only public
methods of redis-py; an error that reaches the caller ends it, none is tried again here.
"""

import sys
import threading
import time

import redis

SLOTS = 16384
BATCH = 512
THREADS = 2


def one_key_per_slot():
    found, number = {}, 0
    while len(found) < SLOTS:
        key = f"k{number}"
        found.setdefault(redis.crc.key_slot(key.encode()), key)
        number += 1
    return [found[slot] for slot in range(SLOTS)]


def connect():
    host, port = sys.argv[1].rsplit(":", 1)
    return redis.RedisCluster(host=host, port=int(port), decode_responses=True)


def batches(keys):
    return (keys[start : start + BATCH] for start in range(0, len(keys), BATCH))


def write(r, keys, version):
    pipe = r.pipeline()
    for key in keys:
        pipe.set(key, f"{key}:{version}")
    assert all(pipe.execute())


def check(r, keys, versions):
    pipe = r.pipeline()
    for key in keys:
        pipe.get(key)
    for key, value in zip(keys, pipe.execute()):
        assert value == f"{key}:{versions[key]}", (key, value, versions[key])


class Worker(threading.Thread):
    def __init__(self, keys, ended):
        super().__init__(daemon=True)
        self.keys, self.ended = keys, ended
        self.versions = dict.fromkeys(keys, 0)
        self.r = connect()
        self.operations, self.longest, self.error = 0, 0.0, "it is still at work"
        for batch in batches(keys):
            write(self.r, batch, 0)

    def timed(self, call, *arguments):
        began = time.monotonic()
        result = call(*arguments)
        self.longest = max(self.longest, time.monotonic() - began)
        self.operations += 1
        return result

    def step(self, number):
        key = self.keys[number * 7919 % len(self.keys)]
        value = self.timed(self.r.get, key)
        assert value == f"{key}:{self.versions[key]}", (key, value, self.versions[key])
        version = self.versions[key] + 1
        assert self.timed(self.r.set, key, f"{key}:{version}")
        self.versions[key] = version

    def run(self):
        try:
            number = 0
            while not self.ended.is_set():
                self.step(number)
                number += 1
                if number % 500 == 0:
                    start = number % (len(self.keys) - BATCH)
                    self.timed(check, self.r, self.keys[start : start + BATCH], self.versions)
            for batch in batches(self.keys):
                check(self.r, batch, self.versions)
            self.error = None
        except BaseException as error:
            self.error = repr(error)


def main():
    ended = threading.Event()
    keys = one_key_per_slot()
    workers = [Worker(keys[at::THREADS], ended) for at in range(THREADS)]
    for worker in workers:
        worker.start()
    print("filled", flush=True)
    sys.stdin.read()
    ended.set()
    for worker in workers:
        worker.join()
    errors = [worker.error for worker in workers if worker.error]
    operations = sum(worker.operations for worker in workers)
    longest_ms = max(worker.longest for worker in workers) * 1000
    print(f"{operations} operations, the longest {longest_ms:.0f} ms, errors: {errors or 'none'}", flush=True)
    sys.exit(1 if errors else 0)


main()
