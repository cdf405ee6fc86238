/** Logits -> alpha at the picture's size: the same rules as `birefnet.pixels.alpha`. */

import { resizeRows } from "./resample.js";
import { guidedUpsample } from "./upsample.js";

const FOREGROUND_ALPHA = 128; // a pixel from here on belongs to the subject
const FOREGROUND_SHARE = 1 / 4096; // fewer such pixels are noise, not a subject

/** @typedef {{width: number, height: number}} Size */

/**
 * Logits (h, w) -> alpha (H, W) as bytes.
 *
 * @param {Float32Array} logits h * w
 * @param {Size} from size of the logits
 * @param {Size} to size of the picture
 * @param {object} [guide] lets the picture's own edges guide the enlargement
 * @param {Uint8Array} guide.seen the picture as the network saw it, (h, w, 3)
 * @param {Uint8ClampedArray} guide.rgba the picture, (H, W, 4)
 * @returns {Uint8Array} H * W, rounded to the nearest of 0..255
 */
export function finish(logits, from, to, guide) {
  const coarse = sigmoid(logits);
  if (guide && (to.width > from.width || to.height > from.height)) {
    return guidedUpsample(coarse, guide.seen, from, guide.rgba, to);
  }
  const out = new Uint8Array(to.width * to.height);
  if (to.width === from.width && to.height === from.height) {
    toBytes(coarse, out, 0);
    return out;
  }
  resizeRows([coarse], from, to, ([row], y) => toBytes(row, out, y * to.width));
  return out;
}

/**
 * @param {Float32Array} logits
 * @returns {Float32Array} values in [0, 1]
 */
export function sigmoid(logits) {
  return logits.map((value) => 0.5 * Math.tanh(0.5 * value) + 0.5);
}

/** Values in [0, 1] -> 0..255 at a place in `out`; what is outside is held at the ends. */
export function toBytes(values, out, place) {
  for (let i = 0; i < values.length; i++) {
    const value = values[i];
    out[place + i] = value <= 0 ? 0 : value >= 1 ? 255 : value * 255 + 0.5;
  }
}

/** Multiply the picture's own alpha in, in place. Both (H, W) as bytes. */
export function withOwn(alpha, own) {
  for (let i = 0; i < alpha.length; i++) alpha[i] = Math.round((alpha[i] * own[i]) / 255);
}

/** Whether an alpha holds a subject: one pixel in 4096 (and at least one) is above one half. */
export function hasForeground(alpha) {
  let solid = 0;
  for (const value of alpha) if (value >= FOREGROUND_ALPHA) solid++;
  return solid >= Math.max(1, alpha.length * FOREGROUND_SHARE);
}

/** Whether every logit is a number. */
export function allFinite(logits) {
  for (const value of logits) if (!Number.isFinite(value)) return false;
  return true;
}
