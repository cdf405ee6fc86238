/** Runs one job with `@huggingface/transformers` in Node: `node transformers-node.mjs JOB.json`; see the test. */

import { readFile, writeFile } from 'node:fs/promises';
import * as library from '@huggingface/transformers';
import { run } from './transformers-run.mjs';

const job = JSON.parse(await readFile(process.argv[2], 'utf8'));
library.env.allowRemoteModels = false;
const own = job.own ? new Float32Array((await readFile(job.own)).buffer) : undefined;
const found = await run(library, job.model, job.picture, { dtype: job.dtype, own });
for (const [name, value] of Object.entries(found)) {
  if (ArrayBuffer.isView(value)) {
    await writeFile(`${job.out}/${name}.bin`, new Uint8Array(value.buffer, value.byteOffset, value.byteLength));
  }
}
