/** ONNX Runtime Web: which build and adapter, one session at a time. Runs in the computing worker. */

import { PageError, explain } from "./errors.js";
import { fetchFile } from "./models.js";
import { gridPoints, sampled, testPicture, verdict } from "./selftest.js";

const VENDOR = new URL("vendor/onnxruntime-web/", import.meta.url).href;
const BUILDS = { wasm: "ort.wasm.min.mjs", webgpu: "ort.webgpu.min.mjs" };
const MOST_THREADS = 8; // more share too little work

/** @typedef {import("./models.js").Model} Model @typedef {import("./models.js").Variant} Variant */

/** Threads that this page may use: one, where the site does not send the headers that shared memory needs. */
export function threadCount() {
  if (!self.crossOriginIsolated) return 1;
  return Math.max(1, Math.min(MOST_THREADS, navigator.hardwareConcurrency || 1));
}

/**
 * Whether WebGPU is worth a try here.
 *
 * @param {Variant} variant
 * @param {"auto" | "webgpu"} wish "webgpu" takes adapters made of software too, which are slower than the processor
 * @returns {Promise<string | null>} why not, as a sentence; null if it is
 */
export async function whyNoWebGpu(variant, wish) {
  if (!(variant.providers ?? ["wasm", "webgpu"]).includes("webgpu")) return "This model was not made for WebGPU.";
  if (!navigator.gpu) return "This browser has no WebGPU.";
  const adapter = await navigator.gpu.requestAdapter({ powerPreference: "high-performance" }).catch(() => null);
  if (!adapter) return "This browser found no graphics adapter.";
  const software = adapter.info?.isFallbackAdapter ?? adapter.isFallbackAdapter;
  if (software && wish !== "webgpu") return "The only graphics adapter is made of software.";
  return null;
}

/**
 * Load a model: the one session of this worker.
 *
 * @param {object} order
 * @param {Model} order.model
 * @param {Variant} order.variant
 * @param {"wasm" | "webgpu"} order.backend
 * @param {boolean} [order.verbose] let ONNX Runtime tell everything, such as where each operator runs
 * @param {(step: {phase: string, received?: number, total?: number}) => void} progress
 * @returns {Promise<{run: (batch: Float32Array) => Promise<Float32Array>, threads: number}>}
 */
export async function openSession({ model, variant, backend, verbose }, progress) {
  const doing = `Loading ${model.name} (${variant.dtype})`;
  try {
    const ort = await loadOrt(backend, verbose);
    const sources = await fetchAll(model, variant, progress);
    progress({ phase: "preparing" });
    const create = (provider) => ort.InferenceSession.create(sources.graph, {
      executionProviders: [provider],
      graphOptimizationLevel: variant.graph_optimization ?? "all",
      externalData: sources.external,
      ...(verbose ? { logSeverityLevel: 0 } : {}),
      ...variant.session,
    });
    const session = await tested({ ort, create, model, variant, backend });
    sources.graph = sources.external = null; // the runtime has its own copy
    return { run: (batch) => run(ort, session, model, batch), threads: ort.env.wasm.numThreads };
  } catch (error) {
    throw explain(error, doing);
  }
}

async function loadOrt(backend, verbose) {
  const ort = await import(VENDOR + BUILDS[backend]);
  ort.env.wasm.wasmPaths = VENDOR;
  ort.env.wasm.numThreads = threadCount();
  if (verbose) {
    ort.env.logLevel = "verbose";
    ort.env.debug = true;
  }
  return ort;
}

/** The files of a variant: the graph's bytes, and what it keeps outside. */
async function fetchAll(model, variant, progress) {
  let received = 0;
  const out = { graph: null, external: [] };
  for (const file of variant.files) {
    const bytes = await fetchFile(model.folder, file, (count) => {
      received += count;
      progress({ phase: "fetching", received, total: variant.bytes });
    });
    if (file.path === variant.graph) out.graph = bytes;
    else out.external.push({ path: file.mount ?? file.path.split("/").pop(), data: bytes });
  }
  if (!out.graph) throw new PageError("model", `The model ${model.name} lists no file ${variant.graph}.`);
  return out;
}

/** A session; one on WebGPU has proved on a known picture that it is right. */
async function tested({ ort, create, model, variant, backend }) {
  if (backend === "wasm") return create("wasm");
  const points = variant.self_test?.points ?? gridPoints(model.input);
  const answers = async (session) => {
    const logits = await run(ort, session, model, testPicture(model.input));
    return sampled(logits, model.input.width, points);
  };
  let wanted = variant.self_test?.logits;
  if (!wanted) {
    const reference = await create("wasm");
    wanted = await answers(reference);
    await reference.release();
  }
  const session = await create("webgpu");
  const wrong = verdict(await answers(session), wanted);
  if (!wrong) return session;
  await session.release();
  throw new PageError("engine", `WebGPU failed its self-test: ${wrong}.`);
}

/** (1, 3, h, w) -> logits (h, w); tensors are given back at once. */
async function run(ort, session, model, batch) {
  const { name, width, height } = model.input;
  const input = new ort.Tensor("float32", batch, [1, 3, height, width]);
  const outputs = await session.run({ [name]: input });
  const output = outputs[model.output.name];
  const logits = Float32Array.from(await output.getData());
  for (const tensor of [input, ...Object.values(outputs)]) tensor.dispose();
  return logits;
}
