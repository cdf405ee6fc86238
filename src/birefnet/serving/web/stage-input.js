/** Pointer, wheel and keys of the stage: divider, zoom and moving. */

import { $ } from "./dom.js";

const STEP = 1.25; // of one zoom by key or button
const NUDGE = 48; // CSS pixels of one move by key

/** @param {import("./stage.js").Stage} stage */
export function listen(stage) {
  listenToDivider(stage);
  listenToPointers(stage);
  listenToKeys(stage);
  $("zoom-in").addEventListener("click", () => stage.zoom(STEP));
  $("zoom-out").addEventListener("click", () => stage.zoom(1 / STEP));
  $("zoom-fit").addEventListener("click", () => stage.fit());
}

function listenToDivider(stage) {
  const divider = $("divider");
  const follow = (event) => stage.setSplit(stage.shareAt(event.clientX - stage.element.getBoundingClientRect().left));
  divider.addEventListener("pointerdown", (event) => {
    event.stopPropagation();
    divider.setPointerCapture(event.pointerId);
  });
  divider.addEventListener("pointermove", (event) => {
    if (divider.hasPointerCapture(event.pointerId)) follow(event);
  });
  const moves = {
    ArrowLeft: (share) => share - 0.02,
    ArrowDown: (share) => share - 0.02,
    ArrowRight: (share) => share + 0.02,
    ArrowUp: (share) => share + 0.02,
    PageDown: (share) => share - 0.1,
    PageUp: (share) => share + 0.1,
    Home: () => 0,
    End: () => 1,
  };
  divider.addEventListener("keydown", (event) => {
    const move = moves[event.key];
    if (!move) return;
    stage.setSplit(move(stage.split));
    event.preventDefault();
    event.stopPropagation();
  });
}

/** One finger or the mouse moves; two fingers zoom. */
function listenToPointers(stage) {
  const { element } = stage;
  const pointers = new Map();
  element.addEventListener("pointerdown", (event) => {
    if (event.target.closest("button, .trouble, .divider") || event.button > 0) return;
    pointers.set(event.pointerId, event);
    if (stage.zoomed || event.pointerType === "mouse") element.setPointerCapture(event.pointerId);
  });
  element.addEventListener("pointermove", (event) => {
    const old = pointers.get(event.pointerId);
    if (!old) return;
    const others = [...pointers.values()].filter((pointer) => pointer !== old);
    if (others.length) pinch(stage, old, event, others[0]);
    else if (stage.zoomed) stage.move(event.clientX - old.clientX, event.clientY - old.clientY);
    pointers.set(event.pointerId, event);
    element.classList.toggle("moving", stage.zoomed);
  });
  const end = (event) => {
    pointers.delete(event.pointerId);
    element.classList.remove("moving");
  };
  for (const name of ["pointerup", "pointercancel", "lostpointercapture"]) element.addEventListener(name, end);
  element.addEventListener("wheel", (event) => {
    event.preventDefault();
    const box = element.getBoundingClientRect();
    const lines = event.deltaMode === 1 ? 30 : 1;
    stage.zoom(Math.exp(-event.deltaY * lines * 0.0018), event.clientX - box.left, event.clientY - box.top);
  }, { passive: false });
  element.addEventListener("dblclick", (event) => {
    if (event.target.closest("button, .divider, .trouble")) return;
    if (stage.zoomed) stage.fit();
    else stage.actual();
  });
}

function pinch(stage, old, now, other) {
  const distance = (a) => Math.hypot(a.clientX - other.clientX, a.clientY - other.clientY);
  const box = stage.element.getBoundingClientRect();
  const middle = [(now.clientX + other.clientX) / 2 - box.left, (now.clientY + other.clientY) / 2 - box.top];
  stage.zoom(distance(now) / Math.max(1, distance(old)), ...middle);
  stage.move((now.clientX - old.clientX) / 2, (now.clientY - old.clientY) / 2);
}

function listenToKeys(stage) {
  const keys = {
    "+": () => stage.zoom(STEP),
    "=": () => stage.zoom(STEP),
    "-": () => stage.zoom(1 / STEP),
    0: () => stage.fit(),
    1: () => stage.actual(),
    ArrowLeft: () => stage.move(NUDGE, 0),
    ArrowRight: () => stage.move(-NUDGE, 0),
    ArrowUp: () => stage.move(0, NUDGE),
    ArrowDown: () => stage.move(0, -NUDGE),
  };
  stage.element.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("button")) return;
    const act = keys[event.key];
    if (!act || (event.key.startsWith("Arrow") && !stage.zoomed)) return;
    act();
    event.preventDefault();
  });
}
