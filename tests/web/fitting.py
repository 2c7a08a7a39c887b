"""What of a page does not fit: wider than its screen or its pane, or too small for a finger.

Says it in words, one line for each; which pages are looked at is their own tests' matter.
"""

from playwright.async_api import Frame, Page

#: PAGES.md: what a finger presses is 44 px high, the space around a word that belongs to it included.
_MISFITS = """() => {
  const found = [];
  const wide = document.documentElement.clientWidth;
  const isCoarse = matchMedia("(pointer: coarse)").matches;
  const name = (element) => `${element.localName}.${element.className} ${element.textContent.trim().slice(0, 40)}`;
  const isSeen = (element) => element.checkVisibility({ visibilityProperty: true, opacityProperty: true });
  if (document.documentElement.scrollWidth > wide) found.push("the page is wider than the screen");
  for (const element of document.querySelectorAll("*")) {
    const { overflowX, overflowY } = getComputedStyle(element);
    const isPane = overflowY === "auto" && overflowX === "auto" && !element.matches("pre, textarea");
    if (isPane && isSeen(element) && element.scrollWidth > element.clientWidth + 1) {
      found.push(`wider than its pane: ${name(element)}`);
    }
  }
  const pressed = "button, a[href], input, select, textarea, summary, [role=option]";
  for (const element of isCoarse ? document.querySelectorAll(pressed) : []) {
    const box = element.getBoundingClientRect();
    // A link in a text is as high as its line, and what is chosen by its label is as large as that.
    const isWord = getComputedStyle(element).display === "inline" && element.localName === "a";
    if (!isSeen(element) || isWord || element.matches("label input, .unseen")) continue;
    const around = getComputedStyle(element, "::after");
    const more = around.position === "absolute" ? -parseFloat(around.top) - parseFloat(around.bottom) || 0 : 0;
    if (box.height + more < 43.5) found.push(`${Math.round(box.height + more)} px for a finger: ${name(element)}`);
  }
  return [...new Set(found)];
}"""


async def misfits(page: Page | Frame) -> list[str]:
    found: list[str] = await page.evaluate(_MISFITS)
    return found
