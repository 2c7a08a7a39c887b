/**
 * Ogg pages, read and written. Source: RFC 3533 §6.
 * Does not know what they carry: `opus.js` does.
 * @module
 */

/**
 * @typedef {object} Page
 * @property {number} serial of the logical stream
 * @property {number} sequence of the page in it, from 0
 * @property {number} granule position at the end of the last packet that ends here; -1 where none does
 * @property {boolean} isFirst of its logical stream
 * @property {boolean} isLast
 * @property {boolean} isContinued the first piece belongs to the packet that the page before left open
 * @property {boolean} isOpen the last piece goes on in the next page
 * @property {Uint8Array[]} pieces packets, whole but for the two cases above
 */

const HEAD_BYTES = 27;
const SEGMENTS_MAX = 255;
const CONTINUED = 1;
const FIRST = 2;
const LAST = 4;
const TWO_32 = 2 ** 32;

/** Polynomial 0x04c11db7, nothing reflected, from 0, nothing inverted. */
const CRC = Uint32Array.from({ length: 256 }, (_, index) => {
  let rest = index << 24;
  for (let bit = 0; bit < 8; bit++) rest = rest & 0x80000000 ? (rest << 1) ^ 0x04c11db7 : rest << 1;
  return rest >>> 0;
});

/**
 * The checksum of a page, its own field taken as zero.
 * @param {Uint8Array} page
 */
export function checksum(page) {
  let rest = 0;
  for (let at = 0; at < page.length; at++) {
    const byte = at >= 22 && at < 26 ? 0 : page[at];
    rest = ((rest << 8) ^ CRC[(rest >>> 24) ^ byte]) >>> 0;
  }
  return rest;
}

/**
 * The pages in a message. What is none is passed over up to the next that is, as after lost bytes; a cut page is lost.
 * @param {Uint8Array} bytes
 * @returns {Page[]}
 */
export function readPages(bytes) {
  /** @type {Page[]} */
  const pages = [];
  for (let at = 0; at + HEAD_BYTES <= bytes.length; ) {
    const end = endOfPage(bytes, at);
    if (end === 0 || end > bytes.length) {
      at += 1;
      continue;
    }
    const whole = bytes.subarray(at, end);
    const view = new DataView(whole.buffer, whole.byteOffset, whole.byteLength);
    if (view.getUint32(22, true) === checksum(whole)) {
      pages.push(page(whole, view));
      at = end;
    } else {
      at += 1;
    }
  }
  return pages;
}

/**
 * Where the page that begins at `at` ends; 0 where none begins.
 * @param {Uint8Array} bytes
 * @param {number} at
 */
function endOfPage(bytes, at) {
  // "OggS", version 0
  if (bytes[at] !== 0x4f || bytes[at + 1] !== 0x67 || bytes[at + 2] !== 0x67 || bytes[at + 3] !== 0x53 || bytes[at + 4] !== 0) return 0;
  const segments = bytes[at + 26];
  let end = at + HEAD_BYTES + segments;
  for (let segment = 0; segment < segments; segment++) end += bytes[at + HEAD_BYTES + segment] ?? 0;
  return end;
}

/**
 * @param {Uint8Array} bytes
 * @param {DataView} view of the same
 * @returns {Page}
 */
function page(bytes, view) {
  const segments = bytes[26];
  const flags = bytes[5];
  /** @type {Uint8Array[]} */
  const pieces = [];
  let from = HEAD_BYTES + segments;
  let to = from;
  for (let segment = 0; segment < segments; segment++) {
    const lacing = bytes[HEAD_BYTES + segment];
    to += lacing;
    // A segment of 255 says that its packet goes on.
    if (lacing < 255 || segment === segments - 1) {
      pieces.push(bytes.subarray(from, to));
      from = to;
    }
  }
  return {
    serial: view.getUint32(14, true),
    sequence: view.getUint32(18, true),
    granule: view.getInt32(10, true) * TWO_32 + view.getUint32(6, true),
    isFirst: (flags & FIRST) !== 0,
    isLast: (flags & LAST) !== 0,
    isContinued: (flags & CONTINUED) !== 0,
    isOpen: segments > 0 && bytes[HEAD_BYTES + segments - 1] === 255,
    pieces,
  };
}

/** One logical stream on its way out; each page holds whole packets. */
export class PageWriter {
  #serial;
  #sequence = 0;

  /** @param {number} serial 32 bits, at random */
  constructor(serial) {
    this.#serial = serial;
  }

  /**
   * The next page.
   * @param {Uint8Array[]} packets which fit on one: at most 255 segments
   * @param {number} granule
   * @param {boolean} [isLast]
   * @returns {Uint8Array<ArrayBuffer>}
   */
  write(packets, granule, isLast = false) {
    const lacings = packets.flatMap(({ length }) => [...new Array(Math.floor(length / 255)).fill(255), length % 255]);
    if (lacings.length > SEGMENTS_MAX) throw new RangeError("these packets need more than one page");
    const head = HEAD_BYTES + lacings.length;
    const bytes = new Uint8Array(head + packets.reduce((sum, { length }) => sum + length, 0));
    const view = new DataView(bytes.buffer);
    bytes.set([0x4f, 0x67, 0x67, 0x53, 0, (this.#sequence === 0 ? FIRST : 0) | (isLast ? LAST : 0)]);
    view.setUint32(6, granule % TWO_32, true);
    view.setUint32(10, Math.floor(granule / TWO_32), true);
    view.setUint32(14, this.#serial, true);
    view.setUint32(18, this.#sequence++, true);
    bytes[26] = lacings.length;
    bytes.set(lacings, HEAD_BYTES);
    let at = head;
    for (const packet of packets) {
      bytes.set(packet, at);
      at += packet.length;
    }
    view.setUint32(22, checksum(bytes), true);
    return bytes;
  }
}
