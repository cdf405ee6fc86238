/** The controls beside the stage: what is shown, and what is saved. */

import { $, chosen } from "./dom.js";

let backdrops = 0;

export class Panel extends EventTarget {
  /** @type {{id: number, file: File} | null} the picture behind the subject */
  backdrop = null;

  constructor() {
    super();
    const form = $("panel");
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("change", (event) => this.#changed(event.target));
    $("colour").addEventListener("input", () => this.#changed($("colour")));
    $("choose-backdrop").addEventListener("click", () => $("backdrop").click());
    $("backdrop").addEventListener("change", () => this.#takeBackdrop());
    this.#paintSwatch();
    form.reset(); // browsers bring old choices back after a reload, without telling
  }

  get view() {
    return chosen("view");
  }

  get format() {
    return chosen("format");
  }

  /** @returns {import("./look.js").Look} */
  get look() {
    const value = $("colour").value; // #rrggbb
    return {
      alphaOnly: this.view === "alpha",
      background: chosen("background"),
      colour: [1, 3, 5].map((at) => parseInt(value.slice(at, at + 2), 16)),
      cleanEdges: $("clean").checked,
    };
  }

  #changed(target) {
    const background = chosen("background");
    $("colour-row").hidden = background !== "colour";
    $("picture-row").hidden = background !== "picture";
    if (target === $("colour")) this.#paintSwatch();
    if (target.name === "background" && background === "picture" && !this.backdrop) $("backdrop").click();
    if (target.name !== "format") this.dispatchEvent(new Event("change"));
  }

  #takeBackdrop() {
    const [file] = $("backdrop").files;
    $("backdrop").value = "";
    if (!file) return;
    this.backdrop = { id: ++backdrops, file };
    $("backdrop-name").textContent = file.name;
    this.dispatchEvent(new Event("change"));
  }

  #paintSwatch() {
    $("colour-swatch").style.setProperty("--chosen", $("colour").value);
  }
}
