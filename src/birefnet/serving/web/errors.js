/** Errors for people: one sentence with what happened and the way out. */

export class PageError extends Error {
  /**
   * @param {"picture" | "memory" | "network" | "model" | "engine" | "server"} kind what it is about
   * @param {string} message one or two plain sentences
   */
  constructor(kind, message) {
    super(message);
    this.name = "PageError";
    this.kind = kind;
  }
}

const MEMORY = new RegExp(
  "bad_alloc|out of memory|memory allocation|allocation failed|could not allocate|memory access|grow memory",
  "i",
);

/**
 * Whatever a runtime threw -> an error for people. ONNX Runtime's WebAssembly throws bare numbers where C++ had no
 * words left, which is nearly always memory.
 *
 * @param {unknown} thrown
 * @param {string} doing what was tried, as the start of a sentence: "Loading nano (fp32)"
 * @returns {PageError}
 */
export function explain(thrown, doing) {
  if (thrown instanceof PageError) return thrown;
  const text = String(thrown?.message ?? thrown);
  const outOfMemory = thrown instanceof RangeError || MEMORY.test(text) || /^\d+$/.test(text);
  if (!outOfMemory) return new PageError("engine", `${doing} failed: ${text}`);
  return new PageError(
    "memory",
    `${doing} needs more memory than this browser gives a page. Choose a smaller model or variant, close other tabs, ` +
      "or use a server if one is offered.",
  );
}
