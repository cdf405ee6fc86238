/**
 * Gaussian blur as Pillow does it: three extended box blurs along each direction.
 * Gwosdek, Grewenig, Bruhn and Weickert, "Theoretical Foundations of Gaussian Convolution by Extended Box Filtering".
 */

const PASSES = 3;

/**
 * @param {Uint8Array} pixels H * W * channels
 * @param {{width: number, height: number}} size
 * @param {number} channels
 * @param {number} sigma standard deviation in pixels
 * @returns {Uint8Array} of the same shape
 */
export function gaussianBlur(pixels, { width, height }, channels, sigma) {
  const radius = boxRadius(sigma);
  let now = Uint8Array.from(pixels);
  if (radius <= 0) return now;
  for (let c = 0; c < channels; c++) {
    for (let y = 0; y < height; y++) blurLine(now, y * width * channels + c, channels, width, radius);
    for (let x = 0; x < width; x++) blurLine(now, x * channels + c, width * channels, height, radius);
  }
  return now;
}

/** The radius (need not be whole) of the box whose three passes come nearest to a Gaussian. */
export function boxRadius(sigma) {
  const variance = (sigma * sigma) / PASSES;
  const whole = Math.floor((Math.sqrt(12 * variance + 1) - 1) / 2);
  const rest = (2 * whole + 1) * (whole * (whole + 1) - 3 * variance);
  return whole + rest / (6 * (variance - (whole + 1) ** 2));
}

/** Three box blurs of one line, in place, rounded to 8 bits after each; beyond its ends the line stays as it ends. */
function blurLine(pixels, start, step, length, radius) {
  const whole = Math.floor(radius);
  const rest = radius - whole;
  const side = 2 * radius + 1;
  let line = new Uint8Array(length);
  let next = new Uint8Array(length);
  for (let i = 0; i < length; i++) line[i] = pixels[start + i * step];
  const at = (i) => line[i < 0 ? 0 : i >= length ? length - 1 : i];
  for (let pass = 0; pass < PASSES; pass++) {
    let sum = 0;
    for (let i = -whole; i <= whole; i++) sum += at(i);
    for (let i = 0; i < length; i++) {
      next[i] = (sum + rest * (at(i - whole - 1) + at(i + whole + 1))) / side + 0.5;
      sum += at(i + whole + 1) - at(i - whole);
    }
    [line, next] = [next, line];
  }
  for (let i = 0; i < length; i++) pixels[start + i * step] = line[i];
}
