/**
 * `<parley-log>`: a long log that draws only what is near, and never moves what is being read.
 * Knows rows by their key and nothing of messages: its owner draws a row, and loads what is older when asked.
 * @module
 */

import { fill, h } from "./dom.js";

/**
 * @template {{key: string}} Item
 * @typedef {object} Chunk consecutive items that are drawn, or stand as empty space of the height they had
 * @property {HTMLElement} element
 * @property {Item[]} items
 * @property {boolean} isDrawn
 */

const CHUNK_ITEMS = 40;
/** Drawn at least this far beyond the edges, and kept up to `FAR_PX`, so that small movements redraw nothing. */
const NEAR_PX = 1200;
const FAR_PX = 3600;
/** A guess for rows that were never drawn. */
const ROW_PX = 60;
/** This close to the end counts as there. */
const END_PX = 48;

/**
 * Events: `older` (what came before the first item is wanted), `end` (arrived at, or left, the end).
 * @template {{key: string}} [Item=any]
 */
export class ParleyLog extends HTMLElement {
  /** Draws one row; `before` is the item above it. @type {(item: Item, before: Item|null) => HTMLElement} */
  drawRow = () => h("div");

  /** @type {Chunk<Item>[]} */
  #chunks = [];
  /** @type {Map<string, Chunk<Item>>} */
  #chunkOf = new Map();
  /** @type {Map<string, HTMLElement>} */
  #rows = new Map();
  /** Items that are not in the log yet and always stand last. @type {Item[]} */
  #tail = [];
  #top = h("div", { class: "log-top" });
  #body = h("div", { class: "log-body" });
  #tailElement = h("div", { class: "log-tail" });
  #column = h("div", { class: "log-column" }, this.#top, this.#body, this.#tailElement);
  #isAtEnd = true;
  /**
   * The first row in sight and where it ended, to find it again when heights change. Its end, for what is read is below it: a
   * row loses its day's divider, or its name, when what came before it is loaded.
   * @type {{key: string, bottomPx: number}|null}
   */
  #anchor = null;
  #isScheduled = false;
  #sizes = new ResizeObserver(() => this.#settle());

