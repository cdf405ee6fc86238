/** The page: puts its parts together and keeps the stage showing what is chosen. */

import { Channel } from "./channel.js";
import { $, announce, count, notice, size } from "./dom.js";
import { Engine } from "./engine.js";
import * as intake from "./intake.js";
import { isolate } from "./isolation.js";
import { Items } from "./items.js";
import { ModelDialog, firstChoice } from "./model-dialog.js";
import { isKept, listModels } from "./models.js";
import { Panel } from "./panel.js";
import { drawSample } from "./sample.js";
import { Saving } from "./saving.js";
import { Screen } from "./screen.js";
import { findServer } from "./server.js";
import { Stage } from "./stage.js";
import * as stageInput from "./stage-input.js";
import { Strip } from "./strip.js";
import * as theme from "./theme.js";

const studio = new Channel("./studio-worker.js");
const engine = new Engine(studio);
const items = new Items(engine);
const stage = new Stage();
const panel = new Panel();
const saving = new Saving(items, panel, studio);
new Strip(items, studio);
const screen = new Screen({ items, stage, panel, studio, saving, engine });

theme.follow(() => stage.themeChanged());
stageInput.listen(stage);
engine.addEventListener("notice", ({ detail }) => notice(detail));
engine.addEventListener("state", () => showEngine());

isolate(() => items.all.length === 0);
const started = start().catch((error) => {
  notice(error.message, { bad: true });
  throw error;
});

intake.listen(async (files) => {
  await started; // pictures can come before the models are known
  items.add(files);
  announce(`${count(files.length, "picture")} added.`);
});
$("sample").addEventListener("click", async () => {
  await started;
  items.add([await drawSample()]);
});
$("clear").addEventListener("click", () => {
  items.clear();
  studio.call("forget");
  $("choose").focus();
});
$("cancel-all").addEventListener("click", () => items.cancel());
$("cancel-one").addEventListener("click", () => items.cancel());
$("retry").addEventListener("click", () => items.again([items.current]));
$("other-model").addEventListener("click", () => $("open-models").click());

async function start() {
  const [{ models, preferred }, server] = await Promise.all([listModels(), findServer()]);
  engine.choose(firstChoice(models, preferred, location.search));
  const dialog = new ModelDialog(models, engine.choice, server);
  dialog.addEventListener("choice", ({ detail }) => choose(detail));
  await showFirstUse();
  document.body.dataset.ready = "";
  // A model that is here already is made ready before the first picture comes.
  if (await isKept(engine.choice.model, engine.choice.variant)) engine.ready().catch(() => {});
}

/** Another model: load it now, and cut the pictures out again with it. */
function choose(choice) {
  engine.choose(choice);
  showPrivacy(choice.place);
  showFirstUse();
  const finished = items.all.filter(({ status }) => status === "done" || status === "failed");
  if (finished.length) items.again(finished);
  else engine.ready().catch((error) => error.name !== "AbortError" && notice(error.message, { bad: true }));
}

function showPrivacy(place) {
  const sent = place === "server";
  $("privacy").classList.toggle("sent", sent);
  $("privacy-text").textContent = sent ? `Pictures are sent to ${location.host}` : "Pictures never leave this machine";
  $("privacy").querySelector("use").setAttribute("href", sent ? "#i-server" : "#i-shield");
  if (sent) notice(`Pictures are now sent to ${location.host} and computed there.`);
}

async function showFirstUse() {
  const { model, variant, place } = engine.choice;
  const kept = place === "server" || (await isKept(model, variant));
  $("first-use").textContent = kept
    ? ""
    : `The first picture downloads the model ${model.name} (${size(variant.bytes)}); then it is kept in this browser.`;
}

function showEngine() {
  const { choice, state } = engine;
  if (!choice) return;
  const where = { wasm: count(state.threads ?? 1, "thread"), webgpu: "WebGPU", server: "server" }[state.backend];
  const name = state.backend === "server" ? choice.serverModel : choice.model.name;
  const share = state.total ? ` ${Math.round((100 * state.received) / state.total)} %` : "";
  const words = { fetching: `${name}:${share}`, preparing: `${name}: starting`, ready: `${name} · ${where}` };
  $("engine-label").textContent = words[state.phase] ?? name;
  document.body.dataset.engine = state.phase;
  document.body.dataset.backend = state.backend ?? "";
  screen.showBusy();
}
