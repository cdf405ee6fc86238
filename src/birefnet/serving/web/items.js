/** The pictures of this page, in their order, and the queue that computes them one after another. */

let nextId = 1;

/**
 * @typedef {object} Item
 * @property {number} id
 * @property {File} file
 * @property {string} name
 * @property {"waiting" | "working" | "done" | "failed" | "cancelled"} status
 * @property {string} [message] why it failed
 * @property {object} [result] see compute-worker.js
 */

/** Events: "change" with the item, or null where the list changed. */
export class Items extends EventTarget {
  /** @type {Item[]} */
  all = [];
  /** @type {Item | null} */
  current = null;
  #engine;
  #running = false;

  /** @param {import("./engine.js").Engine} engine */
  constructor(engine) {
    super();
    this.#engine = engine;
  }

  get done() {
    return this.all.filter((item) => item.status === "done");
  }

  get open() {
    return this.all.filter((item) => item.status === "waiting" || item.status === "working");
  }

  /** @param {File[]} files */
  add(files) {
    const added = files.map((file) => ({ id: nextId++, file, name: file.name || "picture.png", status: "waiting" }));
    this.all.push(...added);
    this.current ??= added[0] ?? null;
    this.#tell(null);
    this.#run();
  }

  /** @param {Item} item */
  select(item) {
    if (this.current === item) return;
    this.current = item;
    this.#tell(item);
  }

  /** @param {Item} item */
  remove(item) {
    const place = this.all.indexOf(item);
    if (item.status === "working") this.#engine.stop();
    this.all.splice(place, 1);
    item.status = "cancelled";
    if (this.current === item) this.current = this.all[Math.min(place, this.all.length - 1)] ?? null;
    this.#tell(null);
  }

  clear() {
    this.cancel();
    this.all = [];
    this.current = null;
    this.#tell(null);
  }

  /** Stop the one under way and do not start those that wait. */
  cancel() {
    const working = this.all.some((item) => item.status === "working");
    for (const item of this.open) this.#set(item, { status: "cancelled", message: "Cancelled." });
    if (working) this.#engine.stop();
  }

  /** Compute again: one item, or all with the model that is chosen now. @param {Item[]} items */
  again(items) {
    const fresh = { status: "waiting", message: undefined, result: undefined, told: false };
    for (const item of items) this.#set(item, fresh);
    this.#run();
  }

  async #run() {
    if (this.#running) return;
    this.#running = true;
    for (let item = this.#next(); item; item = this.#next()) await this.#compute(item);
    this.#running = false;
  }

  /** The one that is looked at comes first. */
  #next() {
    const waiting = this.all.filter((item) => item.status === "waiting");
    return waiting.find((item) => item === this.current) ?? waiting[0];
  }

  async #compute(item) {
    this.#set(item, { status: "working", phase: "loading" });
    try {
      const result = await this.#engine.remove(item.file, (step) => this.#set(item, step));
      if (item.status === "working") this.#set(item, { status: "done", result });
    } catch (error) {
      if (item.status !== "working") return;
      // Another model was chosen: again with it.
      if (error.name === "AbortError") this.#set(item, { status: "waiting" });
      else this.#fail(item, error);
    }
  }

  #fail(item, error) {
    // What stopped the model from loading stops it for all that wait.
    const stuck = this.#engine.state.phase === "failed";
    const all = stuck ? [item, ...this.open.filter((other) => other !== item)] : [item];
    for (const one of all) this.#set(one, { status: "failed", message: error.message, kind: error.kind });
  }

  #set(item, change) {
    Object.assign(item, change);
    this.#tell(item);
  }

  #tell(item) {
    this.dispatchEvent(new CustomEvent("change", { detail: item }));
  }
}
