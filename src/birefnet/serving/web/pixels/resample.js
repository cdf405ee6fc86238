/**
 * Pillow's resampling: each output pixel is a weighted mean of the input under a filter that widens when it shrinks.
 * Rows first, then columns; 8-bit pictures are rounded to 8 bits between the two, with weights of 22 binary digits.
 *
 * Legend: H W rows and columns of the input, h w of the output; a picture is RGBA, four bytes a pixel.
 */

/** @typedef {{first: Int32Array, count: Int32Array, weights: Float64Array, width: number}} Taps */

const DIGITS = 22; // of a weight's fraction: what leaves room for 8 bits of colour and a sign in 32

/** Filters: the half width, and the weight at a distance from the centre. */
export const FILTERS = {
  box: { support: 0.5, at: (x) => (x > -0.5 && x <= 0.5 ? 1 : 0) },
  bilinear: { support: 1, at: (x) => Math.max(0, 1 - Math.abs(x)) },
  bicubic: { support: 2, at: cubic },
};

/** The cubic with a = -0.5 (Keys, 1981). */
function cubic(x) {
  const d = Math.abs(x);
  if (d < 1) return (1.5 * d - 2.5) * d * d + 1;
  return d < 2 ? ((-0.5 * d + 2.5) * d - 4) * d + 2 : 0;
}

/**
 * Which input pixels make each output pixel, and their weights, which sum to 1.
 *
 * @param {number} length of the input
 * @param {number} size of the output
 * @param {{support: number, at: (x: number) => number}} filter
 * @param {[number, number]} [box] the part of the input that is shown, as edges
 * @returns {Taps}
 */
export function taps(length, size, filter, box = [0, length]) {
  const scale = (box[1] - box[0]) / size;
  const stretch = Math.max(scale, 1);
  const support = filter.support * stretch;
  const width = Math.ceil(support) * 2 + 1;
  const first = new Int32Array(size);
  const count = new Int32Array(size);
  const weights = new Float64Array(size * width);
  for (let i = 0; i < size; i++) {
    const centre = box[0] + (i + 0.5) * scale;
    const start = Math.max(0, Math.trunc(centre - support + 0.5));
    const stop = Math.min(length, Math.trunc(centre + support + 0.5));
    let total = 0;
    for (let k = 0; k < stop - start; k++) {
      const weight = filter.at((start + k - centre + 0.5) / stretch);
      weights[i * width + k] = weight;
      total += weight;
    }
    for (let k = 0; k < stop - start; k++) if (total) weights[i * width + k] /= total;
    first[i] = start;
    count[i] = stop - start;
  }
  return { first, count, weights, width };
}

/** Weights as whole numbers, for 8-bit pictures. */
function whole({ weights }) {
  const out = new Int32Array(weights.length);
  for (let i = 0; i < out.length; i++) {
    const scaled = weights[i] * (1 << DIGITS);
    out[i] = Math.trunc(scaled + (scaled < 0 ? -0.5 : 0.5));
  }
  return out;
}

/** Does the picture stay as it is along this side? */
function same(length, size, box) {
  return length === size && box[0] === 0 && box[1] === length;
}

/**
 * Resize an 8-bit picture.
 *
 * @param {Uint8Array | Uint8ClampedArray} pixels H * W * step bytes, of which the first `channels` of each step count
 * @param {{width: number, height: number}} from size of the input
 * @param {{width: number, height: number}} to size of the output
 * @param {object} [options]
 * @param {keyof typeof FILTERS} [options.filter]
 * @param {[number, number, number, number]} [options.box] left, top, right, bottom of what is shown
 * @param {number} [options.step] bytes a pixel of the input
 * @param {number} [options.channels] bytes a pixel of the output
 * @returns {Uint8Array} h * w * channels
 */
export function resize8(pixels, from, to, { filter = "bilinear", box, step = 4, channels = 3 } = {}) {
  const [left, top, right, bottom] = box ?? [0, 0, from.width, from.height];
  const down = taps(from.height, to.height, FILTERS[filter], [top, bottom]);
  // Only rows that are looked at later are made narrow.
  const begin = down.first[0];
  const end = down.first[to.height - 1] + down.count[to.height - 1];
  const across = same(from.width, to.width, [left, right])
    ? null : taps(from.width, to.width, FILTERS[filter], [left, right]);
  const narrow = alongRows(pixels, from.width, begin, end, across, to.width, step, channels);
  if (same(from.height, to.height, [top, bottom])) return narrow;
  return alongColumns(narrow, begin, down, to.width * channels, to.height);
}

function alongRows(pixels, width, begin, end, across, size, step, channels) {
  const out = new Uint8Array((end - begin) * size * channels);
  const weights = across && whole(across);
  let place = 0;
  for (let y = begin; y < end; y++) {
    const row = y * width * step;
    for (let x = 0; x < size; x++) {
      const start = row + (across ? across.first[x] : x) * step;
      for (let c = 0; c < channels; c++) {
        if (!across) {
          out[place++] = pixels[start + c];
          continue;
        }
        let sum = 1 << (DIGITS - 1);
        const base = x * across.width;
        for (let k = 0, at = start + c; k < across.count[x]; k++, at += step) sum += pixels[at] * weights[base + k];
        out[place++] = clip8(sum);
      }
    }
  }
  return out;
}

function alongColumns(narrow, begin, down, rowLength, size) {
  const out = new Uint8Array(size * rowLength);
  const weights = whole(down);
  const sums = new Int32Array(rowLength);
  for (let y = 0; y < size; y++) {
    sums.fill(1 << (DIGITS - 1));
    for (let k = 0; k < down.count[y]; k++) {
      const weight = weights[y * down.width + k];
      const row = (down.first[y] + k - begin) * rowLength;
      for (let i = 0; i < rowLength; i++) sums[i] += narrow[row + i] * weight;
    }
    for (let i = 0, place = y * rowLength; i < rowLength; i++) out[place + i] = clip8(sums[i]);
  }
  return out;
}

function clip8(sum) {
  const value = sum >> DIGITS;
  return value < 0 ? 0 : value > 255 ? 255 : value;
}

/**
 * Enlarge or shrink planes of floating-point values row by row: only one output row of each exists at a time.
 * Bilinear; columns before rows, which differs from Pillow's order by rounding alone.
 *
 * @param {Float32Array[]} planes each H * W
 * @param {{width: number, height: number}} from
 * @param {{width: number, height: number}} to
 * @param {(rows: Float32Array[], y: number) => void} use called with one row of `to.width` per plane, for every y
 */
export function resizeRows(planes, from, to, use) {
  const down = taps(from.height, to.height, FILTERS.bilinear);
  const across = taps(from.width, to.width, FILTERS.bilinear);
  const line = new Float64Array(from.width);
  const rows = planes.map(() => new Float32Array(to.width));
  for (let y = 0; y < to.height; y++) {
    planes.forEach((plane, p) => {
      line.fill(0);
      for (let k = 0; k < down.count[y]; k++) {
        const weight = down.weights[y * down.width + k];
        const row = (down.first[y] + k) * from.width;
        for (let x = 0; x < from.width; x++) line[x] += plane[row + x] * weight;
      }
      spread(line, across, rows[p]);
    });
    use(rows, y);
  }
}

function spread(line, { first, count, weights, width }, out) {
  for (let x = 0; x < out.length; x++) {
    let sum = 0;
    for (let k = 0; k < count[x]; k++) sum += line[first[x] + k] * weights[x * width + k];
    out[x] = sum;
  }
}
