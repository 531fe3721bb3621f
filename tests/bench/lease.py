#!/usr/bin/env python3
"""What being a cluster's member costs a command: a node's instructions, counted by valgrind, for the same pipelined load of
GET and SET with the cluster off and on.

    cargo build --release && python3 tests/bench/lease.py target/release/larder

Instructions of the process's own code alone, as the kernel's are the same. A node of a cluster has tasks of its own, at
rest as well: what it does in the same time without load is counted, too, and taken off. The figures do not depend on what
else the machine does.
"""

import ctypes
import os
import random
import re
import socket
import struct
import subprocess
import sys
import tempfile
import time

PORT = 6379
BATCHES = 2000
PIPELINE = 16
KEYS = 1000
VALUE = b"v" * 100
# prctl's request for the vectors that the kernel gave the process, which are not those that it has under valgrind.
PR_GET_AUXV = 0x41555856


def refuse_auxv():
    """Has that request fail from here on: asked so, the process would call into a page that it has not."""
    libc = ctypes.CDLL(None, use_errno=True)
    rules = [
        (0x20, 0, 0, 0),  # the call's number
        (0x15, 0, 3, 157),  # prctl, or go on
        (0x20, 0, 0, 16),  # its first argument
        (0x15, 0, 1, PR_GET_AUXV),
        (0x06, 0, 0, 0x00050000 | 22),  # EINVAL
        (0x06, 0, 0, 0x7FFF0000),  # allowed
    ]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *rule) for rule in rules))
    program = struct.pack("HxxxxxxQ", len(rules), ctypes.addressof(code))
    if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, ctypes.c_char_p(program), 0, 0):
        raise OSError(ctypes.get_errno(), "no filter for system calls here")


def encode(*words):
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


def batches():
    """Pipelines of ten GETs to a SET, each with the length of its replies."""
    random.seed(1)
    made = []
    for _ in range(200):
        sent, length = b"", 0
        for _ in range(PIPELINE):
            key = b"key:%06d" % random.randrange(KEYS)
            if random.randrange(11) == 0:
                sent, length = sent + encode(b"SET", key, VALUE), length + 5
            else:
                sent, length = sent + encode(b"GET", key), length + 8 + len(VALUE)
        made.append((sent, length))
    return made


class Node:
    def __init__(self, program, address, flags):
        self.folder = tempfile.mkdtemp()
        log = open(os.path.join(self.folder, "log"), "w")
        tool = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={self.folder}/counts"]
        own = ["--bind", address, "--port", str(PORT), "--metrics-port", "0", "--threads", "1", "--maxmemory", "256mb"]
        self.process = subprocess.Popen(
            tool + [program] + own + flags, stdout=log, stderr=log, cwd=self.folder, preexec_fn=refuse_auxv
        )
        self.socket = self.connect(address)
        while not self.ask(b"SET", b"key", VALUE).startswith(b"+OK"):
            time.sleep(0.2)
        for number in range(KEYS):
            self.ask(b"SET", b"key:%06d" % number, VALUE)

    def connect(self, address):
        while self.process.poll() is None:
            try:
                return socket.create_connection((address, PORT))
            except OSError:
                time.sleep(0.2)
        sys.exit(open(os.path.join(self.folder, "log")).read())

    def ask(self, *words):
        self.socket.sendall(encode(*words))
        return self.socket.recv(1 << 16)

    def load(self, count):
        made = batches()
        for number in range(count):
            sent, length = made[number % len(made)]
            self.socket.sendall(sent)
            while length > 0:
                length -= len(self.socket.recv(1 << 16))

    def control(self, what):
        subprocess.run(
            ["callgrind_control", what, str(self.process.pid)], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def count(self, name, work):
        """Instructions while `work` is done, and how long that took."""
        self.control("--zero")
        began = time.monotonic()
        work()
        took = time.monotonic() - began
        self.control(f"--dump={name}")
        for file in os.listdir(self.folder):
            text = open(os.path.join(self.folder, file)).read()
            if f"desc: Trigger: dump {name}\n" in text:
                return int(re.search(r"^(?:totals|summary): (\d+)", text, re.M).group(1)), took
        sys.exit(f"nothing was counted in {self.folder}")


def measure(program, address, flags):
    """Instructions of a command, and those of a second at rest."""
    node = Node(program, address, flags)
    try:
        node.load(200)
        busy, took = node.count("load", lambda: node.load(BATCHES))
        rest, slept = node.count("rest", lambda: time.sleep(max(took, 2)))
        return (busy - rest * took / slept) / (BATCHES * PIPELINE), rest / slept
    finally:
        node.process.terminate()
        node.process.wait()


def main():
    program = os.path.abspath(sys.argv[1])
    cluster = ["--cluster-enabled", "yes", "--cluster-expect", "1"]
    off, off_rest = measure(program, "127.9.7.1", [])
    on, on_rest = measure(program, "127.9.7.2", cluster)
    print(f"without a cluster: {off:.0f} instructions a command, {off_rest / 1e6:.2f} million a second at rest")
    print(f"as a cluster's only node: {on:.0f} instructions a command, {on_rest / 1e6:.2f} million a second at rest")
    print(f"ratio: {on / off:.4f}")


if __name__ == "__main__":
    main()
