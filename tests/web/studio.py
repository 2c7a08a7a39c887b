"""The player's pages as those before them see them; a tone that differs at each moment; how alike two sounds are.

Waits for what is to be seen, never for time.
"""

import array
import math
import wave
from pathlib import Path
from typing import Any

from playwright.async_api import Locator, Page, expect

RATE = 48_000

#: Keeps what the page gives to the encoder, and to the loudspeaker: one channel each.
EARS = """
  window.sent = [];
  window.heard = [];
  if (window.AudioEncoder) {
    const encode = AudioEncoder.prototype.encode;
    AudioEncoder.prototype.encode = function (sound) {
      const plane = new Float32Array(sound.numberOfFrames);
      sound.copyTo(plane, { planeIndex: 0, format: "f32-planar" });
      sent.push(plane);
      return encode.call(this, sound);
    };
  }
  const post = MessagePort.prototype.postMessage;
  MessagePort.prototype.postMessage = function (said, ...rest) {
    if (said?.planes) heard.push(said.planes[0].slice());
    return post.call(this, said, ...rest);
  };
"""

#: Where `part` lies in `whole`, to the sample, and how alike they are there, from -1 to 1.
_ALIKE = """([whole, part]) => {
  const floats = (text) => new Float32Array(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);
  const [sent, heard] = [floats(whole), floats(part)];
  const thin = (from, step) => from.filter((_, at) => at % step === 0);
  const likeness = (a, b, lag, count, offset) => {
    let [ab, aa, bb] = [0, 0, 0];
    for (let at = 0; at < count; at++) {
      const [x, y] = [a[lag + offset + at] ?? 0, b[offset + at]];
      ab += x * y;
      aa += x * x;
      bb += y * y;
    }
    return ab / Math.sqrt(aa * bb || 1);
  };
  const best = (a, b, from, to, count, offset) => {
    let [found, most] = [0, -1];
    for (let lag = from; lag <= to; lag++) {
      const one = likeness(a, b, lag, count, offset);
      if (one > most) [found, most] = [lag, one];
    }
    return found;
  };
  const step = 12;
  const [a, b] = [thin(sent, step), thin(heard, step)];
  const second = Math.min(3000, b.length - 400);
  const coarse = best(a, b, -400, a.length - second, second, 400);
  // Between the samples that are left a high tone's own place may look worse than one a few of its periods away: 5 ms.
  const lag = best(sent, heard, (coarse - 20) * step, (coarse + 20) * step, second * step, 400 * step);
  // A decoder that begins in the middle needs 80 ms to swing in: RFC 7845, 4.6.
  const begin = Math.max(3840, -lag);
  const count = Math.min(heard.length, sent.length - lag) - begin;
  return { seconds: count / 48000, lag, likeness: likeness(sent, heard, lag, count, begin) };
}"""


def write_tone(path: Path, seconds: float = 40.0) -> None:
    """A tone that rises from 300 to 1,900 Hz, longer than a test lasts: no moment of it is like another."""
    rate = RATE // 2
    count = int(seconds * rate)
    swept = 1_600 / seconds / 2
    samples = array.array(
        "h", (int(12_000 * math.sin(2 * math.pi * (300 + swept * (at / rate)) * at / rate)) for at in range(count))
    )
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, rate, count, "NONE", ""))
        file.writeframes(samples.tobytes())


class Player:
    """What both pages have."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        self.badge = page.locator(".badge-text")
        self.card = page.locator(".player-card")
        self.said = page.locator(".said")
        self.listeners = page.locator(".listeners")
        self.clock = page.locator(".clock")

    async def sign_in(self, name: str) -> None:
        await self.page.get_by_label("Name").fill(name)
        await self.page.get_by_label("Password").fill(name)
        await self.page.get_by_role("button", name="Sign in").click()

    async def shows(self, badge: str) -> None:
        await expect(self.badge).to_have_text(badge)

    async def until(self, condition: str) -> None:
        """Wait in the page: its policy forbids what Playwright would evaluate there."""
        await self.page.evaluate(f"async () => {{ while (!({condition})) await new Promise(requestAnimationFrame); }}")

    async def samples(self, which: str) -> str:
        """What was `sent`, or `heard`, so far: 32-bit floats in base64."""
        text: str = await self.page.evaluate(
            """async (which) => {
              const blob = new Blob(window[which]);
              const reader = new FileReader();
              reader.readAsDataURL(blob);
              await new Promise((done) => (reader.onload = done));
              return reader.result.split(",")[1] ?? "";
            }""",
            which,
        )
        return text

    async def alike(self, whole: str, part: str) -> dict[str, Any]:
        """`seconds` of overlap, `lag` and `likeness` of two sounds as `samples` gives them."""
        found: dict[str, Any] = await self.page.evaluate(_ALIKE, [whole, part])
        return found


class Listener(Player):
    @property
    def play(self) -> Locator:
        return self.page.get_by_role("button", name="Play", exact=True)

    @property
    def stop(self) -> Locator:
        return self.page.get_by_role("button", name="Stop", exact=True)

    async def visit(self, stream: str) -> None:
        await self.page.goto(f"{self.url}/listen/{stream}")

    async def press_play(self) -> float:
        """Seconds from the press to the first loud sound."""
        await expect(self.play).to_be_enabled()
        await self.page.evaluate(
            """() => {
              const note = () => (window.pressedMs = performance.now());
              addEventListener("click", note, { capture: true, once: true });
            }"""
        )
        await self.play.click()
        took: float = await self.page.evaluate(
            """async () => {
              const meter = document.querySelector("parley-meter");
              while (!(Number(meter.style.getPropertyValue("--level")) > 0.3)) await new Promise(requestAnimationFrame);
              return (performance.now() - pressedMs) / 1000;
            }"""
        )
        return took

    async def press_until(self, within_s: float) -> float:
        """Seconds to the first loud sound: of the first of three presses that kept to `within_s`, else of the last.

        What is slow is slow each time; what a busy machine holds up is not held up thrice.
        """
        for left in (2, 1, 0):
            took = await self.press_play()
            if took < within_s or left == 0:
                break
            await self.stop.click()
            await expect(self.play).to_be_visible()
            await self.page.evaluate("heard.length = 0")
        return took


class Broadcaster(Player):
    def __init__(self, page: Page, url: str) -> None:
        super().__init__(page, url)
        self.go_live = page.get_by_role("button", name="Go live")
        self.end = page.get_by_role("button", name="End broadcast")

    async def visit(self, stream: str, name: str = "ada", may: bool = True) -> None:
        """As somebody who may broadcast, or may not."""
        await self.page.goto(f"{self.url}/broadcast/{stream}")
        await self.sign_in(name)
        await expect(self.go_live if may else self.card).to_be_visible()

    async def choose_microphone(self) -> None:
        await self.page.get_by_role("radio", name="Microphone").check()
        await self.until("document.querySelector('parley-meter').dataset.is === 'good'")

    async def seconds(self) -> int:
        """What the clock of the broadcast shows."""
        minutes, seconds = map(int, (await self.clock.inner_text()).split(":"))
        return minutes * 60 + seconds

    async def go(self) -> None:
        await self.choose_microphone()
        await self.go_live.click()
        await self.shows("On air")
