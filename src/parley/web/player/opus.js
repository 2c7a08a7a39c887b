/**
 * Opus in Ogg: headers, the packets of a stream with their places in time, and a stream of one's own. Source: RFC 7845; RFC 6716 §3.1.
 * Decodes and encodes nothing: that is the browser's.
 * @module
 */

import { PageWriter } from "./ogg.js";

/** Granule positions count samples at this rate, whatever was recorded. */
export const RATE = 48_000;

/** More in one packet (255 segments a page, many pages) is no sound that anybody sends. */
const PACKET_BYTES_MAX = 65_536;

/**
 * @typedef {object} Head
 * @property {number} channels
 * @property {number} preSkip samples at the beginning that are not to be heard
 * @property {number} gain to be multiplied into the sound
 * @property {boolean} isPlain one or two channels in one Opus stream: a decoder needs no more than the packets
 * @property {Uint8Array} bytes the packet itself
 *
 * @typedef {object} Packet
 * @property {Uint8Array} bytes
 * @property {number} samples how long it is, at 48 kHz
 * @property {number} at granule position of its begin, pre-skip counted in
 * @property {boolean} isAfterLoss something before it is missing
 *
 * What a page brought: the head of a new stream, or packets of the one before.
 * @typedef {{head: Head}|{packets: Packet[]}} Heard
 */

/**
 * @param {Uint8Array} packet
 * @returns {Head|null} null where it is no head that we know
 */
export function readHead(packet) {
  // The upper half of the version is what breaks: RFC 7845 §5.1.
  if (packet.length < 19 || !startsWith(packet, "OpusHead") || packet[8] > 15 || packet[9] === 0) return null;
  const view = new DataView(packet.buffer, packet.byteOffset, packet.byteLength);
  return {
    channels: packet[9],
    preSkip: view.getUint16(10, true),
    gain: 10 ** (view.getInt16(16, true) / 256 / 20),
    isPlain: packet[18] === 0 && packet[9] <= 2,
    bytes: packet,
  };
}

/** @param {{channels: number, preSkip: number}} of */
export function writeHead({ channels, preSkip }) {
  const packet = new Uint8Array(19);
  const view = new DataView(packet.buffer);
  packet.set(ascii("OpusHead"));
  packet[8] = 1;
  packet[9] = channels;
  view.setUint16(10, preSkip, true);
  view.setUint32(12, RATE, true);
  return packet;
}

/** Who made the stream, and nothing about it. */
export function writeTags() {
  const vendor = ascii("Parley");
  const packet = new Uint8Array(8 + 4 + vendor.length + 4);
  packet.set(ascii("OpusTags"));
  new DataView(packet.buffer).setUint32(8, vendor.length, true);
  packet.set(vendor, 12);
  return packet;
}

/**
 * How many samples at 48 kHz a packet gives; 0 where it is none.
 * @param {Uint8Array} packet
 */
export function samplesOf(packet) {
  if (packet.length === 0) return 0;
  const config = packet[0] >> 3;
  const frame =
    config < 12
      ? [480, 960, 1920, 2880][config & 3] // SILK
      : config < 16
        ? [480, 960][config & 1] // hybrid
        : [120, 240, 480, 960][config & 3]; // CELT
  const code = packet[0] & 3;
  const frames = code === 0 ? 1 : code < 3 ? 2 : packet.length > 1 ? packet[1] & 63 : 0;
  return frame * frames;
}

/** The packets of whatever stream is on: another may follow it at any time, beginning with its headers. */
export class OpusReader {
  /** @type {number|null} */
  #serial = null;
  #sequence = 0;
  /** Whether sound has come since the headers. */
  #isBegun = false;
  #isLost = false;
  /** The pieces so far of a packet that goes on. @type {Uint8Array[]} */
  #open = [];