  connectedCallback() {
    this.setAttribute("role", "log");
    // New messages are announced once for each burst, by the page; drawing old ones must announce nothing.
    this.setAttribute("aria-live", "off");
    this.tabIndex = 0;
    fill(this, this.#column);
    this.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    this.addEventListener("keydown", (event) => this.#walk(event));
    this.#sizes.observe(this);
    this.#sizes.observe(this.#column);
  }

  disconnectedCallback() {
    this.#sizes.disconnect();
  }

  get isAtEnd() {
    return this.#isAtEnd;
  }

  get last() {
    return this.#chunks.at(-1)?.items.at(-1) ?? null;
  }

  /** What stands above the first item: the beginning of the room, or that more is coming. @param {...import("./dom.js").Child} children */
  setTop(...children) {
    this.#keep(() => fill(this.#top, ...children));
  }

  /** @param {Item[]} items */
  reset(items) {
    this.#chunks = [];
    this.#chunkOf.clear();
    this.#rows.clear();
    this.#tail = [];
    fill(this.#body);
    fill(this.#tailElement);
    this.#isAtEnd = true;
    this.#keep(() => this.#add(items, null));
    this.#drawNear();
  }

  /** The same log with one more somewhere in it: whoever reads stays where they are. @param {Item[]} items */
  replace(items) {
    if (!this.#isAtEnd) this.#measure();
    const anchor = this.#isAtEnd ? null : this.#anchor;
    this.reset(items);
    if (!anchor) return;
    this.#isAtEnd = false;
    this.scrollToKey(anchor.key, 0);
    this.#anchor = anchor;
    this.#hold();
  }

  /** Older items, oldest first. @param {Item[]} items */
  addOlder(items) {
    const first = this.#chunks[0] ?? null;
    this.#keep(() => {
      this.#add(items, first);
      // What was first may stand in a group, or on a day, with what is now before it.
      if (first) this.#redraw(first.items[0]);
    });
    this.#drawNear();
  }

  /** @param {Item[]} items */
  addNewer(items) {
    this.#keep(() => {
      const last = this.#chunks.at(-1);
      const room = last ? Math.max(0, CHUNK_ITEMS - last.items.length) : 0;
      const fitting = items.slice(0, room);
      if (last) {
        for (const item of fitting) {
          const before = last.items.at(-1) ?? null;
          last.items.push(item);
          this.#chunkOf.set(item.key, last);
          if (last.isDrawn) last.element.append(this.#draw(item, before));
        }
      }
      this.#add(items.slice(room), null);
    });
    this.#drawNear();
  }

  /** The same key, drawn anew. @param {Item} item */
  update(item) {
    const chunk = this.#chunkOf.get(item.key);
    if (!chunk) return;
    chunk.items[chunk.items.findIndex(({ key }) => key === item.key)] = item;
    this.#keep(() => this.#redraw(item));
  }

  /** @param {Item[]} items */
  setTail(items) {
    const known = new Map(this.#tail.map((item) => [item.key, item]));
    this.#keep(() => {
      for (const { key } of this.#tail) if (!items.some((item) => item.key === key)) this.#take(key);
      let before = this.last;
      for (const item of items) {
        // A row whose item did not change stays: it may hold the focus.
        const kept = known.get(item.key) === item ? this.#rows.get(item.key) : undefined;
        if (!kept) this.#take(item.key);
        this.#tailElement.append(kept ?? this.#draw(item, before));
        before = item;
      }
      this.#tail = items;
    });
  }

  /** The drawn row of a key. @param {string} key */
  row(key) {
    return this.#rows.get(key) ?? null;
  }

  /** @returns {Iterable<[string, HTMLElement]>} */
  rows() {
    return this.#rows;
  }

  scrollToEnd() {
    const wasAtEnd = this.#isAtEnd;
    this.#isAtEnd = true;
    this.scrollTop = this.scrollHeight;
    this.#drawNear();
    this.scrollTop = this.scrollHeight;
    if (!wasAtEnd) this.dispatchEvent(new CustomEvent("end"));
  }

  /**
   * Bring a row into sight.
   * @param {string} key
   * @param {number} [share] how far from the top, from 0 to 1
   * @returns {HTMLElement|null} the row, or null where there is no such item
   */
  scrollToKey(key, share = 0.3) {
    const chunk = this.#chunkOf.get(key);
    if (!chunk) return null;
    if (!chunk.isDrawn) this.#drawChunk(chunk, this.#before(chunk));
    const row = this.#rows.get(key);
    if (!row) return null;
    const offset = () => row.getBoundingClientRect().top - this.getBoundingClientRect().top;
    this.scrollTop += offset() - this.clientHeight * share;
    this.#measure();
    this.#drawNear();
    this.scrollTop += offset() - this.clientHeight * share;
    this.#measure();
    return row;
  }

  /** @param {Item} item @param {Item|null} before */
  #draw(item, before) {
    const row = this.drawRow(item, before);
    this.#rows.set(item.key, row);
    return row;
  }

  /** @param {string} key */
  #take(key) {
    this.#rows.get(key)?.remove();
    this.#rows.delete(key);
  }

