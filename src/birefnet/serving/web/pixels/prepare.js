/**
 * Picture -> what the network eats: the same function as `birefnet.pixels.prepare`, to the last bit of colour.
 */

import { resize8 } from "./resample.js";

/** Shown to the network where a picture is transparent: nothing dark or bright is lost on it. */
export const UNSEEN = 128;

/**
 * @typedef {object} InputSpec what a network was made for
 * @property {number} width in pixels, a multiple of 32
 * @property {number} height
 * @property {number[]} mean per channel, of values in [0, 1]
 * @property {number[]} std
 */

/**
 * RGBA bytes (straight alpha) -> normalised planes, and the picture as the network sees it.
 *
 * @param {Uint8ClampedArray} rgba H * W * 4
 * @param {{width: number, height: number}} size of the picture
 * @param {InputSpec} spec
 * @returns {{batch: Float32Array, seen: Uint8Array}} (1, 3, h, w) normalised; (h, w, 3)
 */
export function prepare(rgba, size, spec) {
  const seen = resize8(rgba, size, spec);
  return { batch: normalise(seen, spec), seen };
}

/**
 * @param {Uint8Array} seen (h, w, 3)
 * @param {InputSpec} spec
 * @returns {Float32Array} (3, h, w)
 */
export function normalise(seen, { width, height, mean, std }) {
  const area = width * height;
  const batch = new Float32Array(3 * area);
  for (let c = 0; c < 3; c++) {
    const table = channelTable(mean[c], std[c]);
    for (let i = 0; i < area; i++) batch[c * area + i] = table[seen[3 * i + c]];
  }
  return batch;
}

/** The 256 values of one channel, rounded at each step as float32 does. */
function channelTable(mean, std) {
  const round = Math.fround;
  const scale = round(1 / round(255 * round(std)));
  const shift = round(round(mean) / round(std));
  return Float32Array.from({ length: 256 }, (_, value) => round(round(value * scale) - shift));
}

/**
 * Take the transparency out of RGBA bytes, in place: what a person sees over a grey.
 *
 * @param {Uint8ClampedArray} rgba H * W * 4
 * @param {number} ground the grey, 0..255
 * @returns {Uint8Array | null} the picture's own alpha, H * W; null if all of it is opaque
 */
export function flatten(rgba, ground = UNSEEN) {
  const area = rgba.length / 4;
  if (isOpaque(rgba)) return null;
  const own = new Uint8Array(area);
  for (let i = 0; i < area; i++) {
    const alpha = rgba[4 * i + 3];
    own[i] = alpha;
    for (let c = 0; c < 3; c++) rgba[4 * i + c] = div255(rgba[4 * i + c] * alpha + ground * (255 - alpha));
    rgba[4 * i + 3] = 255;
  }
  return own;
}

/** Whether nothing of RGBA bytes is transparent. */
export function isOpaque(rgba) {
  for (let i = 3; i < rgba.length; i += 4) if (rgba[i] !== 255) return false;
  return true;
}

/** Division by 255 with exact rounding, of values up to 255 * 255. */
export function div255(value) {
  const shifted = value + 128;
  return (shifted + (shifted >> 8)) >> 8;
}
