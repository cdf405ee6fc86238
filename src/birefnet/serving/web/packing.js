/** Alphas between uses: packed into blobs, which browsers keep outside the page's memory. */

/** @typedef {{blob: Blob, packed: boolean}} PackedAlpha */

/**
 * @param {Uint8Array} alpha
 * @returns {Promise<PackedAlpha>}
 */
export async function pack(alpha) {
  if (typeof CompressionStream === "undefined") return { blob: new Blob([alpha]), packed: false };
  return { blob: await through(alpha, new CompressionStream("deflate")), packed: true };
}

/**
 * @param {PackedAlpha} alpha
 * @returns {Promise<Uint8Array>}
 */
export async function unpack({ blob, packed }) {
  const stream = packed ? blob.stream().pipeThrough(new DecompressionStream("deflate")) : blob.stream();
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/**
 * @param {Uint8Array} bytes
 * @param {CompressionStream} stream
 * @returns {Promise<Blob>}
 */
export function through(bytes, stream) {
  return new Response(new Blob([bytes]).stream().pipeThrough(stream)).blob();
}
