"""What it takes to hold many connections: a model from measured costs, and a simulation of rooms spread over nodes.

    python bench/capacity.py                       the tables of docs/operate/capacity.md
    python bench/capacity.py --connections 250000 --workload community

Each of COSTS is a number of docs/benchmarks.md or of this module's own measurement, of one core of one machine: change
them to yours. What is simulated is who shares a node with whom; what is computed from it is arithmetic and printed.
"""

import argparse
import math
import random
import sys
from dataclasses import dataclass

#: One core's, in seconds of CPU, unless said otherwise.
COSTS = {
    "delivery": 4.3e-6,  # one message at a time, a room of 1,000
    "message": 26e-6,  # decided, committed with others, answered; without its deliveries
    "foreign event": 20e-6,  # taken from the bus and encoded, for each node that has a reader and did not decide it
    "idle a second": 1.0e-6,  # pings, pongs and notices, for each connection
    "handshake": 165e-6,
    "renewal": 250e-6,  # `POST /auth/refresh` and `session.refresh`
}
MEMORY_BYTES = 11 * 1024  # for each connection, idle, in one room
ROOM_BYTES = 2 * 1024  # for each room that a node reads
#: What the parts that are not nodes can take, each as one: PostgreSQL's group commits, a bus's messages out.
STORE_MESSAGES_PER_S = 20_000
POLLS_PER_S = 5_000
BUS_MESSAGES_PER_S = 400_000
BUSY_MAX = 0.6  # of a core: what is above is for bursts, and for the clients of a node that went
NODE_BYTES = 4 * 2**30
CONNECTIONS_MAX = 20_000  # PARLEY_LIMITS__CONNECTIONS_TOTAL
RENEWALS_PER_S = 1 / 840  # for each connection: 15 minutes less a margin
POLLS_OF_A_NODE_PER_S = 2
RECONNECTS_PER_S = 1 / 1800  # phones and laptops come and go


@dataclass(frozen=True)
class Workload:
    """Rooms of a log-normal size, and how often each connection says something."""

    title: str
    median_size: float
    sigma: float
    largest: int
    rooms_each: float
    message_every_s: float

    def size(self, chance: random.Random) -> int:
        return max(2, min(self.largest, round(chance.lognormvariate(math.log(self.median_size), self.sigma))))


WORKLOADS = {
    "helpdesk": Workload("Helpdesk: a visitor and an agent", 2, 0.0, 2, 1, 40),
    "teams": Workload("Teams: rooms of some 12, up to 300", 12, 0.9, 300, 6, 300),
    "community": Workload("Community: rooms of some 60, up to 5,000", 60, 1.3, 5000, 4, 600),
}


@dataclass(frozen=True)
class Load:
    """What falls on each part, a second."""

    messages: float
    deliveries: float
    bus_messages: float
    node_cores: float  # of one node
    node_bytes: float


def simulate(workload: Workload, connections: int, nodes: int, *, rooms_max: int = 20_000, seed: int = 1) -> Load:
    """Throw rooms' members on nodes, until the rooms make up the connections or are enough to tell; then scale."""
    chance = random.Random(seed)
    seats = sent = delivered = foreign = read = 0.0
    per_seat_s = 1 / workload.message_every_s / workload.rooms_each
    wanted = connections * workload.rooms_each
    for _ in range(rooms_max):
        size = workload.size(chance)
        there = len({chance.randrange(nodes) for _ in range(size)}) if nodes > 1 else 1
        rate = size * per_seat_s
        seats += size
        sent += rate
        delivered += rate * size
        foreign += rate * (there - 1)
        read += there
        if seats >= wanted:
            break
    scale = wanted / seats
    each = scale / nodes
    here = connections / nodes
    cores = (
        each * (sent * COSTS["message"] + delivered * COSTS["delivery"] + foreign * COSTS["foreign event"])
        + here * COSTS["idle a second"]
        + here * RENEWALS_PER_S * COSTS["renewal"]
        + here * RECONNECTS_PER_S * COSTS["handshake"]
    )
    return Load(sent * scale, delivered * scale, foreign * scale, cores, here * MEMORY_BYTES + read * each * ROOM_BYTES)


def nodes_for(workload: Workload, connections: int) -> tuple[int, Load, str]:
    """The fewest nodes that hold them, what falls on each part then, and what asked for the last one."""
    nodes = max(1, math.ceil(connections / CONNECTIONS_MAX))
    reason = "connections"
    while True:
        load = simulate(workload, connections, nodes)
        over_cpu, over_memory = load.node_cores / BUSY_MAX, load.node_bytes / NODE_BYTES
        if max(over_cpu, over_memory) <= 1:
            return nodes, load, reason
        reason = "CPU" if over_cpu >= over_memory else "memory"
        nodes = max(nodes + 1, math.ceil(nodes * max(over_cpu, over_memory)))


def told(workload: Workload, connections: int) -> str:
    nodes, load, reason = nodes_for(workload, connections)
    polls = nodes * POLLS_OF_A_NODE_PER_S
    stores = math.ceil(load.messages / STORE_MESSAGES_PER_S + polls / POLLS_PER_S)
    buses = math.ceil(load.bus_messages / BUS_MESSAGES_PER_S) if nodes > 1 else 0
    cells = [
        f"{connections:,}",
        f"{nodes:,}",
        reason,
        f"{load.node_cores:.0%}",
        f"{load.node_bytes / 2**20:,.0f}",
        f"{load.messages:,.0f}",
        f"{load.deliveries:,.0f}",
        f"{load.bus_messages:,.0f}",
        f"{stores:,}",
        f"{buses:,}",
    ]
    return "| " + " | ".join(cells) + " |"


HEAD = (
    "connections",
    "nodes",
    "for want of",
    "core of each",
    "MiB of each",
    "messages/s",
    "deliveries/s",
    "over the bus/s",
    "databases",
    "buses",
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--connections", type=int, nargs="*", default=[10_000, 1_000_000, 100_000_000])
    parser.add_argument("--workload", choices=WORKLOADS)
    a = parser.parse_args()
    for name, workload in WORKLOADS.items():
        if a.workload in (None, name):
            print(f"### {workload.title}\n")
            print("| " + " | ".join(HEAD) + " |\n|" + " ---: |" * len(HEAD))
            print(*(told(workload, connections) for connections in a.connections), sep="\n", end="\n\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
