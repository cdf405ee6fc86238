/**
 * Alpha + colours -> what people keep: the same rules as `birefnet.pixels.compose`. Nothing is premultiplied; where
 * alpha is 255 the subject's bytes come through unchanged, where it is 0 the background's do.
 *
 * All pictures are RGBA, (H, W, 4); an alpha is (H, W) in 0..255.
 */

import { gaussianBlur } from "./blur.js";
import { div255, flatten, isOpaque } from "./prepare.js";
import { resize8 } from "./resample.js";

const BLUR_SHARE = 1 / 50; // radius of the blur, of the longer side
const WHITE = 255; // stands behind what is transparent where something opaque is wanted
const BLUR_SIDE = 1024; // a blurred scene holds no detail: it is made at this size at most

/** @typedef {{width: number, height: number}} Size */

/** The cut-out; black where nothing is left, so that the removed scene is not carried along unseen. */
export function cutOut(rgba, alpha) {
  const out = new Uint8ClampedArray(rgba.length);
  for (let i = 0, at = 0; i < alpha.length; i++, at += 4) {
    if (!alpha[i]) continue;
    out[at] = rgba[at];
    out[at + 1] = rgba[at + 1];
    out[at + 2] = rgba[at + 2];
    out[at + 3] = alpha[i];
  }
  return out;
}

/** The alpha as a grey picture. */
export function grey(alpha) {
  const out = new Uint8ClampedArray(alpha.length * 4);
  for (let i = 0, at = 0; i < alpha.length; i++, at += 4) {
    out[at] = out[at + 1] = out[at + 2] = alpha[i];
    out[at + 3] = 255;
  }
  return out;
}

/** The subject before one opaque colour, [r, g, b]. */
export function overColour(rgba, alpha, colour) {
  return over(rgba, alpha, (at, c) => colour[c]);
}

/**
 * The subject before another picture, which is scaled to cover and cropped to its middle; white where it is
 * transparent.
 *
 * @param {Uint8ClampedArray} rgba
 * @param {Uint8Array} alpha
 * @param {Size} size of the first two
 * @param {{rgba: Uint8ClampedArray, width: number, height: number}} background
 */
export function overPicture(rgba, alpha, size, background) {
  const cover = fitCover(overWhite(background.rgba), background, size);
  return over(rgba, alpha, (at, c) => cover[at * 3 + c]);
}

/**
 * The subject before its own scene out of focus. Only the scene's colours enter the blur, weighted by what alpha
 * lacks, so the subject casts no glow; white where the picture is transparent.
 *
 * @param {Uint8ClampedArray} subject the subject's colours
 * @param {Uint8ClampedArray} rgba the picture
 * @param {Uint8Array} alpha
 * @param {Size} size
 */
export function overBlur(subject, rgba, alpha, size) {
  const longer = Math.max(size.width, size.height);
  const scale = Math.min(1, BLUR_SIDE / longer);
  const small = {
    width: Math.max(1, roundHalfEven(size.width * scale)),
    height: Math.max(1, roundHalfEven(size.height * scale)),
  };
  const soft = blurredScene(overWhite(rgba), alpha, size, small, longer * BLUR_SHARE * scale);
  const cover = resize8(soft, small, size, { step: 3 });
  return over(subject, alpha, (at, c) => cover[at * 3 + c]);
}

function blurredScene(rgba, alpha, size, small, sigma) {
  const options = { filter: "box", channels: 1, step: 1 };
  const weight = resize8(alpha.map((value) => 255 - value), size, small, options);
  const colour = resize8(rgba, size, small, { filter: "box" });
  for (let i = 0; i < weight.length; i++) {
    weight[i] = Math.max(1, weight[i]); // never quite nothing: a picture that is all subject still has a scene
    for (let c = 0; c < 3; c++) colour[3 * i + c] = div255(colour[3 * i + c] * weight[i]);
  }
  const light = gaussianBlur(colour, small, 3, sigma);
  const amount = gaussianBlur(weight, small, 1, sigma);
  return light.map((value, i) => Math.min(255, (value * 255) / Math.max(1, amount[Math.floor(i / 3)]) + 0.5));
}

/** What a picture shows on white paper: the colours under its transparency stay hidden. */
function overWhite(rgba) {
  if (isOpaque(rgba)) return rgba;
  const seen = new Uint8ClampedArray(rgba);
  flatten(seen, WHITE);
  return seen;
}

/** A picture as large as needed to cover a size, the overhang cut off evenly: (h, w, 3). */
export function fitCover(rgba, from, to) {
  if (from.width === to.width && from.height === to.height) return resize8(rgba, from, to);
  const scale = Math.max(to.height / from.height, to.width / from.width);
  const left = Math.max(0, (from.width - to.width / scale) / 2);
  const top = Math.max(0, (from.height - to.height / scale) / 2);
  const box = [left, top, from.width - left, from.height - top];
  return resize8(rgba, from, to, { filter: "bicubic", box });
}

/** Blend: (front * a + back * (255 - a)) / 255, rounded. */
function over(rgba, alpha, background) {
  const out = new Uint8ClampedArray(rgba.length);
  for (let i = 0, at = 0; i < alpha.length; i++, at += 4) {
    const a = alpha[i];
    for (let c = 0; c < 3; c++) out[at + c] = div255(rgba[at + c] * a + background(i, c) * (255 - a));
    out[at + 3] = 255;
  }
  return out;
}

/** As Python rounds. */
function roundHalfEven(value) {
  const down = Math.floor(value);
  return value - down === 0.5 ? down + (down % 2) : Math.round(value);
}
