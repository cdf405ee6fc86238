// Runs functions of the page's modules on arrays from files: `node call.mjs JOB.json`. See tests/web/node.py.
import { readFileSync, writeFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const KINDS = { uint8: Uint8Array, float32: Float32Array, int32: Int32Array };
const job = JSON.parse(readFileSync(process.argv[2], "utf8"));

const read = (value) => {
  if (!value?.array) return value;
  const bytes = readFileSync(value.array);
  const copy = new Uint8Array(bytes).buffer;
  return new KINDS[value.kind](copy);
};

const write = (value, place) => {
  if (ArrayBuffer.isView(value)) {
    writeFileSync(place, value);
    const kind = value instanceof Float32Array ? "float32" : value instanceof Float64Array ? "float64" : "uint8";
    return { array: place, kind };
  }
  if (Array.isArray(value)) return value.map((part, i) => write(part, `${place}-${i}`));
  if (value && typeof value === "object") {
    return Object.fromEntries(Object.entries(value).map(([key, part]) => [key, write(part, `${place}-${key}`)]));
  }
  return value ?? null;
};

const module = await import(pathToFileURL(job.module));
const args = job.args.map((value) =>
  value && typeof value === "object" && !Array.isArray(value) && !value.array
    ? Object.fromEntries(Object.entries(value).map(([key, part]) => [key, read(part)]))
    : read(value),
);
const result = await module[job.function](...args);
const inPlace = job.returns_argument === undefined ? result : args[job.returns_argument];
writeFileSync(job.result, JSON.stringify({ result: write(inPlace, `${job.result}.out`) ?? null }));
