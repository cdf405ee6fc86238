/** The dialog with the models: what each weighs and needs, which are kept here, where to compute. */

import { $, announce, chosen, count, element, size } from "./dom.js";
import { memoryWarning } from "./engine.js";
import { isKept, removeKept, variantOf } from "./models.js";

const DTYPES = { fp32: "32-bit weights", fp16: "16-bit weights", int8: "8-bit weights" };

/** Event "choice" with an engine.js Choice. */
export class ModelDialog extends EventTarget {
  /** @type {import("./engine.js").Choice} */
  choice;
  #listings = 0;

  /**
   * @param {import("./models.js").Model[]} models
   * @param {import("./engine.js").Choice} choice
   * @param {import("./server.js").Server | null} server
   */
  constructor(models, choice, server) {
    super();
    Object.assign(this, { models, choice, server });
    $("open-models").addEventListener("click", () => this.open());
    $("close-models").addEventListener("click", () => $("models").close());
    $("models").addEventListener("click", (event) => event.target === $("models") && $("models").close());
    $("backend").value = choice.backend;
    $("backend").addEventListener("change", () => this.#take({ backend: $("backend").value }));
    $("device-facts").textContent = deviceFacts();
    if (server) this.#offerServer();
  }

  async open() {
    await this.#list();
    if (!$("models").open) $("models").showModal();
  }

  #take(change) {
    this.choice = { ...this.choice, ...change };
    this.dispatchEvent(new CustomEvent("choice", { detail: this.choice }));
    this.#list();
  }

  async #list() {
    const listing = ++this.#listings;
    const cards = await Promise.all(this.models.map((model) => this.#card(model)));
    if (listing !== this.#listings) return; // a later one knows better, whichever ends first
    const focused = document.activeElement?.dataset?.key;
    $("model-list").replaceChildren(...cards);
    if (focused) $("model-list").querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus();
  }

  async #card(model) {
    const { width, height } = model.input;
    const words = [`${width} x ${height}`, model.license].filter(Boolean).join(" · ");
    const lines = await Promise.all(model.variants.map((variant) => this.#line(model, variant)));
    const chosenHere = this.choice.place === "device" && this.choice.model === model;
    const title = element("h3", {}, model.title || model.name);
    const className = chosenHere ? "model chosen" : "model";
    return element("article", { className }, title, element("p", {}, words), ...lines);
  }

  async #line(model, variant) {
    const kept = await isKept(model, variant);
    const inUse = this.choice.place === "device" && this.choice.model === model && this.choice.variant === variant;
    const kind = DTYPES[variant.dtype] ?? variant.dtype;
    const facts = [kind, `${size(variant.bytes)}${kept ? ", kept here" : " to download"}`];
    if (variant.memory) facts.push(`needs ${size(variant.memory)} of memory`);
    const line = element("div", { className: "variant" }, element("span", { className: "grow" }, facts.join(" · ")));
    const key = `${model.name}-${variant.dtype}`;
    const verb = inUse ? "In use" : kept ? "Use" : "Download and use";
    const use = element("button", { type: "button", data: { key: `use-${key}` } }, verb);
    use.setAttribute("aria-label", `${verb}: ${model.name}, ${kind}`);
    use.setAttribute("aria-pressed", String(inUse));
    use.addEventListener("click", () => this.#use(model, variant));
    line.append(use);
    if (kept) line.append(this.#removal(model, variant, key));
    const warning = memoryWarning(variant);
    if (warning) line.append(element("p", { className: "warning" }, warning));
    return line;
  }

  #removal(model, variant, key) {
    const label = `Remove ${model.name}, ${variant.dtype}, from this browser`;
    const data = { key: `remove-${key}` };
    const button = element("button", { type: "button", className: "quiet", "aria-label": label, data }, "Remove");
    button.addEventListener("click", async () => {
      await removeKept(model, variant);
      announce(`${model.name} was removed from this browser; ${size(variant.bytes)} are free again.`);
      await this.#list();
      $("model-list").querySelector(`[data-key="use-${key}"]`)?.focus();
    });
    return button;
  }

  #use(model, variant) {
    const device = document.querySelector('input[name="place"][value="device"]');
    device.checked = true;
    $("server-model-row").hidden = true;
    this.#take({ model, variant, place: "device" });
    announce(`${model.name} is in use.`);
  }

  #offerServer() {
    $("place").hidden = false;
    const told = `Pictures are sent to ${location.host} and computed there.`;
    $("server-words").textContent = `${told} For devices that are too weak.`;
    const names = this.server.models.map(({ name }) => element("option", { value: name }, name));
    $("server-model").replaceChildren(...names);
    $("server-model").value = this.server.preferred;
    const change = () => {
      const place = chosen("place");
      $("server-model-row").hidden = place !== "server";
      this.#take({ place, serverModel: $("server-model").value });
    };
    $("server-model").addEventListener("change", change);
    for (const input of document.querySelectorAll('input[name="place"]')) input.addEventListener("change", change);
  }
}

/** The first choice: as the address asks (`?model=`, `?variant=`, `?engine=`), else the site's own. */
export function firstChoice(models, preferred, search) {
  const asked = new URLSearchParams(search);
  const named = (name) => models.find((model) => model.name === name);
  const model = named(asked.get("model")) ?? named(preferred) ?? models[0];
  const engine = asked.get("engine");
  const backend = engine === "webgpu" || engine === "wasm" ? engine : "auto";
  const variant = variantOf(model, asked.get("variant") ?? undefined);
  return { model, variant, backend, place: "device", verbose: asked.has("verbose") };
}

function deviceFacts() {
  const facts = [count(navigator.hardwareConcurrency ?? 1, "processor thread")];
  if (navigator.deviceMemory) facts.push(`at least ${navigator.deviceMemory} GB of memory`);
  facts.push(navigator.gpu ? "WebGPU offered" : "no WebGPU");
  const alone = "one thread only: this site does not send the headers for more";
  facts.push(self.crossOriginIsolated ? "threads allowed" : alone);
  return `This browser: ${facts.join(", ")}.`;
}
