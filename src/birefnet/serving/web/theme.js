/** Light or dark: as the system has it, until someone chooses. */

import { $ } from "./dom.js";

const KEY = "birefnet-theme";

/** @param {() => void} changed called after each change */
export function follow(changed) {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const apply = () => {
    const dark = (kept() ?? (system.matches ? "dark" : "light")) === "dark";
    document.documentElement.dataset.theme = dark ? "dark" : "light";
    $("theme").setAttribute("aria-pressed", String(dark));
    changed();
  };
  system.addEventListener("change", apply);
  $("theme").addEventListener("click", () => {
    const next = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
    try {
      localStorage.setItem(KEY, next);
    } catch {
      // a private window forgets; the page still changes
    }
    document.documentElement.dataset.chosen = next;
    apply();
  });
  apply();
}

function kept() {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return document.documentElement.dataset.chosen ?? null;
  }
}
