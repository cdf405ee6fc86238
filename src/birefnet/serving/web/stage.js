/** The picture on screen: before and after side by side, zoomed and moved. One canvas, drawn when something changes. */

import { $, lessMotion } from "./dom.js";

const MOST_ZOOM = 32; // screen pixels a picture's pixel
const ROOM = 24; // around a picture that fits, in CSS pixels
const SQUARE = 9; // of the board behind what is transparent, in CSS pixels

/** @typedef {"compare" | "result" | "before"} Mode */

export class Stage {
  /** @type {ImageBitmap | null} */
  before = null;
  /** @type {ImageBitmap | null} */
  after = null;
  /** @type {Mode} */
  mode = "before";
  split = 0.5; // what share of the visible picture is before
  #scale = 1; // CSS pixels a picture's pixel
  #x = 0; // of the picture's left edge, in CSS pixels
  #y = 0;
  #fitted = true;
  #asked = false;
  #board = null;

  constructor() {
    this.element = $("stage");
    this.canvas = $("canvas");
    this.context = this.canvas.getContext("2d");
    new ResizeObserver(() => this.#resized()).observe(this.element);
  }

  /** Put another picture on; bitmaps that are replaced are closed. */
  put({ before, after, mode }) {
    const fresh = before !== undefined && before !== this.before;
    if (fresh) {
      this.before?.close();
      this.before = before;
    }
    if (after !== undefined && after !== this.after) {
      this.after?.close();
      this.after = after;
    }
    if (mode) this.mode = mode;
    if (fresh) this.fit();
    else this.draw();
  }

  /** Colours of the board come from the theme. */
  themeChanged() {
    this.#board = null;
    this.draw();
  }

  fit() {
    this.#fitted = true;
    if (!this.before) return this.draw();
    const { width, height } = this.#room();
    const fitting = Math.min((width - 2 * ROOM) / this.before.width, (height - 2 * ROOM) / this.before.height);
    this.#scale = Math.max(0.001, Math.min(fitting, 2));
    this.#x = (width - this.before.width * this.#scale) / 2;
    this.#y = (height - this.before.height * this.#scale) / 2;
    this.draw();
  }

  /** Zoom by a factor, around a point of the stage (its middle if none is given). */
  zoom(factor, x = this.#room().width / 2, y = this.#room().height / 2) {
    if (!this.before) return;
    const scale = Math.min(MOST_ZOOM, Math.max(this.#least(), this.#scale * factor));
    const ratio = scale / this.#scale;
    this.#x = x - (x - this.#x) * ratio;
    this.#y = y - (y - this.#y) * ratio;
    this.#scale = scale;
    this.#fitted = false;
    this.move(0, 0);
  }

  /** One screen pixel for each of the picture's. */
  actual() {
    this.zoom(1 / (window.devicePixelRatio * this.#scale));
  }

  move(dx, dy) {
    if (!this.before) return;
    const { width, height } = this.#room();
    const held = (place, length, room) => {
      const over = length - room;
      return over <= 0 ? (room - length) / 2 : Math.min(ROOM, Math.max(-over - ROOM, place));
    };
    this.#x = held(this.#x + dx, this.before.width * this.#scale, width);
    this.#y = held(this.#y + dy, this.before.height * this.#scale, height);
    this.draw();
  }

  /** The share of the visible picture that shows before, 0 to 1. */
  setSplit(share) {
    this.split = Math.min(1, Math.max(0, share));
    this.draw();
  }

  /** The share that a place on the stage means. @param {number} x in CSS pixels */
  shareAt(x) {
    const { left, width } = this.#visible();
    return width ? (x - left) / width : 0.5;
  }

  /** Uncover the result from left to right, once. */
  reveal() {
    if (lessMotion()) return this.setSplit(0.5);
    const started = performance.now();
    const step = (now) => {
      const t = Math.min(1, (now - started) / 650);
      this.setSplit(1 - 0.5 * (1 - (1 - t) ** 3));
      if (t < 1 && this.mode === "compare") requestAnimationFrame(step);
    };
    requestAnimationFrame(step);
  }

  get zoomed() {
    return !this.#fitted;
  }

  draw() {
    if (this.#asked) return;
    this.#asked = true;
    requestAnimationFrame(() => {
      this.#asked = false;
      this.#paint();
    });
  }

  #least() {
    const { width, height } = this.#room();
    return Math.min(1, width / this.before.width, height / this.before.height) * 0.5;
  }

  #room() {
    return { width: this.element.clientWidth, height: this.element.clientHeight };
  }

  #resized() {
    const ratio = window.devicePixelRatio || 1;
    this.canvas.width = Math.round(this.element.clientWidth * ratio);
    this.canvas.height = Math.round(this.element.clientHeight * ratio);
    if (this.#fitted) this.fit();
    else this.move(0, 0);
  }

  /** The part of the stage that the picture covers, in CSS pixels. */
  #visible() {
    if (!this.before) return { left: 0, width: 0, top: 0, height: 0 };
    const room = this.#room();
    const left = Math.max(0, this.#x);
    const top = Math.max(0, this.#y);
    const right = Math.min(room.width, this.#x + this.before.width * this.#scale);
    const bottom = Math.min(room.height, this.#y + this.before.height * this.#scale);
    return { left, width: Math.max(0, right - left), top, height: Math.max(0, bottom - top) };
  }

  #paint() {
    const { context, canvas } = this;
    const ratio = window.devicePixelRatio || 1;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, canvas.width, canvas.height);
    const { left, width } = this.#visible();
    const shown = this.before && this.after ? this.mode : "before";
    const edge = shown === "compare" ? left + width * this.split : shown === "result" ? -Infinity : Infinity;
    const far = canvas.width / ratio;
    if (this.before && edge > 0) this.#part(this.before, 0, Math.min(far, edge), false);
    if (this.after && edge < far) this.#part(this.after, Math.max(0, edge), far, true);
    this.#furnish(shown === "compare", edge);
  }

  #part(bitmap, from, to, transparent) {
    const { context } = this;
    const width = this.before.width * this.#scale;
    const height = this.before.height * this.#scale;
    context.save();
    context.beginPath();
    context.rect(from, 0, to - from, this.#room().height);
    context.clip();
    context.imageSmoothingEnabled = this.#scale * window.devicePixelRatio < 3; // close up, pixels are pixels
    context.imageSmoothingQuality = "high";
    if (transparent) {
      context.fillStyle = this.#board ??= this.#makeBoard();
      context.fillRect(this.#x, this.#y, width, height);
    }
    context.drawImage(bitmap, this.#x, this.#y, width, height);
    context.restore();
  }

  #makeBoard() {
    const style = getComputedStyle(document.documentElement);
    const tile = new OffscreenCanvas(2 * SQUARE, 2 * SQUARE);
    const paint = tile.getContext("2d");
    for (const [name, places] of [["--check-a", [[0, 0], [1, 1]]], ["--check-b", [[0, 1], [1, 0]]]]) {
      paint.fillStyle = style.getPropertyValue(name);
      for (const [x, y] of places) paint.fillRect(x * SQUARE, y * SQUARE, SQUARE, SQUARE);
    }
    return this.context.createPattern(tile, "repeat");
  }

  /** What lies over the canvas: the divider, the tags, the zoom's figure. */
  #furnish(comparing, edge) {
    const divider = $("divider");
    for (const id of ["divider", "tag-before", "tag-after"]) $(id).hidden = !comparing;
    if (comparing) {
      const share = Math.round(this.split * 100);
      const { left, width, top, height } = this.#visible();
      divider.style.transform = `translate(${edge}px, ${top}px)`;
      divider.style.height = `${height}px`;
      $("tag-before").style.transform = `translate(${left}px, ${top + height}px)`;
      $("tag-after").style.transform = `translate(${left + width}px, ${top + height}px)`;
      divider.setAttribute("aria-valuenow", String(share));
      divider.setAttribute("aria-valuetext", `${share} percent before, ${100 - share} percent after`);
    }
    this.element.classList.toggle("zoomed", this.zoomed);
    $("zoom-value").textContent = `${Math.round(this.#scale * window.devicePixelRatio * 100)} %`;
  }
}