  /**
   * @param {import("./ogg.js").Page} page
   * @returns {Heard|null} null where it holds nothing to hear
   */
  take(page) {
    if (page.isFirst) {
      const head = page.pieces.length > 0 ? readHead(page.pieces[0]) : null;
      if (head === null) return null;
      this.#serial = page.serial;
      this.#sequence = page.sequence + 1;
      this.#isBegun = false;
      this.#isLost = false;
      this.#open = [];
      return { head };
    }
    if (page.serial !== this.#serial) return null;
    const isHole = page.sequence !== this.#sequence;
    this.#sequence = page.sequence + 1;
    const packets = this.#whole(page, isHole);
    if (!this.#isBegun && packets.length > 0 && startsWith(packets[0], "OpusTags")) packets.shift();
    // A listener joins somewhere in the stream: between headers and sound a hole is no loss.
    if (isHole && this.#isBegun) this.#isLost = true;
    const lengths = packets.map(samplesOf);
    let at = page.granule - lengths.reduce((sum, samples) => sum + samples, 0);
    /** @type {Packet[]} */
    const heard = [];
    packets.forEach((bytes, index) => {
      const samples = lengths[index];
      if (samples === 0) return;
      heard.push({ bytes, samples, at, isAfterLoss: this.#isLost });
      this.#isLost = false;
      this.#isBegun = true;
      at += samples;
    });
    return heard.length > 0 ? { packets: heard } : null;
  }

  /**
   * The packets that end on this page.
   * @param {import("./ogg.js").Page} page
   * @param {boolean} isHole
   */
  #whole({ pieces, isContinued, isOpen }, isHole) {
    if (isHole) this.#open = [];
    const found = [...pieces];
    if (isContinued && found.length > 0) {
      const piece = /** @type {Uint8Array} */ (found.shift());
      const held = this.#open.reduce((sum, { length }) => sum + length, piece.length);
      // Without its begin, or without an end, it is lost.
      if (this.#open.length > 0 && held <= PACKET_BYTES_MAX) found.unshift(joined([...this.#open, piece]));
      else if (isOpen && found.length === 0) return [];
    }
    this.#open = isOpen && found.length > 0 ? [/** @type {Uint8Array} */ (found.pop())] : [];
    return found;
  }
}

/** One stream of one's own, a page for every few packets. */
export class OpusWriter {
  #pages;
  #head;
  /** @type {Uint8Array[]} */
  #packets = [];
  #granule = 0;
  #pageSamples;
  #heldSamples = 0;

  /** @param {{channels: number, preSkip: number, serial: number, pageMs?: number}} of */
  constructor({ channels, preSkip, serial, pageMs = 60 }) {
    this.#pages = new PageWriter(serial);
    this.#head = writeHead({ channels, preSkip });
    this.#pageSamples = (pageMs * RATE) / 1000;
  }

  /** The two pages that begin it; once, before all others. */
  headers() {
    return joined([this.#pages.write([this.#head], 0), this.#pages.write([writeTags()], 0)]);
  }

  /**
   * @param {Uint8Array} packet
   * @returns {Uint8Array<ArrayBuffer>|null} the page that it filled
   */
  add(packet) {
    const samples = samplesOf(packet);
    this.#packets.push(packet);
    this.#granule += samples;
    this.#heldSamples += samples;
    return this.#heldSamples >= this.#pageSamples ? this.#page(false) : null;
  }

  /** The page that ends it, with what is left. */
  end() {
    return this.#page(true);
  }

  /** @param {boolean} isLast */
  #page(isLast) {
    const bytes = this.#pages.write(this.#packets, this.#granule, isLast);
    this.#packets = [];
    this.#heldSamples = 0;
    return bytes;
  }
}

/** @param {string} text */
const ascii = (text) => Uint8Array.from(text, (character) => character.charCodeAt(0));

/** @param {Uint8Array} bytes @param {string} text */
const startsWith = (bytes, text) => ascii(text).every((byte, index) => bytes[index] === byte);

/** @param {Uint8Array[]} parts */
function joined(parts) {
  const whole = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
