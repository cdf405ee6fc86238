/** Picture file -> upright sRGB bytes, as the browser decodes it. */

import { PageError } from "./errors.js";

const MAX_PIXELS = 200_000_000; // as in Python
const MAX_SIDE = 16_384; // of a canvas

/**
 * @typedef {object} Pixels
 * @property {Uint8ClampedArray} rgba (H, W, 4), straight alpha
 * @property {number} width
 * @property {number} height
 */

/**
 * Orientation is applied and the colour profile converted to sRGB by the browser.
 *
 * @param {Blob} file
 * @returns {Promise<ImageBitmap>} to be closed by the caller
 * @throws {PageError} if it is no picture that this browser reads
 */
export async function bitmapOf(file) {
  try {
    return await createImageBitmap(file, { imageOrientation: "from-image", colorSpaceConversion: "default" });
  } catch {
    const kind = file.type && !/^image\/(jpeg|png|webp|gif|bmp|avif)$/.test(file.type) ? ` (${file.type})` : "";
    const why = file.size ? `damaged, or not a kind of picture that this browser reads${kind}` : "empty";
    throw new PageError("picture", `This file is ${why}. Try a JPEG, PNG or WebP.`);
  }
}

/**
 * @param {Blob} file
 * @returns {Promise<Pixels>}
 * @throws {PageError} if it cannot be read or is too large
 */
export async function decode(file) {
  const bitmap = await bitmapOf(file);
  const { width, height } = bitmap;
  try {
    if (width * height > MAX_PIXELS || Math.max(width, height) > MAX_SIDE) {
      const limit = `${MAX_SIDE} pixels a side and ${MAX_PIXELS / 1e6} megapixels`;
      throw new PageError("picture", `This picture is ${width} x ${height}; a browser page can hold up to ${limit}.`);
    }
    const canvas = new OffscreenCanvas(width, height);
    const context = canvas.getContext("2d", { willReadFrequently: true, colorSpace: "srgb" });
    context.drawImage(bitmap, 0, 0);
    const { data } = context.getImageData(0, 0, width, height);
    canvas.width = canvas.height = 0; // gives its memory back now, not when it is collected
    return { rgba: data, width, height };
  } catch (error) {
    if (error instanceof PageError) throw error;
    throw new PageError("memory", `This picture, ${width} x ${height}, does not fit into the page's memory.`);
  } finally {
    bitmap.close();
  }
}
