/** Runs jobs with `@huggingface/transformers` in a page; the test calls `start` and looks at `window.found`. */

import * as library from './library/transformers.min.js';
import { run } from './transformers-run.mjs';

library.env.allowLocalModels = true;
library.env.allowRemoteModels = false;
library.env.useBrowserCache = false;
library.env.localModelPath = './models/';
library.env.backends.onnx.wasm.wasmPaths = new URL('./runtime/', location.href).href;

/**
 * @param {{model: string, picture: string, dtype?: string, own?: string}} job as for `run`; `own` is base64
 */
async function start(job) {
  window.found = undefined;
  try {
    const own = job.own ? new Float32Array(fromText(job.own).buffer) : undefined;
    const arrays = await run(library, job.model, job.picture, { dtype: job.dtype, own });
    const texts = Object.entries(arrays).filter(([, value]) => ArrayBuffer.isView(value));
    window.found = Object.fromEntries(texts.map(([name, value]) => [name, toText(value)]));
  } catch (error) {
    window.found = { error: String(error.stack ?? error) };
  }
}

/** @param {ArrayBufferView} array @returns {string} its bytes in base64 */
function toText(array) {
  const bytes = new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
  let text = '';
  for (let at = 0; at < bytes.length; at += 8192) text += String.fromCharCode(...bytes.subarray(at, at + 8192));
  return btoa(text);
}

/** @param {string} text base64 @returns {Uint8Array} */
function fromText(text) {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}

window.start = start;
