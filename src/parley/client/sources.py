"""Where a broadcast's bytes come from: a file, a pipe, or ffmpeg, which encodes any file or what the machine plays.

Gives Ogg bytes; knows neither pages (`audio.py`) nor the network.
"""

import asyncio
import contextlib
import os
import shutil
import sys
import threading
from collections import deque
from collections.abc import AsyncGenerator, Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol

PIECE_BYTES: Final = 16_384
#: Pieces that a thread has read ahead from standard input.
_PIECES_MAX: Final = 4
#: Levels that ffmpeg has told and that are not due yet: 20 s of them.
_LEVELS_MAX: Final = 1000
#: 50 ms of stereo of 16 bits: without it PulseAudio hands out two seconds at a time.
_FRAGMENT_BYTES: Final = 9600


class SourceFailed(Exception):
    """The bytes can't be had; the text says why, in one line."""


class Source(Protocol):
    def pieces(self) -> AsyncGenerator[bytes, None]:
        """The bytes, from the beginning; to be closed where they are not read to the end. Raises: SourceFailed."""

    def level_db(self, at_s: float) -> float | None:
        """How loud it is at this time from the beginning, in dB below the loudest possible; None if nobody knows."""


class FileSource:
    """A file, once or for ever."""

    def __init__(self, path: Path, *, loops: bool = False) -> None:
        self._path = path
        self._loops = loops

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        try:
            with self._path.open("rb") as file:
                while True:
                    size = 0
                    while piece := file.read(PIECE_BYTES):
                        size += len(piece)
                        yield piece
                    if not self._loops or not size:
                        return
                    file.seek(0)
        except OSError as error:
            raise SourceFailed(f"{self._path} can't be read: {error.strerror}") from None

    def level_db(self, at_s: float) -> float | None:
        return None


class PipeSource:
    """Standard input. A thread reads: a file or `/dev/null` can't be waited for by the loop."""

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        loop, came = asyncio.get_running_loop(), asyncio.Queue[bytes]()
        free, descriptor = threading.Semaphore(_PIECES_MAX), sys.stdin.fileno()

        def read() -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                piece = b"-"
                while piece:
                    free.acquire()
                    try:
                        piece = os.read(descriptor, PIECE_BYTES)
                    except OSError:
                        piece = b""
                    loop.call_soon_threadsafe(came.put_nowait, piece)

        threading.Thread(target=read, daemon=True).start()
        while piece := await came.get():
            free.release()
            yield piece

    def level_db(self, at_s: float) -> float | None:
        return None


class FfmpegSource:
    """What ffmpeg makes of `inputs`, its options up to and with `-i`; `name` is what a person calls it."""

    def __init__(self, inputs: Sequence[str], name: str, *, bitrate_k: int = 128) -> None:
        program = shutil.which("ffmpeg")
        if program is None:
            raise SourceFailed("ffmpeg is not installed; without it only Ogg Opus can be sent")
        self._command = [program, "-v", "error", "-nostdin", *inputs]
        self._name = name
        self._bitrate_k = bitrate_k
        self._levels: deque[tuple[float, float]] = deque(maxlen=_LEVELS_MAX)

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        told, tells = os.pipe()
        os.set_blocking(told, False)
        process = await asyncio.create_subprocess_exec(
            *self._command,
            *encoding(tells, self._bitrate_k),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            pass_fds=(tells,),
        )
        os.close(tells)
        assert process.stdout is not None
        assert process.stderr is not None
        loop = asyncio.get_running_loop()
        levels = _Levels(self._levels)
        loop.add_reader(told, levels.read, told, loop)
        complaints = asyncio.create_task(_last_lines(process.stderr))
        try:
            while piece := await process.stdout.read(PIECE_BYTES):
                yield piece
            if await process.wait():
                raise SourceFailed(f"{self._name}: ffmpeg says: {await complaints or 'nothing'}")
        finally:
            complaints.cancel()
            loop.remove_reader(told)
            os.close(told)
            if process.returncode is None:
                process.kill()
                # asyncio's `wait` waits for the end of the pipe too, which one that is full and unread never tells.
                while await process.stdout.read(PIECE_BYTES):
                    pass
                await process.wait()

    def level_db(self, at_s: float) -> float | None:
        level = None
        while self._levels and self._levels[0][0] <= at_s:
            level = self._levels.popleft()[1]
        return level


