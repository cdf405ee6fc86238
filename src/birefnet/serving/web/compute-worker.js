/** The worker that computes: picture file in, alpha out. Ending it gives back all memory of the model. */

import { answer } from "./channel.js";
import { decode } from "./decode.js";
import { PageError, explain } from "./errors.js";
import { pack } from "./packing.js";
import { allFinite, finish, hasForeground, withOwn } from "./pixels/alpha.js";
import { flatten, prepare } from "./pixels/prepare.js";
import { openSession, whyNoWebGpu } from "./runtime.js";

/** @type {{run: (batch: Float32Array) => Promise<Float32Array>, model: import("./models.js").Model} | null} */
let current = null;

/** Whether WebGPU can be tried; null or the reason why not. */
function probe({ variant, wish }) {
  return whyNoWebGpu(variant, wish);
}

/** @returns {Promise<{threads: number, seconds: number}>} */
async function load(order, progress) {
  const started = performance.now();
  const { run, threads } = await openSession(order, progress);
  current = { run, model: order.model };
  return { threads, seconds: (performance.now() - started) / 1000 };
}

/**
 * @param {{file: Blob}} order
 * @returns {Promise<{alpha: import("./packing.js").PackedAlpha, width: number, height: number, found: boolean,
 *   seconds: number}>} `found`: whether there is a subject
 */
async function remove({ file }, progress) {
  const { run, model } = current;
  const started = performance.now();
  const { rgba, ...size } = await decode(file);
  const own = flatten(rgba);
  const { batch, seen } = prepare(rgba, size, model.input);
  progress({ phase: "computing" });
  const logits = await computed(run, batch);
  const guide = model.output.upsample === "guided" ? { seen, rgba } : undefined;
  const alpha = finish(logits, model.input, size, guide);
  if (own) withOwn(alpha, own);
  const found = hasForeground(alpha);
  return { alpha: await pack(alpha), ...size, found, seconds: (performance.now() - started) / 1000 };
}

async function computed(run, batch) {
  let logits;
  try {
    logits = await run(batch);
  } catch (error) {
    throw explain(error, "Computing");
  }
  if (!allFinite(logits)) throw new PageError("engine", "The model gave values that are not numbers.");
  return logits;
}

answer({ probe, load, remove });
