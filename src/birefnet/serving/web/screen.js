/** What of the current picture is to be seen: welcome or work, before, after, busy, trouble. */

import { $, announce, count, size } from "./dom.js";
import { bitmapOf } from "./decode.js";

export class Screen {
  #shown = { item: null, version: 0 };
  #rendering = false;
  #again = false;

  constructor(parts) {
    Object.assign(this, parts);
    this.items.addEventListener("change", ({ detail }) => this.#changed(detail));
    this.panel.addEventListener("change", () => this.render());
  }

  #changed(item) {
    const { all, current } = this.items;
    const entered = all.length > 0 && $("welcome").contains(document.activeElement);
    $("welcome").hidden = all.length > 0;
    $("work").hidden = all.length === 0;
    if (entered) this.stage.element.focus({ preventScroll: true }); // what had the focus is gone
    document.body.toggleAttribute("data-empty", all.length === 0);
    if (item && item.status === "failed") announce(`${item.name} failed: ${item.message}`);
    if (current !== this.#shown.item) this.#open(current);
    else if (item === current && item) this.#progressed(item);
    this.showBusy();
  }

  async #open(item) {
    this.#shown = { item, version: this.#shown.version + 1, status: item?.status };
    this.stage.put({ before: null, after: null, mode: "before" });
    this.#describe();
    if (!item) return;
    const { version } = this.#shown;
    const bitmap = await bitmapOf(item.file).catch(() => null);
    if (version !== this.#shown.version) {
      bitmap?.close();
      return;
    }
    this.stage.put({ before: bitmap });
    if (item.status === "done") await this.render();
  }

  #progressed(item) {
    const was = this.#shown.status;
    this.#shown.status = item.status;
    this.#describe();
    if (item.status === was) return;
    if (item.status === "done") this.render({ reveal: true });
    else if (was === "done") {
      this.studio.call("forget", { id: item.id }); // its alpha will be another
      this.stage.put({ after: null, mode: "before" });
    }
  }

  /** Make the result's pixels; while that goes on, only the last of many wishes counts. */
  async render({ reveal = false } = {}) {
    if (this.#rendering) {
      this.#again = true;
      return;
    }
    this.#rendering = true;
    try {
      do {
        this.#again = false;
        await this.#renderOnce(reveal);
      } while (this.#again);
    } finally {
      this.#rendering = false;
    }
  }

  async #renderOnce(reveal) {
    const { item } = this.#shown;
    const { version } = this.#shown;
    if (item?.status !== "done") return;
    const mode = this.panel.view === "compare" ? "compare" : "result";
    try {
      const after = await this.studio.call("show", this.saving.order(item));
      if (version !== this.#shown.version || item.status !== "done") {
        after.close();
        return;
      }
      this.stage.put({ after, mode });
      if (reveal && mode === "compare") this.stage.reveal();
      this.#describe();
    } catch (error) {
      if (version === this.#shown.version) this.#trouble(error.message);
    }
  }

  /** Words for the picture: on screen, and for those who listen. */
  #describe() {
    const { item } = this.#shown;
    const words = item ? this.#words(item) : "";
    if ($("item-status").textContent !== words) $("item-status").textContent = words;
    const shown = item?.status === "done" ? "Before and after of" : "Picture";
    $("canvas").setAttribute("aria-label", item ? `${shown} ${item.name}` : "No picture yet");
    this.#trouble(item?.status === "failed" || item?.status === "cancelled" ? item.message : "");
    if (item?.status === "done" && !item.told) {
      item.told = true;
      announce(words);
    }
  }

  #words(item) {
    if (item.status !== "done") return item.name;
    const { width, height, seconds, found } = item.result;
    const time = `${seconds < 10 ? seconds.toFixed(2) : Math.round(seconds)} s`;
    return `${item.name} · ${width} x ${height} · ${time}${found ? "" : " · no subject was found"}`;
  }

  #trouble(message) {
    $("trouble").hidden = !message;
    $("trouble-text").textContent = message;
    $("other-model").hidden = !["memory", "engine", "model"].includes(this.#shown.item?.kind);
  }

  showBusy() {
    const { item } = this.#shown;
    const busy = item?.status === "working" || item?.status === "waiting";
    $("busy").hidden = !busy;
    if (!busy) return;
    const text = this.#busyWords(item);
    if ($("busy-text").textContent !== text) $("busy-text").textContent = text;
  }

  #busyWords(item) {
    if (item.status === "waiting") return `Waiting (${count(this.items.open.length, "picture")} to do)`;
    const { phase, received, total } = this.engine.state;
    if (phase === "fetching" && total) return `Downloading the model, ${size(received)} of ${size(total)}`;
    if (phase === "fetching" || phase === "preparing" || phase === "idle") return "Starting the model";
    return "Cutting out";
  }
}