  /** @param {Chunk<Item>} chunk */
  #before(chunk) {
    return this.#chunks[this.#chunks.indexOf(chunk) - 1]?.items.at(-1) ?? null;
  }

  /** @param {Item[]} items @param {Chunk<Item>|null} next the chunk they stand before; null for the end */
  #add(items, next) {
    const at = next ? this.#chunks.indexOf(next) : this.#chunks.length;
    /** @type {Chunk<Item>[]} */
    const added = [];
    for (let i = 0; i < items.length; i += CHUNK_ITEMS) {
      const chunk = { element: h("div", { class: "log-chunk" }), items: items.slice(i, i + CHUNK_ITEMS), isDrawn: false };
      chunk.element.style.blockSize = `${chunk.items.length * ROW_PX}px`;
      for (const { key } of chunk.items) this.#chunkOf.set(key, chunk);
      added.push(chunk);
    }
    this.#chunks.splice(at, 0, ...added);
    const anchor = next?.element ?? null;
    for (const { element } of added) this.#body.insertBefore(element, anchor);
    // The last ones are what is seen first; the others follow as they come near.
    const last = added.at(-1);
    if (last && !next) this.#drawChunk(last, this.#before(last));
  }

  /** @param {Chunk<Item>} chunk @param {Item|null} before */
  #drawChunk(chunk, before) {
    if (chunk.isDrawn) return;
    chunk.isDrawn = true;
    const rows = [];
    for (const item of chunk.items) {
      rows.push(this.#draw(item, before));
      before = item;
    }
    chunk.element.style.blockSize = "";
    chunk.element.replaceChildren(...rows);
  }

  /** @param {Chunk<Item>} chunk @param {number} heightPx */
  #clearChunk(chunk, heightPx) {
    chunk.isDrawn = false;
    for (const { key } of chunk.items) this.#rows.delete(key);
    chunk.element.replaceChildren();
    chunk.element.style.blockSize = `${heightPx}px`;
  }

  /** @param {Item} item */
  #redraw(item) {
    const chunk = this.#chunkOf.get(item.key);
    const row = this.#rows.get(item.key);
    if (!chunk?.isDrawn || !row) return;
    const index = chunk.items.findIndex(({ key }) => key === item.key);
    const hadFocus = row.contains(document.activeElement);
    const fresh = this.#draw(item, chunk.items[index - 1] ?? this.#before(chunk));
    row.replaceWith(fresh);
    if (hadFocus) fresh.querySelector("article")?.focus({ preventScroll: true });
  }

  /** Draw what came near, empty what went far. */
  #drawNear() {
    const top = this.scrollTop;
    const bottom = top + this.clientHeight;
    /** @type {Chunk<Item>[]} */
    const near = [];
    /** @type {[Chunk<Item>, number][]} */
    const far = [];
    // All reading first, then all writing: one layout.
    for (const chunk of this.#chunks) {
      const start = chunk.element.offsetTop;
      const height = chunk.element.offsetHeight;
      const away = Math.max(top - (start + height), start - bottom);
      if (!chunk.isDrawn && away < NEAR_PX) near.push(chunk);
      else if (chunk.isDrawn && away > FAR_PX && !chunk.element.contains(document.activeElement)) far.push([chunk, height]);
    }
    if (near.length === 0 && far.length === 0) return;
    this.#keep(() => {
      for (const [chunk, height] of far) this.#clearChunk(chunk, height);
      for (const chunk of near) this.#drawChunk(chunk, this.#before(chunk));
    });
  }

  /** Change something and leave the reader where they are: at the end, or on the row at the top. @param {() => void} change */
  #keep(change) {
    if (!this.#isAtEnd) this.#measure();
    change();
    this.#hold();
  }

  #hold() {
    if (this.#isAtEnd) {
      this.scrollTop = this.scrollHeight;
    } else if (this.#anchor) {
      const row = this.#rows.get(this.#anchor.key);
      if (row) this.scrollTop += row.getBoundingClientRect().bottom - this.#anchor.bottomPx;
    }
  }

  #measure() {
    const edge = this.getBoundingClientRect().top;
    for (const chunk of this.#chunks) {
      if (!chunk.isDrawn || chunk.element.getBoundingClientRect().bottom <= edge) continue;
      for (const { key } of chunk.items) {
        const box = this.#rows.get(key)?.getBoundingClientRect();
        if (!box || box.bottom <= edge) continue;
        this.#anchor = { key, bottomPx: box.bottom };
        return;
      }
    }
    this.#anchor = null;
  }

  #scrolled() {
    const isAtEnd = this.scrollHeight - this.scrollTop - this.clientHeight < END_PX;
    if (isAtEnd !== this.#isAtEnd) {
      this.#isAtEnd = isAtEnd;
      this.dispatchEvent(new CustomEvent("end"));
    }
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    requestAnimationFrame(() => {
      this.#isScheduled = false;
      this.#drawNear();
      this.#measure();
      if (this.scrollTop < NEAR_PX) this.dispatchEvent(new CustomEvent("older"));
    });
  }

  /** Sizes changed by themselves: the window, the keyboard of a phone, a font. */
  #settle() {
    this.#hold();
    this.#drawNear();
    if (!this.#isAtEnd) this.#measure();
    if (this.#chunks.length > 0 && this.scrollTop < NEAR_PX) this.dispatchEvent(new CustomEvent("older"));
  }

  /** Arrows go from message to message. @param {KeyboardEvent} event */
  #walk(event) {
    if (event.defaultPrevented || event.altKey || event.ctrlKey || event.metaKey) return;
    const step = event.key === "ArrowUp" ? -1 : event.key === "ArrowDown" ? 1 : 0;
    const target = /** @type {Element} */ (event.target);
    if (step === 0 || target.closest("button, a, input, textarea") || !this.#column.firstChild) return;
    const articles = [...this.querySelectorAll("article")];
    const index = articles.indexOf(/** @type {HTMLElement} */ (target.closest("article")));
    const next = index < 0 ? articles.at(-1) : articles[index + step];
    if (!next) return;
    event.preventDefault();
    next.focus({ preventScroll: true });
    next.scrollIntoView({ block: "nearest" });
  }
}

customElements.define("parley-log", ParleyLog);
