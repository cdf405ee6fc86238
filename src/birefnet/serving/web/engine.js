/** Where pictures are computed: a worker of this page, or the server this page comes from. */

import { Channel } from "./channel.js";
import { removeOnServer } from "./server.js";

/**
 * @typedef {object} Choice
 * @property {import("./models.js").Model} model
 * @property {import("./models.js").Variant} variant
 * @property {"auto" | "webgpu" | "wasm"} backend
 * @property {"device" | "server"} place
 * @property {string} [serverModel]
 * @property {boolean} [verbose] let the runtime write all it does to the console
 */

/**
 * Events: "state" with detail {phase, received, total} or {phase: "ready", backend, threads}; "notice" with a sentence
 * that must be seen, such as a fall-back.
 */
export class Engine extends EventTarget {
  /** @type {Choice | null} */
  choice = null;
  state = { phase: "idle" };
  #worker = null;
  #loading = null;
  #abort = null;

  /** @param {import("./channel.js").Channel} studio reads the masks that a server makes */
  constructor(studio) {
    super();
    this.studio = studio;
  }

  /** Take another model or place; what is loaded is given back. @param {Choice} choice */
  choose(choice) {
    this.choice = choice;
    this.stop();
  }

  /** Load the model, once. @returns {Promise<void>} */
  ready() {
    if (this.choice.place === "server") {
      this.#setState({ phase: "ready", backend: "server" });
      return Promise.resolve();
    }
    this.#loading ??= this.#load().catch((error) => {
      if (error.name !== "AbortError") { // else `stop` did this already, and another model may be loading
        this.stop();
        this.#setState({ phase: "failed", message: error.message });
      }
      throw error;
    });
    return this.#loading;
  }

  /** @param {File} file @param {(step: object) => void} onProgress @returns {Promise<object>} see compute-worker.js */
  async remove(file, onProgress) {
    await this.ready();
    if (this.choice.place === "server") return this.#onServer(file, onProgress);
    try {
      return await this.#worker.call("remove", { file }, onProgress);
    } catch (error) {
      if (error.kind !== "engine" || this.state.backend !== "webgpu") {
        // After running out of memory the heap may be spoiled, and keeps its size: the next picture starts afresh.
        if (error.kind === "memory" || error.kind === "engine") this.stop();
        throw error;
      }
      this.#fallBack(error.message);
      return this.remove(file, onProgress);
    }
  }

  /** Stop whatever is under way, and give all memory back. */
  stop() {
    this.#abort?.abort();
    this.#worker?.close();
    this.#worker = this.#loading = this.#abort = null;
    this.#setState({ phase: "idle" });
  }

  async #load() {
    const backend = await this.#pickBackend();
    try {
      await this.#loadOn(backend);
    } catch (error) {
      if (backend !== "webgpu" || error.name === "AbortError" || error.kind === "network") throw error;
      this.#fallBack(error.message);
      await this.ready();
    }
  }

  async #pickBackend() {
    const { backend, variant } = this.choice;
    if (backend === "wasm") return "wasm";
    this.#worker ??= new Channel("./compute-worker.js");
    const reason = await this.#worker.call("probe", { variant, wish: backend });
    if (reason && backend === "webgpu") this.#notice(`${reason} Computing on the processor instead.`);
    return reason ? "wasm" : "webgpu";
  }

  async #loadOn(backend) {
    this.#worker ??= new Channel("./compute-worker.js");
    this.#setState({ phase: "fetching", received: 0, total: this.choice.variant.bytes });
    const { model, variant, verbose } = this.choice;
    const order = { model, variant, backend, verbose };
    const { threads, seconds } = await this.#worker.call("load", order, (step) => this.#setState(step));
    this.#setState({ phase: "ready", backend, threads, seconds });
  }

  /** From WebGPU to the processor, and say so. */
  #fallBack(reason) {
    this.choose({ ...this.choice, backend: "wasm" });
    this.#notice(`${reason} Computing on the processor instead.`);
  }

  async #onServer(file, onProgress) {
    this.#abort = new AbortController();
    const started = performance.now();
    onProgress?.({ phase: "computing" });
    const blob = await removeOnServer(file, this.choice.serverModel, this.#abort.signal);
    const result = await this.studio.call("readMask", { blob });
    return { ...result, seconds: (performance.now() - started) / 1000 };
  }

  #setState(state) {
    this.state = state;
    this.dispatchEvent(new CustomEvent("state", { detail: state }));
  }

  #notice(message) {
    this.dispatchEvent(new CustomEvent("notice", { detail: message }));
  }
}

/** Memory that a variant takes against what this device tells of its own. @returns {string | null} a warning */
export function memoryWarning(variant) {
  const device = navigator.deviceMemory; // in GiB, rounded and capped by the browser; absent in some
  const needs = `It needs about ${(variant.memory / 1e9).toFixed(1)} GB of memory`;
  if (variant.memory > 4e9) {
    return `${needs}, more than the 4 GB a page can have: it will not run on the processor here.`;
  }
  if (device && variant.memory > device * 0.5 * 2 ** 30) {
    return `${needs}; this device reports ${device} GB in all. It may fail: a smaller model or variant is safer.`;
  }
  return null;
}
