/** The worker that shows and saves: decodes, composes, encodes and zips while the other one computes. */

import { Handed, answer } from "./channel.js";
import { bitmapOf, decode } from "./decode.js";
import { PageError } from "./errors.js";
import { render } from "./look.js";
import { pack, unpack } from "./packing.js";
import { hasForeground } from "./pixels/alpha.js";
import { encodePng } from "./png.js";
import { Zip, ZipPassThrough } from "./vendor/fflate/browser.js";

const QUALITY = 0.9; // of WebP, as in Python

/** The picture that was opened last: a person looks at one at a time. @type {{id: number, cut: object} | null} */
let opened = null;
/** @type {{id: number, pixels: import("./decode.js").Pixels} | null} */
let behind = null;

/** @typedef {{id: number, file: Blob, alpha: import("./packing.js").PackedAlpha}} Source */

async function open({ id, file, alpha }) {
  if (opened?.id !== id) {
    opened = null; // before the next one is decoded: never two
    opened = { id, cut: { ...(await decode(file)), alpha: await unpack(alpha) } };
  }
  return opened.cut;
}

/** @param {{id: number, file: Blob} | null} backdrop the picture behind the subject */
async function backdropPixels(look, backdrop) {
  if (look.background !== "picture" || !backdrop) return null;
  if (behind?.id !== backdrop.id) {
    behind = null;
    behind = { id: backdrop.id, pixels: await decode(backdrop.file) };
  }
  return behind.pixels;
}

/** @param {{source: Source, look: import("./look.js").Look, backdrop?: {id: number, file: Blob}}} order */
async function pixelsOf({ source, look, backdrop }) {
  const cut = await open(source);
  const picture = await backdropPixels(look, backdrop);
  return { ...render(cut, look, picture), size: { width: cut.width, height: cut.height } };
}

async function show(order) {
  const { rgba, size } = await pixelsOf(order);
  const bitmap = await createImageBitmap(new ImageData(rgba, size.width, size.height));
  return new Handed(bitmap, [bitmap]);
}

async function save(order) {
  const { rgba, size, channels } = await pixelsOf(order);
  return order.format === "webp" ? encodeWebp(rgba, size) : encodePng(rgba, size, channels);
}

async function encodeWebp(rgba, { width, height }) {
  const canvas = new OffscreenCanvas(width, height);
  canvas.getContext("2d").putImageData(new ImageData(rgba, width, height), 0, 0);
  const blob = await canvas.convertToBlob({ type: "image/webp", quality: QUALITY });
  if (blob.type !== "image/webp") throw new PageError("picture", "This browser cannot write WebP. Save as PNG.");
  return blob;
}

/** Many pictures as one zip; they are compressed already, so the zip only holds them. */
async function zip({ orders }, progress) {
  let parts = [];
  const whole = [];
  const archive = new Zip((error, part) => {
    if (error) throw error;
    parts.push(part);
  });
  for (const [done, order] of orders.entries()) {
    const entry = new ZipPassThrough(order.name);
    archive.add(entry);
    entry.push(new Uint8Array(await (await save(order)).arrayBuffer()), true);
    whole.push(new Blob(parts)); // out of this worker's memory
    parts = [];
    progress({ done: done + 1, of: orders.length });
  }
  archive.end();
  return new Blob([...whole, ...parts], { type: "application/zip" });
}

/** A mask that a server made -> an alpha like ours. */
async function readMask({ blob }) {
  const { rgba, width, height } = await decode(blob);
  const alpha = Uint8Array.from({ length: width * height }, (_, i) => rgba[4 * i]);
  return { alpha: await pack(alpha), width, height, found: hasForeground(alpha) };
}

async function thumbnail({ file, side }) {
  const bitmap = await bitmapOf(file);
  try {
    const scale = Math.min(1, side / Math.min(bitmap.width, bitmap.height));
    const size = { resizeWidth: Math.ceil(bitmap.width * scale), resizeHeight: Math.ceil(bitmap.height * scale) };
    const small = await createImageBitmap(bitmap, { ...size, resizeQuality: "medium" });
    return new Handed({ bitmap: small, width: bitmap.width, height: bitmap.height }, [small]);
  } finally {
    bitmap.close();
  }
}

function forget({ id }) {
  if (id === undefined || opened?.id === id) opened = null;
}

answer({ show, save, zip, thumbnail, readMask, forget });
