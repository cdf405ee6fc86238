/**
 * The subject's own colours at its soft edge: blur fusion, the same function as `birefnet.pixels.foreground_fusion`.
 *
 * Forte, "Approximate Fast Foreground Colour Estimation", ICIP 2021. A pixel is I = a F + (1 - a) B. Take for F and B
 * the means of what lies around, each weighted by its share, and put the rest of I where it belongs:
 * F' = F + a (I - a F - (1 - a) B), once with a wide window, whose F' and B are then blurred with a narrow one.
 *
 * Legend: a stack has seven planes: q, q R, q G, q B, and then R, G, B times what q lacks; q is the alpha, in whole
 * steps for the wide window and as a fraction for the narrow one. Before and after: how far a window reaches.
 */

import { tiles } from "./tiles.js";

const WIDE = 90; // side of the first window, in pixels
const NARROW = 6; // of the second
const STEPS = 1020; // of alpha, as in Python: four for each of 255
const SMALL = 1e-5; // added to a mean alpha before it divides
const PLANES = 7;
const RING = 8; // rows of the first pass that the second can see, and two more

/** @typedef {import("./tiles.js").Tile} Tile */

/**
 * @param {Uint8ClampedArray} rgba the picture, (H, W, 4)
 * @param {Uint8Array} alpha (H, W)
 * @param {{width: number, height: number}} size
 * @param {number} [wide] side of the first window
 * @returns {Uint8ClampedArray} the subject's colours, (H, W, 4) with the fourth byte 255: the picture's own where alpha
 *   is 255, black where nothing of the subject is near
 */
export function blurFusion(rgba, alpha, size, wide = WIDE) {
  const out = new Uint8ClampedArray(rgba);
  const { empty, edges } = tiles(alpha, size, wide + NARROW);
  const black = new Uint32Array(out.buffer);
  const opaqueBlack = new Uint32Array(new Uint8Array([0, 0, 0, 255]).buffer)[0];
  for (const { top, bottom, left, right } of empty) {
    for (let y = top; y < bottom; y++) black.fill(opaqueBlack, y * size.width + left, y * size.width + right);
  }
  for (const tile of edges) estimate({ rgba, alpha, ...size }, tile, wide, out);
  return out;
}

/** Both passes for one tile, row by row. */
function estimate(picture, tile, wide, out) {
  const before = NARROW / 2;
  const after = NARROW - before - 1;
  const left = Math.max(0, tile.left - before);
  const right = Math.min(picture.width, tile.right + after);
  const last = Math.min(picture.height, tile.bottom + after);
  const first = firstPass(picture, Math.max(0, tile.top - before), left, right, wide);
  const ring = Array.from({ length: RING }, () => new Float32Array(PLANES * (right - left)));
  let made = Math.max(0, tile.top - before);
  const sums = new Float64Array(PLANES * (right - left));
  for (let y = tile.top; y < tile.bottom; y++) {
    for (; made < Math.min(last, y + before + 1); made++) first(made, ring[made % RING]);
    sums.fill(0);
    for (let row = y - before; row <= y + after; row++) {
      const values = ring[mirrored(row, picture.height) % RING];
      for (let i = 0; i < sums.length; i++) sums[i] += values[i];
    }
    lastRow(picture, tile, y, { sums, left, right }, out);
  }
}

/** The narrow window along one row, and the final colours. */
function lastRow({ rgba, alpha, width }, tile, y, { sums, left, right }, out) {
  const span = right - left;
  const before = NARROW / 2;
  const after = NARROW - before - 1;
  const area = NARROW * NARROW;
  const mean = new Float64Array(PLANES);
  for (let x = tile.left; x < tile.right; x++) {
    mean.fill(0);
    for (let column = x - before; column <= x + after; column++) {
      const at = mirrored(column, width) - left;
      for (let p = 0; p < PLANES; p++) mean[p] += sums[p * span + at];
    }
    const pixel = y * width + x;
    const a = alpha[pixel] / 255;
    for (let c = 0; c < 3; c++) {
      const front = mean[1 + c] / (mean[0] + SMALL * area);
      const back = mean[4 + c] / (area - mean[0] + SMALL * area);
      out[4 * pixel + c] = Math.floor(fuse(rgba[4 * pixel + c], a, front, back) + 0.5);
    }
  }
}

