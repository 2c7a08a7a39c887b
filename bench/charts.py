"""Draws bars as SVG: for pages in light and in dark, with their numbers as text, and without a library.

What is drawn is a list of groups; which groups the documentation has stands at the end.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from report import Results, number

from scenarios import ANSWERS, DELIVERY, HANDSHAKE, MEMORY
from servers import SERVERS

WIDTH, LABELS, NUMBERS, BAR, GAP, HEAD = 720, 210, 90, 20, 8, 34


@dataclass(frozen=True)
class Bar:
    label: str
    value: float
    low: float
    high: float
    is_ours: bool


@dataclass(frozen=True)
class Group:
    title: str
    bars: Sequence[Bar]


def draw(title: str, groups: Sequence[Group]) -> str:
    """An SVG with one scale for all groups. Thin lines show the spread from the least to the most."""
    most = max(bar.high for group in groups for bar in group.bars)
    scale = (WIDTH - LABELS - NUMBERS) / most
    body: list[str] = []
    y = 40
    for group in groups:
        body.append(f'<text class="group" x="0" y="{y + 14}">{escape(group.title)}</text>')
        y += HEAD - 8
        for bar in group.bars:
            width, middle = bar.value * scale, y + BAR / 2
            tone = "ours" if bar.is_ours else "theirs"
            body.append(f'<text x="{LABELS - 10}" y="{middle + 4.5}" text-anchor="end">{escape(bar.label)}</text>')
            body.append(f'<rect class="{tone}" x="{LABELS}" y="{y}" width="{width:.1f}" height="{BAR}" rx="2"/>')
            low, high = LABELS + bar.low * scale, LABELS + bar.high * scale
            body.append(f'<path class="spread" d="M{low:.1f} {middle}H{high:.1f}"/>')
            x = max(LABELS + width, high) + 8
            body.append(f'<text class="number" x="{x:.1f}" y="{middle + 4.5}">{number(bar.value)}</text>')
            y += BAR + GAP
        y += 14
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" role="img" color="#1f2328">',
            f"<title>{escape(title)}</title>",
            "<style>",
            "svg{font:13px system-ui,sans-serif}text{fill:currentColor}.head{font-size:15px;font-weight:600}",
            ".group{fill-opacity:.75}.number{font-variant-numeric:tabular-nums}",
            ".theirs{fill:currentColor;fill-opacity:.28}.ours{fill:#2f6fdb}",
            ".spread{stroke:currentColor;stroke-width:1.5;stroke-opacity:.8}",
            "@media(prefers-color-scheme:dark){svg{color:#e6edf3}.ours{fill:#6ea1ff}}",
            "</style>",
            f'<text class="head" x="0" y="18">{escape(title)}</text>',
            *body,
            "</svg>",
            "",
        ]
    )


def _group(results: Results, title: str, scenario: str, measure: str, servers: Sequence[str]) -> Group:
    bars = []
    for server in servers:
        values = results.values(scenario, measure, server)
        median = results.median(scenario, measure, server)
        if median is not None:
            peer = SERVERS[server]
            bars.append(Bar(peer.title, median, min(values), max(values), peer.is_parley))
    return Group(title, bars)


EVERYBODY = ("floor", "parley", "gorilla", "ws")
DURABLE = ("parley", "parley-postgresql", "parley-one-commit")
#: File, title, and for each group: its title, scenario, measure, servers.
CHARTS = (
    (
        "bench-fanout.svg",
        "CPU for each delivery in a room of 1,000, µs (less is better)",
        (
            ("one message at a time", "fan_1000", DELIVERY.field, EVERYBODY),
            ("ten messages in one turn", "fan_1000_burst", DELIVERY.field, EVERYBODY),
        ),
    ),
    (
        "bench-durable.svg",
        "Durable messages acknowledged a second, 50 senders (more is better)",
        (
            ("each waits for its answer", "durable_1", ANSWERS.field, DURABLE),
            ("eight in flight each", "durable_8", ANSWERS.field, DURABLE),
        ),
    ),
    (
        "bench-handshakes.svg",
        "CPU for each handshake, µs (less is better)",
        (
            ("accepted", "handshake", HANDSHAKE.field, ("parley", "gorilla", "ws", "parley-es256", "ws-es256")),
            ("refused", "handshake_refused", HANDSHAKE.field, ("parley", "gorilla", "ws")),
        ),
    ),
    (
        "bench-memory.svg",
        "Memory for each idle connection, KiB (less is better)",
        (("2,000 connections", "idle_2000", MEMORY.field, ("parley", "ws", "gorilla")),),
    ),
)


def charts(results: Results) -> dict[str, str]:
    """SVG by file name; a chart of which nothing was measured is left out."""
    drawn = {}
    for file, title, rows in CHARTS:
        groups = [group for row in rows if (group := _group(results, *row)).bars]
        if groups:
            drawn[file] = draw(title, groups)
    return drawn
