/** Calls to a worker and back: `channel.call(name, arguments)` on one side, `answer({name: function})` on the other. */

import { PageError } from "./errors.js";

/** The page's side: one worker, many calls under way. */
export class Channel {
  #worker;
  #calls = new Map();
  #next = 0;

  /** @param {string} script URL of the worker's module, relative to this one */
  constructor(script) {
    this.#worker = new Worker(new URL(script, import.meta.url), { type: "module", name: script });
    this.#worker.onmessage = ({ data }) => this.#receive(data);
    this.#worker.onerror = (event) => {
      event.preventDefault?.();
      const why = event.message || "it could not start";
      this.#failAll(new PageError("engine", `The background worker stopped: ${why}.`));
    };
  }

  /**
   * @param {string} name
   * @param {object} [args] anything that can be cloned
   * @param {(step: object) => void} [onProgress]
   * @returns {Promise<any>}
   */
  call(name, args = {}, onProgress) {
    const id = this.#next++;
    return new Promise((resolve, reject) => {
      this.#calls.set(id, { resolve, reject, onProgress });
      this.#worker.postMessage({ id, name, args });
    });
  }

  /** Stop the worker at once, whatever it does; its memory goes back to the system. */
  close() {
    this.#worker.terminate();
    this.#failAll(new DOMException("cancelled", "AbortError"));
  }

  #receive({ id, result, error, progress }) {
    const call = this.#calls.get(id);
    if (!call) return;
    if (progress) {
      call.onProgress?.(progress);
      return;
    }
    this.#calls.delete(id);
    if (error) call.reject(new PageError(error.kind, error.message));
    else call.resolve(result);
  }

  #failAll(reason) {
    for (const call of this.#calls.values()) call.reject(reason);
    this.#calls.clear();
  }
}

/** What a handler returns when parts of its result are to be handed over, not copied. */
export class Handed {
  /**
   * @param {any} value
   * @param {Transferable[]} parts
   */
  constructor(value, parts) {
    this.value = value;
    this.parts = parts;
  }
}

/**
 * The worker's side.
 *
 * @param {Record<string, (args: any, progress: (step: object) => void) => any>} handlers
 */
export function answer(handlers) {
  self.onmessage = async ({ data: { id, name, args } }) => {
    try {
      const result = await handlers[name](args, (step) => self.postMessage({ id, progress: step }));
      if (result instanceof Handed) self.postMessage({ id, result: result.value }, result.parts);
      else self.postMessage({ id, result });
    } catch (error) {
      const kind = error instanceof PageError ? error.kind : "engine";
      self.postMessage({ id, error: { kind, message: String(error?.message ?? error) } });
    }
  };
}
