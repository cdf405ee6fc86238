/** Pictures come in: chosen, dropped, pasted. */

import { $, notice } from "./dom.js";

/**
 * @param {(files: File[]) => void} use
 */
export function listen(use) {
  const take = (list) => {
    const files = [...list].filter((file) => file.size || file.type);
    if (files.length) use(files);
  };
  $("choose").addEventListener("click", () => $("files").click());
  $("files").addEventListener("change", () => {
    take($("files").files);
    $("files").value = ""; // the same picture may be chosen again
  });
  document.addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (files.length) {
      event.preventDefault();
      use(files.map(named));
    } else if (!event.target.closest?.("input, select")) {
      notice("The clipboard holds no picture. Copy a picture, not its address, and paste again.");
    }
  });
  listenToDrops(take);
}

/** Pictures from a clipboard are all called image.png. */
function named(file, place) {
  if (!/^image\.\w+$/.test(file.name)) return file;
  const stamp = new Date().toISOString().slice(0, 19).replace(/[T:]/g, "-");
  const name = `pasted-${stamp}${place ? `-${place + 1}` : ""}.${file.name.split(".").pop()}`;
  return new File([file], name, { type: file.type });
}

function listenToDrops(take) {
  const veil = $("drop-veil");
  let depth = 0; // enter and leave come for every element on the way
  const holdsFiles = (event) => event.dataTransfer?.types.includes("Files");
  const show = (change) => {
    depth = Math.max(0, change);
    veil.hidden = depth === 0;
  };
  document.addEventListener("dragenter", (event) => holdsFiles(event) && show(depth + 1));
  document.addEventListener("dragleave", (event) => holdsFiles(event) && show(depth - 1));
  document.addEventListener("dragover", (event) => {
    if (!holdsFiles(event)) return;
    event.preventDefault();
    event.dataTransfer.dropEffect = "copy";
  });
  document.addEventListener("drop", async (event) => {
    if (!holdsFiles(event)) return;
    event.preventDefault();
    show(0);
    take(await droppedFiles(event.dataTransfer));
  });
}

/** The files of a drop; those in folders too, where the browser can look into them. */
async function droppedFiles(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.some((entry) => entry.isDirectory)) return [...transfer.files];
  const found = [];
  const walk = async (entry) => {
    if (entry.isFile) {
      const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
      if (file.type.startsWith("image/")) found.push(file);
      return;
    }
    const reader = entry.createReader();
    for (;;) {
      const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
      if (!some.length) return;
      for (const inner of some) await walk(inner);
    }
  };
  for (const entry of entries) await walk(entry);
  return found;
}
