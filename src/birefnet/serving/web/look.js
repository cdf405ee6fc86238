/** What is to be seen and saved of a cut-out, and its pixels. Runs in a worker. */

import { cutOut, grey, overBlur, overColour, overPicture } from "./pixels/compose.js";
import { blurFusion } from "./pixels/foreground.js";
import { flatten } from "./pixels/prepare.js";

/**
 * @typedef {object} Look
 * @property {boolean} alphaOnly show the alpha as a grey picture
 * @property {"none" | "colour" | "blur" | "picture"} background
 * @property {[number, number, number]} colour of the background
 * @property {boolean} cleanEdges the subject's own colours at its soft edge
 */

/**
 * @typedef {object} Cut a picture and its alpha, opened
 * @property {Uint8ClampedArray} rgba (H, W, 4)
 * @property {Uint8Array} alpha (H, W)
 * @property {number} width
 * @property {number} height
 * @property {Uint8ClampedArray} [subject] edge colours, once they were asked for
 */

/**
 * @param {Cut} cut
 * @param {Look} look
 * @param {import("./decode.js").Pixels | null} picture the background, where it is one
 * @returns {{rgba: Uint8ClampedArray, channels: 1 | 3 | 4}} (H, W, 4), of which so many channels say something
 */
export function render(cut, look, picture) {
  if (look.alphaOnly) return { rgba: grey(cut.alpha), channels: 1 };
  const subject = look.cleanEdges ? (cut.subject ??= edgeColours(cut)) : cut.rgba;
  if (look.background === "colour") return { rgba: overColour(subject, cut.alpha, look.colour), channels: 3 };
  if (look.background === "blur") return { rgba: overBlur(subject, cut.rgba, cut.alpha, cut), channels: 3 };
  if (look.background === "picture" && picture) {
    return { rgba: overPicture(subject, cut.alpha, cut, picture), channels: 3 };
  }
  return { rgba: cutOut(subject, cut.alpha), channels: 4 };
}

/** The subject's own colours; where the picture was transparent already, whoever made it so left them unmixed. */
function edgeColours({ rgba, alpha, width, height }) {
  const visible = new Uint8ClampedArray(rgba);
  const own = flatten(visible);
  const colours = blurFusion(visible, alpha, { width, height });
  if (!own) return colours;
  for (let i = 0; i < own.length; i++) {
    if (own[i] < 255) colours.set(rgba.subarray(4 * i, 4 * i + 3), 4 * i);
  }
  return colours;
}