/**
 * The first pass as a function that makes one row of the narrow window's stack; rows must be asked for in order.
 * Sums down the columns run along with the rows: whole numbers, so that what was added can be taken away exactly.
 */
function firstPass(picture, top, left, right, wide) {
  const before = Math.floor(wide / 2);
  const after = wide - before - 1;
  const span = right - left;
  const columns = Int32Array.from({ length: span + wide - 1 }, (_, i) => mirrored(left - before + i, picture.width));
  const down = new Int32Array(PLANES * columns.length);
  for (let y = top - before; y < top + after; y++) addRow(picture, y, columns, down, 1);
  const along = new Float64Array(PLANES * span);
  return (y, out) => {
    addRow(picture, y + after, columns, down, 1);
    slide(down, columns.length, wide, along, span);
    addRow(picture, y - before, columns, down, -1);
    mixRow(picture, y, left, span, along, wide * wide * STEPS, out);
  };
}

/** Add the shares of one row of the picture (mirrored at its border) to the columns' sums, or take them away. */
function addRow({ rgba, alpha, width, height }, y, columns, down, sign) {
  const row = mirrored(y, height) * width;
  const n = columns.length;
  for (let i = 0; i < n; i++) {
    const pixel = row + columns[i];
    const q = alpha[pixel] * (STEPS / 255) * sign;
    const rest = STEPS * sign - q;
    const at = 4 * pixel;
    down[i] += q;
    down[n + i] += q * rgba[at];
    down[2 * n + i] += q * rgba[at + 1];
    down[3 * n + i] += q * rgba[at + 2];
    down[4 * n + i] += rest * rgba[at];
    down[5 * n + i] += rest * rgba[at + 1];
    down[6 * n + i] += rest * rgba[at + 2];
  }
}

/** Sums over `wide` neighbours along the row, for every plane. */
function slide(down, n, wide, along, span) {
  for (let p = 0; p < PLANES; p++) {
    let total = 0;
    for (let i = 0; i < wide - 1; i++) total += down[p * n + i];
    for (let i = 0; i < span; i++) {
      total += down[p * n + i + wide - 1];
      along[p * span + i] = total;
      total -= down[p * n + i];
    }
  }
}

/** Sums of the wide window -> the first pass's colours of subject and scene, with their shares. */
function mixRow({ rgba, alpha, width }, y, left, span, sums, whole, out) {
  for (let i = 0; i < span; i++) {
    const pixel = y * width + left + i;
    const a = alpha[pixel] / 255;
    out[i] = a;
    for (let c = 0; c < 3; c++) {
      const front = sums[(1 + c) * span + i] / (sums[i] + SMALL * whole);
      const back = sums[(4 + c) * span + i] / (whole - sums[i] + SMALL * whole);
      out[(1 + c) * span + i] = fuse(rgba[4 * pixel + c], a, front, back) * a;
      out[(4 + c) * span + i] = back * (1 - a);
    }
  }
}

/** F' = F + a (I - a F - (1 - a) B), held in 0..255. */
function fuse(colour, a, front, back) {
  const value = front + a * (colour - a * front - (1 - a) * back);
  return value < 0 ? 0 : value > 255 ? 255 : value;
}

/** A place beyond 0..side - 1 -> the one it mirrors: ... 2 1 0 1 2 ... */
function mirrored(index, side) {
  if (index >= 0 && index < side) return index;
  if (side === 1) return 0;
  const place = Math.abs(index) % (2 * side - 2);
  return Math.min(place, 2 * side - 2 - place);
}