async def _last_lines(complaints: asyncio.StreamReader) -> str:
    """The last two lines to the end, as one: the very last one of ffmpeg's often says what, not why."""
    kept: deque[str] = deque(maxlen=2)
    while line := await complaints.readline():
        kept.append(line.decode(errors="replace").strip())
    return " ".join(kept)


class _Levels:
    """Reads what the filter `ametadata` prints: a line with `pts_time:…`, then one with the level."""

    def __init__(self, levels: deque[tuple[float, float]]) -> None:
        self._levels = levels
        self._rest = b""
        self._at_s = 0.0

    def read(self, descriptor: int, loop: asyncio.AbstractEventLoop) -> None:
        try:
            data = os.read(descriptor, 65_536)
        except BlockingIOError:
            return
        if not data:
            loop.remove_reader(descriptor)
        *lines, self._rest = (self._rest + data).split(b"\n")
        self._rest = self._rest[-200:]
        for line in lines:
            with contextlib.suppress(ValueError):
                if b"pts_time:" in line:
                    self._at_s = float(line.rsplit(b"pts_time:", 1)[1])
                elif b"RMS_level=" in line:
                    self._levels.append((self._at_s, float(line.rsplit(b"=", 1)[1])))


def encoding(levels: int, bitrate_k: int) -> list[str]:
    """ffmpeg's options for what comes out: pages of 20 ms at once, and the level of each moment to that descriptor."""
    key = "lavfi.astats.Overall.RMS_level"
    tells = f"ametadata=mode=print:key={key}:file=pipe\\\\:{levels}:direct=1"
    level = "asetnsamples=960,astats=metadata=1:reset=1:measure_overall=RMS_level:measure_perchannel=none"
    form = ["-vn", "-sn", "-map", "0:a:0", "-ac", "2", "-ar", "48000", "-af", f"{level},{tells}"]
    opus = ["-c:a", "libopus", "-b:a", f"{bitrate_k}k", "-frame_duration", "20", "-application", "audio"]
    return [*form, *opus, "-page_duration", "20000", "-flush_packets", "1", "-f", "ogg", "pipe:1"]


def any_file(path: str, *, loops: bool) -> list[str]:
    return [*(["-stream_loop", "-1"] if loops else []), "-i", path if "://" in path else f"file:{path}"]


def playing(device: str, environ: Mapping[str, str]) -> list[str]:
    """ffmpeg's input for what the machine plays.

    `device` is `pulse:NAME`, `alsa:NAME`, or a name for whichever of both is there; empty for the usual one. PipeWire
    is heard through the PulseAudio server that comes with it.
    """
    system, colon, name = device.partition(":")
    if not colon or system not in ("pulse", "alsa"):
        system, name = ("pulse" if _has_pulse(environ) else "alsa"), device
    if system == "pulse":
        form = ["-sample_rate", "48000", "-channels", "2", "-fragment_size", str(_FRAGMENT_BYTES)]
        return ["-f", "pulse", *form, "-i", name or "@DEFAULT_MONITOR@"]
    return ["-f", "alsa", "-thread_queue_size", "64", "-i", name or "default"]


def _has_pulse(environ: Mapping[str, str]) -> bool:
    runtime = environ.get("PULSE_RUNTIME_PATH") or f"{environ.get('XDG_RUNTIME_DIR', '')}/pulse"
    return "PULSE_SERVER" in environ or Path(runtime, "native").exists()
