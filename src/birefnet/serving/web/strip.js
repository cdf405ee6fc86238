/** The row of pictures under the stage. */

import { $, count, element, icon } from "./dom.js";

const SIDE = 136; // of a thumbnail, in pixels
const WORDS = { waiting: "waiting", working: "being cut out", done: "done", failed: "failed", cancelled: "cancelled" };

export class Strip {
  #made = new Map();

  /**
   * @param {import("./items.js").Items} items
   * @param {import("./channel.js").Channel} studio
   */
  constructor(items, studio) {
    this.items = items;
    this.studio = studio;
    const words = { "aria-label": "Add pictures" };
    const add = element("button", { type: "button", className: "add-tile square", ...words }, icon("add"));
    add.addEventListener("click", () => $("files").click());
    this.add = element("li", {}, add);
    $("items").append(this.add);
    items.addEventListener("change", ({ detail }) => this.update(detail));
    $("items").addEventListener("keydown", (event) => this.#step(event));
  }

  /** @param {import("./items.js").Item | null} item the one that changed; null for the list */
  update(item) {
    if (!item) this.#relist();
    for (const one of this.items.all) this.#mark(one);
    const { all, done, open } = this.items;
    const failed = all.filter((one) => one.status === "failed").length;
    const told = `${done.length} of ${count(all.length, "picture")} done${failed ? `, ${failed} failed` : ""}`;
    $("strip-title").textContent = all.length > 1 ? told : "Pictures";
    $("queue-progress").hidden = open.length === 0 || all.length < 2;
    $("queue-progress").max = Math.max(1, all.length);
    $("queue-progress").value = all.length - open.length;
    $("cancel-all").hidden = open.length < 2;
  }

  #relist() {
    for (const [id, line] of this.#made) {
      if (this.items.all.some((item) => item.id === id)) continue;
      line.remove();
      this.#made.delete(id);
    }
    for (const item of this.items.all) {
      if (this.#made.has(item.id)) continue;
      const line = this.#make(item);
      this.#made.set(item.id, line);
      this.add.before(line);
    }
  }

  #make(item) {
    const canvas = element("canvas", { width: SIDE, height: SIDE, "aria-hidden": "true" });
    const mark = element("span", { className: "mark", "aria-hidden": "true" });
    const button = element("button", { type: "button", className: "thumb" }, canvas, mark);
    button.addEventListener("click", () => this.items.select(item));
    const label = `Remove ${item.name} from the list`;
    const away = element("button", { type: "button", className: "take-away", "aria-label": label }, icon("close"));
    away.addEventListener("click", () => this.items.remove(item));
    this.#draw(item, canvas);
    return element("li", {}, button, away);
  }

  async #draw(item, canvas) {
    try {
      const { bitmap } = await this.studio.call("thumbnail", { file: item.file, side: SIDE });
      const side = Math.min(bitmap.width, bitmap.height);
      const left = (bitmap.width - side) / 2;
      canvas.getContext("2d").drawImage(bitmap, left, (bitmap.height - side) / 2, side, side, 0, 0, SIDE, SIDE);
      bitmap.close();
    } catch {
      canvas.replaceWith(icon("picture")); // the queue tells what is wrong with the file
    }
  }

  #mark(item) {
    const button = this.#made.get(item.id)?.firstElementChild;
    if (!button) return;
    button.dataset.status = item.status;
    button.setAttribute("aria-label", `${item.name}, ${WORDS[item.status]}`);
    button.setAttribute("aria-current", String(item === this.items.current));
    button.title = item.name;
  }

  /** Arrow keys go from picture to picture. */
  #step(event) {
    const way = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const line = event.target.closest("li");
    if (!way || !line || event.target.className !== "thumb") return;
    const next = way > 0 ? line.nextElementSibling : line.previousElementSibling;
    const button = next?.querySelector("button");
    button?.focus();
    button?.scrollIntoView({ block: "nearest", inline: "nearest" });
    if (button?.classList.contains("thumb")) button.click();
    event.preventDefault();
  }
}
