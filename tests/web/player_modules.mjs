/**
 * Runs the player's Ogg modules for `test_player_modules.py`: a file in, what was read as JSON, and the same packets written anew.
 * @module
 */

import { readFileSync, writeFileSync } from "node:fs";

const [modules, input, output] = process.argv.slice(2);
const { readPages } = await import(`${modules}/ogg.js`);
const { OpusReader, OpusWriter } = await import(`${modules}/opus.js`);

const pages = readPages(new Uint8Array(readFileSync(input)));
const reader = new OpusReader();
const heads = [];
const packets = [];
for (const page of pages) {
  const heard = reader.take(page);
  if (heard?.head) heads.push(heard.head);
  else packets.push(...(heard?.packets ?? []));
}
if (output) {
  const { channels, preSkip } = heads[0];
  const writer = new OpusWriter({ channels, preSkip, serial: 0xfffffffe });
  const written = [writer.headers(), ...packets.map(({ bytes }) => writer.add(bytes)), writer.end()];
  writeFileSync(output, Buffer.concat(written.filter((page) => page !== null)));
}
console.log(
  JSON.stringify({
    pages: pages.map(({ serial, sequence, granule, isFirst, isLast }) => ({ serial, sequence, granule, isFirst, isLast })),
    heads: heads.map(({ channels, preSkip, gain, isPlain }) => ({ channels, preSkip, gain, isPlain })),
    packets: packets.map(({ bytes, at, samples, isAfterLoss }) => ({ bytes: bytes.length, at, samples, isAfterLoss })),
  }),
);
