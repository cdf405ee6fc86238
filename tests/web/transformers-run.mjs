/**
 * What a user of `@huggingface/transformers` writes, as its documentation and its model cards have it; the same in
 * Node and in a page.
 */

/**
 * @param {object} library the module `@huggingface/transformers`
 * @param {string} name the model's folder, as the library takes it
 * @param {string} picture the picture's path or address
 * @param {{dtype?: string, own?: Float32Array}} asked which weights, if not the folder's own choice; and a tensor that
 *   was prepared by our rules, of the network's input shape
 * @returns {Promise<Record<string, Float32Array|Uint8Array|Uint8ClampedArray|number>>} `pixels` (3, h, w) as the
 *   processor made them, `logits` (h, w) of them, `mask` (H, W) and `cutout` (H, W, 4) of the picture's size, and
 *   `own` (h, w), the logits of the tensor that was given
 */
export async function run(library, name, picture, { dtype, own } = {}) {
  const { AutoModel, AutoProcessor, RawImage, Tensor, pipeline } = library;
  const options = dtype ? { dtype } : {};

  const model = await AutoModel.from_pretrained(name, options);
  const processor = await AutoProcessor.from_pretrained(name);
  const image = await RawImage.read(picture);
  const { pixel_values } = await processor(image);
  const { logits } = await model({ input_image: pixel_values });
  const pixels = Float32Array.from(pixel_values.data);
  const answer = Float32Array.from(logits.data);
  const alpha = logits[0].sigmoid().mul(255).to('uint8');
  const mask = await RawImage.fromTensor(alpha).resize(image.width, image.height);

  const segmenter = await pipeline('background-removal', name, options);
  const cutout = await segmenter(picture);

  const found = { pixels, logits: answer, mask: mask.data, cutout: cutout.data, channels: cutout.channels };
  if (own) {
    const batch = new Tensor('float32', own, pixel_values.dims);
    found.own = Float32Array.from((await model({ input_image: batch })).logits.data);
  }
  await model.dispose();
  await segmenter.dispose();
  return found;
}
