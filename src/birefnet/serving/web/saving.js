/** Results out of the page: as a file, as a zip, to the clipboard. */

import { $, announce, notice } from "./dom.js";

/** @typedef {import("./items.js").Item} Item */

export class Saving {
  /**
   * @param {import("./items.js").Items} items
   * @param {import("./panel.js").Panel} panel
   * @param {import("./channel.js").Channel} studio
   */
  constructor(items, panel, studio) {
    Object.assign(this, { items, panel, studio });
    $("save").addEventListener("click", () => this.#while($("save"), () => this.#saveOne()));
    $("copy").addEventListener("click", () => this.#while($("copy"), () => this.#copy()));
    $("save-all").addEventListener("click", () => this.#while($("save-all"), () => this.#saveAll()));
    items.addEventListener("change", () => this.#enable());
    panel.addEventListener("change", () => this.#enable());
  }

  /** @param {Item} item @returns {object} what the studio needs to make the pixels */
  order(item) {
    const source = { id: item.id, file: item.file, alpha: item.result.alpha };
    return { source, look: this.panel.look, backdrop: this.panel.backdrop, format: this.panel.format };
  }

  #enable() {
    const ready = this.items.current?.status === "done";
    const { done } = this.items;
    $("save").disabled = $("copy").disabled = !ready;
    $("save").lastElementChild.textContent = this.panel.view === "alpha" ? "Save alpha" : "Save picture";
    $("save-all").hidden = done.length < 2;
    $("save-all").textContent = `Save all ${done.length} as a zip`;
  }

  async #saveOne() {
    const item = this.items.current;
    const blob = await this.studio.call("save", this.order(item));
    download(blob, this.#names([item])[0]);
    announce("Saved.");
  }

  async #saveAll() {
    const items = this.items.done;
    const names = this.#names(items);
    const orders = items.map((item, i) => ({ ...this.order(item), name: names[i] }));
    const blob = await this.studio.call("zip", { orders }, ({ done, of }) => {
      $("save-all").textContent = `Packing ${done} of ${of}`;
    });
    download(blob, "cut-outs.zip");
    announce("Saved all as a zip.");
  }

  async #copy() {
    const blob = this.studio.call("save", { ...this.order(this.items.current), format: "png" });
    await navigator.clipboard.write([new ClipboardItem({ "image/png": blob })]);
    announce("Copied to the clipboard.");
  }

  /** cat.jpg -> cat-cutout.png; no two the same. */
  #names(items) {
    const { alphaOnly, background } = this.panel.look;
    const kind = alphaOnly ? "alpha" : background === "none" ? "cutout" : background;
    const taken = new Set();
    return items.map(({ name }) => {
      const stem = name.replace(/\.[^.]*$/, "").replace(/[\\/:*?"<>|\p{Cc}]/gu, "_") || "picture";
      let result = `${stem}-${kind}`;
      for (let n = 2; taken.has(result.toLowerCase()); n++) result = `${stem}-${kind}-${n}`;
      taken.add(result.toLowerCase());
      return `${result}.${this.panel.format}`;
    });
  }

  async #while(button, work) {
    button.disabled = true;
    try {
      await work();
    } catch (error) {
      notice(error.message, { bad: true });
    } finally {
      button.disabled = false;
      this.#enable();
    }
  }
}

/** @param {Blob} blob @param {string} name */
function download(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000); // slow disks are still reading
}
