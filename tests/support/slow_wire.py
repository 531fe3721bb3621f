# A switch that delays and loses: slow_wire.py DELAY_MS JITTER_MS LOSS_PERCENT PORT...
#
# Takes whole Ethernet frames from each port (the near end of a veth pair) and passes them on to the port behind which
# their receiver has been heard, or to all others; each after DELAY_MS, more or less by up to JITTER_MS, so that frames
# overtake each other, and LOSS_PERCENT of a hundred not at all. It stands in for netem, which many kernels lack. Says
# "ready" once it listens. Frames that wait are bounded by WAITING_MAX; further ones are lost. Never ends by itself.
import heapq
import random
import select
import socket
import sys
import time

ETH_P_ALL = 3
SOL_PACKET = 263
# Frames come with what the kernel has left to do (checksums, segments), and are given back with it.
PACKET_VNET_HDR = 15
PACKET_IGNORE_OUTGOING = 23
VNET_HEADER = 10
FRAME_MAX = VNET_HEADER + 65536 + 64
WAITING_MAX = 50_000


def port(name):
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    sock.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
    sock.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    sock.bind((name, ETH_P_ALL))
    sock.setblocking(False)
    return sock


def main():
    delay, jitter, loss = (float(word) for word in sys.argv[1:4])
    ports = [port(name) for name in sys.argv[4:]]
    # The same weather in each run, as far as the order of frames is the same.
    weather = random.Random(1)
    behind = {}
    waiting = []
    number = 0
    poll = select.poll()
    by_fd = {sock.fileno(): sock for sock in ports}
    for fd in by_fd:
        poll.register(fd, select.POLLIN)
    print("ready", flush=True)
    while True:
        pause = max(0.0, waiting[0][0] - time.monotonic()) * 1000 if waiting else None
        for fd, _ in poll.poll(pause):
            sock = by_fd[fd]
            while True:
                try:
                    frame = sock.recv(FRAME_MAX)
                except (BlockingIOError, InterruptedError):
                    break
                to, sender = frame[VNET_HEADER : VNET_HEADER + 6], frame[VNET_HEADER + 6 : VNET_HEADER + 12]
                behind[sender] = sock
                if weather.uniform(0, 100) < loss or len(waiting) >= WAITING_MAX:
                    continue
                due = time.monotonic() + (delay + weather.uniform(-jitter, jitter)) / 1000
                number += 1
                heapq.heappush(waiting, (due, number, sock, to, frame))
        now = time.monotonic()
        while waiting and waiting[0][0] <= now:
            _, _, sock, to, frame = heapq.heappop(waiting)
            others = [behind[to]] if to in behind else [other for other in ports if other is not sock]
            for other in others:
                try:
                    other.send(frame)
                except OSError:
                    # The port is full or going down: lost, as on any wire.
                    pass


main()
