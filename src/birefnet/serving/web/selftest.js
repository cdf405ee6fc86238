/**
 * Is what this adapter computes right? A picture made by formula goes through the model; the answers at some points
 * must be those that are known.
 */

const POINTS = 8; // along each side, where no known answers name their own
const LARGEST_ERROR = 4 / 255; // of alpha

/**
 * The formula's picture, (1, 3, h, w): a bright disc on a dark ground with a fine pattern, all exact in float32.
 *
 * @param {{width: number, height: number}} size
 * @returns {Float32Array}
 */
export function testPicture({ width, height }) {
  const radius = Math.min(width, height) / 4;
  const batch = new Float32Array(3 * width * height);
  let place = 0;
  for (let c = 0; c < 3; c++) {
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        const inside = (x - width / 2) ** 2 + (y - height / 2) ** 2 < radius ** 2;
        batch[place++] = (inside ? 1.5 : -1.5) + ((5 * x + 3 * y + 11 * c) % 16) / 32;
      }
    }
  }
  return batch;
}

/** Points of a grid, [row, column]. @returns {[number, number][]} */
export function gridPoints({ width, height }) {
  const at = (i, side) => Math.floor(((i + 0.5) * side) / POINTS);
  return Array.from({ length: POINTS * POINTS }, (_, i) => [
    at(Math.floor(i / POINTS), height),
    at(i % POINTS, width),
  ]);
}

/**
 * @param {Float32Array} logits h * w
 * @param {number} width
 * @param {[number, number][]} points
 * @returns {number[]}
 */
export function sampled(logits, width, points) {
  return points.map(([y, x]) => logits[y * width + x]);
}

/**
 * @param {number[]} got logits
 * @param {number[]} wanted
 * @returns {string | null} what is wrong, as the end of a sentence; null if nothing is
 */
export function verdict(got, wanted) {
  if (!got.every(Number.isFinite)) return "it gives values that are not numbers";
  const alpha = (value) => 0.5 * Math.tanh(0.5 * value) + 0.5;
  const worst = Math.max(...got.map((value, i) => Math.abs(alpha(value) - alpha(wanted[i]))));
  return worst <= LARGEST_ERROR ? null : `its alpha is off by ${Math.round(worst * 255)} of 255`;
}
