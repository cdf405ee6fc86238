/** A server that computes for weak devices, where this page comes from one. Pictures go there only on request. */

import { PageError } from "./errors.js";

/** @typedef {{models: {name: string}[], preferred: string}} Server */

/**
 * @returns {Promise<Server | null>} what the server at this page's own address can compute; null if there is none
 */
export async function findServer() {
  try {
    const response = await fetch(new URL("v1/models", import.meta.url), { headers: { Accept: "application/json" } });
    if (!response.ok) return null;
    const { models } = await response.json();
    if (!Array.isArray(models) || !models.length) return null;
    return { models, preferred: (models.find((model) => model.default) ?? models[0]).name };
  } catch {
    return null;
  }
}

/**
 * Let the server find the alpha.
 *
 * @param {Blob} file
 * @param {string} model
 * @param {AbortSignal} signal
 * @returns {Promise<Blob>} the mask, a grey PNG of the picture's size
 */
export async function removeOnServer(file, model, signal) {
  const url = new URL("v1/remove", import.meta.url);
  url.search = new URLSearchParams({ model, output: "mask", format: "png" });
  const body = new FormData();
  body.append("image", file, file.name ?? "picture");
  let response;
  try {
    response = await fetch(url, { method: "POST", body, signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new PageError("server", "The server cannot be reached. Try again, or compute on this device.");
  }
  if (response.ok) return response.blob();
  if (response.status === 429) throw new PageError("server", "The server is busy. Try again in a moment.");
  throw new PageError("server", `The server answers ${response.status}: ${await reason(response)}`);
}

async function reason(response) {
  const text = await response.text().catch(() => "");
  try {
    const answer = JSON.parse(text);
    const words = answer.message ?? answer.detail ?? answer.error?.message ?? answer.error;
    return typeof words === "string" ? words : response.statusText;
  } catch {
    return response.statusText || "no reason given";
  }
}
