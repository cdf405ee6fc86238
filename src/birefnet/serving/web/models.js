/** Which models there are, fetching their files with progress and a check of their SHA-256, and keeping them. */

import { PageError } from "./errors.js";
import { sha256 } from "./sha256.js";

const CACHE = "birefnet-models";

/**
 * @typedef {object} ModelFile
 * @property {string} path relative to the model's folder
 * @property {number} bytes
 * @property {string} sha256
 * @property {string} [mount] the name by which the graph asks for this file
 */

/**
 * @typedef {object} Variant
 * @property {"fp32" | "fp16" | "int8"} dtype how the weights are stored
 * @property {string} graph path of the ONNX file
 * @property {ModelFile[]} files
 * @property {number} bytes of the whole download
 * @property {number} memory bytes that computing on the processor takes, estimated
 * @property {string[]} providers
 * @property {string} [graph_optimization]
 * @property {object} [session] options for ONNX Runtime, passed on as they are
 * @property {{points: [number, number][], logits: number[]}} [self_test] known answers; see selftest.js
 */

/**
 * @typedef {object} Model a folder's birefnet.json, and where it lies
 * @property {string} name
 * @property {string} title
 * @property {string} folder URL, with a slash at its end
 * @property {Variant[]} variants
 * @property {string} default dtype of the variant to take
 * @property {{name: string, width: number, height: number, mean: number[], std: number[]}} input
 * @property {{name: string, activation: string, upsample: "bilinear" | "guided"}} output
 */

/**
 * All models of this site.
 *
 * @returns {Promise<{models: Model[], preferred: string}>}
 * @throws {PageError} if there is none to be had
 */
export async function listModels() {
  const index = await readJson(new URL("models/index.json", import.meta.url));
  const read = await Promise.allSettled(index.models.map(({ path }) => readModel(path)));
  const models = read.filter(({ status }) => status === "fulfilled").map(({ value }) => value);
  if (!models.length) throw new PageError("model", "This site offers no model: its models/ folder is empty or broken.");
  return { models, preferred: index.default };
}

async function readModel(path) {
  const folder = new URL(path.endsWith("/") ? path : `${path}/`, import.meta.url);
  const manifest = await readJson(new URL("birefnet.json", folder));
  if (manifest.format !== "birefnet-web" || manifest.version !== 1) {
    throw new PageError("model", `${folder.pathname}birefnet.json is not of a version that this page knows.`);
  }
  return { ...manifest, folder: folder.href };
}

/** From the network, or, where that is away, as it was the last time. */
async function readJson(url) {
  const cache = await openCache();
  try {
    const response = await fetch(url, { cache: "no-cache" });
    if (!response.ok) throw new PageError("network", `${url.pathname} answers ${response.status}.`);
    await cache?.put(url, response.clone()).catch(() => {});
    return await response.json();
  } catch (error) {
    const kept = await cache?.match(url);
    if (kept) return kept.json();
    if (error instanceof PageError) throw error;
    throw new PageError("network", `${url.pathname} cannot be read: ${error.message}.`);
  }
}

/** @param {Model} model @param {string} [dtype] @returns {Variant} */
export function variantOf(model, dtype) {
  const wanted = dtype ?? model.default;
  return model.variants.find((variant) => variant.dtype === wanted) ?? model.variants[0];
}

/**
 * One file of a model, from the cache or the network; checked and kept.
 *
 * @param {string} folder
 * @param {ModelFile} file
 * @param {(bytes: number) => void} onBytes called as they arrive, with how many came
 * @returns {Promise<Uint8Array>}
 */
export async function fetchFile(folder, file, onBytes) {
  const key = keyOf(folder, file);
  const cache = await openCache();
  const kept = await cache?.match(key);
  if (kept) {
    const bytes = new Uint8Array(await kept.arrayBuffer());
    if (bytes.length === file.bytes) {
      onBytes(bytes.length);
      return bytes;
    }
  }
  const bytes = await download(new URL(file.path, folder), file, onBytes);
  if ((await sha256(bytes)) !== file.sha256) {
    throw new PageError("network", `${file.path} did not arrive as it was published (SHA-256 differs). Try again.`);
  }
  // No room in the browser's storage is no reason to stop: the model is fetched again next time.
  await cache?.put(key, new Response(bytes)).catch(() => {});
  return bytes;
}

async function download(url, file, onBytes) {
  let response;
  try {
    response = await fetch(url);
  } catch (error) {
    const why = `${file.path} cannot be fetched: ${error.message}.`;
    throw new PageError("network", `${why} Check the connection and try again.`);
  }
  if (!response.ok) throw new PageError("network", `${url.pathname} answers ${response.status}.`);
  const bytes = new Uint8Array(file.bytes); // one buffer of the known size: no pieces to join later
  let place = 0;
  const reader = response.body.getReader();
  for (;;) {
    const { done, value } = await reader.read().catch(() => {
      throw new PageError("network", `The connection broke while ${file.path} was fetched. Try again.`);
    });
    if (done) break;
    if (place + value.length <= bytes.length) bytes.set(value, place);
    place += value.length;
    onBytes(value.length);
  }
  if (place !== file.bytes) {
    throw new PageError("network", `${file.path} came with ${place} bytes instead of ${file.bytes}. Try again.`);
  }
  return bytes;
}

/** @param {Model} model @param {Variant} variant @returns {Promise<boolean>} whether all of it is kept here */
export async function isKept(model, variant) {
  const cache = await openCache();
  if (!cache) return false;
  const found = await Promise.all(variant.files.map((file) => cache.match(keyOf(model.folder, file))));
  return found.every(Boolean);
}

/** Remove a variant's files from this browser. @param {Model} model @param {Variant} variant */
export async function removeKept(model, variant) {
  const cache = await openCache();
  await Promise.all(variant.files.map((file) => cache?.delete(keyOf(model.folder, file))));
}

function keyOf(folder, file) {
  const url = new URL(file.path, folder);
  url.search = `sha256=${file.sha256}`; // a new version is another file
  return url.href;
}

/** The browser's store for files; null where it has none (pages without https, private windows). */
async function openCache() {
  try {
    return await caches.open(CACHE);
  } catch {
    return null;
  }
}
