/**
 * PNG with straight alpha. A canvas multiplies colours by alpha before it encodes, which spoils them where alpha is
 * low; these bytes come back as they are.
 */

import { zlibSync } from "./vendor/fflate/browser.js";
import { through } from "./packing.js";

const SIGNATURE = [137, 80, 78, 71, 13, 10, 26, 10];
const COLOUR_TYPES = { 1: 0, 3: 2, 4: 6 }; // grey, RGB, RGBA
const TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  let c = n;
  for (let bit = 0; bit < 8; bit++) c = c & 1 ? 0xedb88320 ^ (c >>> 1) : c >>> 1;
  return c >>> 0;
});

/**
 * @param {Uint8ClampedArray} rgba (H, W, 4)
 * @param {{width: number, height: number}} size
 * @param {1 | 3 | 4} channels how many of the four bytes are written
 * @returns {Promise<Blob>}
 */
export async function encodePng(rgba, { width, height }, channels) {
  const header = new DataView(new ArrayBuffer(13));
  header.setUint32(0, width);
  header.setUint32(4, height);
  header.setUint8(8, 8); // bits
  header.setUint8(9, COLOUR_TYPES[channels]);
  const packed = await deflate(filtered(rgba, width, height, channels));
  const parts = [
    Uint8Array.from(SIGNATURE),
    chunk("IHDR", new Uint8Array(header.buffer)),
    chunk("sRGB", Uint8Array.of(0)),
    chunk("IDAT", packed),
    chunk("IEND", new Uint8Array(0)),
  ];
  return new Blob(parts, { type: "image/png" });
}

/** Rows, each as its differences to the row above or to the pixel before, whichever are smaller. */
function filtered(rgba, width, height, channels) {
  const length = width * channels;
  const out = new Uint8Array(height * (length + 1));
  let now = new Uint8Array(length);
  let above = new Uint8Array(length);
  const ways = [new Uint8Array(length), new Uint8Array(length)];
  for (let y = 0; y < height; y++) {
    for (let x = 0, at = y * width * 4, i = 0; x < width; x++, at += 4) {
      for (let c = 0; c < channels; c++) now[i++] = rgba[at + c];
    }
    const costs = [0, 0];
    for (let i = 0; i < length; i++) {
      const before = i < channels ? 0 : now[i - channels];
      costs[0] += size(ways[0][i] = now[i] - before);
      costs[1] += size(ways[1][i] = now[i] - above[i]);
    }
    const way = costs[0] <= costs[1] ? 0 : 1;
    out[y * (length + 1)] = way + 1; // 1 is "sub", 2 is "up"
    out.set(ways[way], y * (length + 1) + 1);
    [now, above] = [above, now];
  }
  return out;
}

/** How far a difference of bytes is from none. */
function size(difference) {
  const byte = difference & 255;
  return byte < 128 ? byte : 256 - byte;
}

async function deflate(bytes) {
  if (typeof CompressionStream === "undefined") return zlibSync(bytes, { level: 6 });
  const blob = await through(bytes, new CompressionStream("deflate"));
  return new Uint8Array(await blob.arrayBuffer());
}

function chunk(name, data) {
  const out = new Uint8Array(data.length + 12);
  const view = new DataView(out.buffer);
  view.setUint32(0, data.length);
  for (let i = 0; i < 4; i++) out[4 + i] = name.charCodeAt(i);
  out.set(data, 8);
  view.setUint32(out.length - 4, checksum(out.subarray(4, out.length - 4)));
  return out;
}

/** CRC-32. */
function checksum(bytes) {
  let c = 0xffffffff;
  for (let i = 0; i < bytes.length; i++) c = TABLE[(c ^ bytes[i]) & 255] ^ (c >>> 8);
  return (c ^ 0xffffffff) >>> 0;
}
