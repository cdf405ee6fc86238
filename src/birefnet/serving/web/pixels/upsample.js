/**
 * Enlarging a coarse alpha along the picture's own edges: the same rules as `birefnet.pixels.upsample`.
 *
 * He and Sun, "Fast Guided Filter", arXiv:1505.00996. Per window of the coarse alpha, alpha = slopes . colour + offset;
 * the detail that the large picture's colours add to those the network saw, times the slopes, is added to the alpha.
 */

import { toBytes } from "./alpha.js";
import { resizeRows } from "./resample.js";

const RADIUS = 2; // of the window, in the network's pixels
const EPSILON = 1e-4; // variance of colour (in [0, 1]) below which a window counts as flat

/** @typedef {{width: number, height: number}} Size */

/**
 * @param {Float32Array} alpha (h, w) in [0, 1]
 * @param {Uint8Array} seen the picture at the alpha's size, (h, w, 3)
 * @param {Size} from h, w
 * @param {Uint8ClampedArray} rgba the picture, (H, W, 4)
 * @param {Size} to H, W
 * @returns {Uint8Array} (H, W) in 0..255
 */
export function guidedUpsample(alpha, seen, from, rgba, to) {
  const planes = coefficients(alpha, seen, from);
  const out = new Uint8Array(to.width * to.height);
  const line = new Float32Array(to.width);
  resizeRows(planes, from, to, ([red, green, blue, offset], y) => {
    for (let x = 0, i = y * to.width * 4; x < to.width; x++, i += 4) {
      line[x] = offset[x] + red[x] * rgba[i] + green[x] * rgba[i + 1] + blue[x] * rgba[i + 2];
    }
    toBytes(line, out, y * to.width);
  });
  return out;
}

/**
 * Per pixel the three slopes and the offset of alpha = slopes . colour + offset, with colour in 0..255.
 *
 * @returns {Float32Array[]} four planes (h, w)
 */
export function coefficients(alpha, seen, size, epsilon = EPSILON) {
  const box = boxMean(size);
  // Centred on mid-grey, the products below keep more of float32's digits.
  // Plain loops throughout: they take half the time of `map`.
  const guide = [0, 1, 2].map((c) => filled(alpha.length, (plane) => {
    for (let i = 0; i < plane.length; i++) plane[i] = seen[3 * i + c] / 255 - 0.5;
  }));
  const mean = guide.map(box);
  const meanAlpha = box(alpha);
  const covariance = (a, b, meanA, meanB) => {
    const found = box(filled(a.length, (plane) => {
      for (let i = 0; i < plane.length; i++) plane[i] = a[i] * b[i];
    }));
    for (let i = 0; i < found.length; i++) found[i] -= meanA[i] * meanB[i];
    return found;
  };
  const shared = guide.map((channel, c) => covariance(channel, alpha, mean[c], meanAlpha));
  const pairs = [[0, 0], [0, 1], [0, 2], [1, 1], [1, 2], [2, 2]];
  const spread = pairs.map(([i, j]) => covariance(guide[i], guide[j], mean[i], mean[j]));
  const slopes = solve(spread, shared, epsilon).map(box);
  for (const slope of slopes) for (let i = 0; i < slope.length; i++) slope[i] /= 255;
  const [red, green, blue] = slopes;
  const offset = filled(alpha.length, (plane) => {
    for (let i = 0; i < plane.length; i++) {
      plane[i] = alpha[i] - red[i] * seen[3 * i] - green[i] * seen[3 * i + 1] - blue[i] * seen[3 * i + 2];
    }
  });
  return [...slopes, offset];
}

/** A new plane, filled by a function. */
function filled(length, fill) {
  const plane = new Float32Array(length);
  fill(plane);
  return plane;
}

/**
 * Solve one symmetric positive definite 3x3 system per pixel by elimination (LDL^T).
 *
 * @param {Float32Array[]} matrix the upper triangle: 00 01 02 11 12 22
 * @param {Float32Array[]} right
 * @param {number} epsilon added to the diagonal
 * @returns {Float32Array[]} three planes
 */
function solve([m00, m01, m02, m11, m12, m22], [r0, r1, r2], epsilon) {
  const out = [0, 1, 2].map(() => new Float32Array(m00.length));
  for (let i = 0; i < m00.length; i++) {
    const d0 = m00[i] + epsilon;
    const l10 = m01[i] / d0;
    const l20 = m02[i] / d0;
    const d1 = m11[i] + epsilon - l10 * m01[i];
    const rest = m12[i] - l20 * m01[i];
    const l21 = rest / d1;
    const d2 = m22[i] + epsilon - l20 * m02[i] - l21 * rest;
    const y1 = r1[i] - l10 * r0[i];
    const x2 = (r2[i] - l20 * r0[i] - l21 * y1) / d2;
    const x1 = y1 / d1 - l21 * x2;
    out[0][i] = r0[i] / d0 - l10 * x1 - l20 * x2;
    out[1][i] = x1;
    out[2][i] = x2;
  }
  return out;
}

/**
 * The mean over a square window, cut off at the border.
 *
 * @param {Size} size
 * @returns {(plane: Float32Array) => Float32Array}
 */
function boxMean({ width, height }) {
  const counts = (length) => Float64Array.from({ length }, (_, i) => {
    return Math.min(length - 1, i + RADIUS) - Math.max(0, i - RADIUS) + 1;
  });
  const across = counts(width);
  const down = counts(height);
  return (plane) => {
    const both = sumsDown(sumsAcross(plane, width, height), width, height);
    const out = new Float32Array(plane.length);
    for (let y = 0, i = 0; y < height; y++) {
      for (let x = 0; x < width; x++, i++) out[i] = both[i] / (down[y] * across[x]);
    }
    return out;
  };
}

/** Sums over the window along each line; direct, so that no digit is lost. */
function sumsAcross(plane, width, height) {
  const out = new Float64Array(plane.length);
  for (let y = 0; y < height; y++) {
    const base = y * width;
    for (let x = 0; x < width; x++) {
      const stop = base + Math.min(width - 1, x + RADIUS);
      let total = 0;
      for (let i = base + Math.max(0, x - RADIUS); i <= stop; i++) total += plane[i];
      out[base + x] = total;
    }
  }
  return out;
}

/** Sums over the window from line to line, whole lines at a time: memory is read in its order. */
function sumsDown(rows, width, height) {
  const out = new Float64Array(rows.length);
  for (let y = 0; y < height; y++) {
    const base = y * width;
    const stop = Math.min(height - 1, y + RADIUS);
    for (let k = Math.max(0, y - RADIUS); k <= stop; k++) {
      for (let x = 0, i = k * width; x < width; x++, i++) out[base + x] += rows[i];
    }
  }
  return out;
}
