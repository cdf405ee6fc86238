/** Which parts of a picture lie near the subject's edge: the same choice as `birefnet.pixels.foreground_tiles`. */

const CELL = 32; // pixels; what is decided to be near an edge or not
const LARGEST = 32 * CELL; // side of a tile
const HALO_COST = 0.4; // of a pixel that is only looked at, where one whose colour is estimated costs 1

/** @typedef {{top: number, bottom: number, left: number, right: number}} Tile half-open rows and columns */

/**
 * @param {Uint8Array} alpha (H, W) in 0..255
 * @param {{width: number, height: number}} size
 * @param {number} halo how many rows and columns more than its own the work on a tile looks at
 * @returns {{empty: Tile[], edges: Tile[]}} where nothing of the subject is left, and where an edge is near; no two
 *   overlap, and what is in none of them is all subject
 */
export function tiles(alpha, size, halo) {
  const rows = Math.ceil(size.height / CELL);
  const columns = Math.ceil(size.width / CELL);
  const { solid, empty } = cells(alpha, size, rows, columns);
  const wanted = solid.map((value, i) => (value || empty[i] ? 0 : 1));
  const whole = { top: 0, bottom: rows, left: 0, right: columns };
  const edges = cover({ wanted, columns }, whole, halo / CELL);
  for (const tile of edges) {
    for (let y = tile.top; y < tile.bottom; y++) empty.fill(0, y * columns + tile.left, y * columns + tile.right);
  }
  const toPixels = (tile) => ({
    top: tile.top * CELL,
    bottom: Math.min(size.height, tile.bottom * CELL),
    left: tile.left * CELL,
    right: Math.min(size.width, tile.right * CELL),
  });
  return { empty: runs(empty, rows, columns).map(toPixels), edges: edges.map(toPixels) };
}

/** Per cell: whether its alpha is 255 everywhere; whether it is 0 there and in the cells around it. */
function cells(alpha, { width, height }, rows, columns) {
  const low = new Uint8Array(rows * columns).fill(255);
  const high = new Uint8Array(rows * columns);
  for (let y = 0; y < height; y++) {
    const base = Math.floor(y / CELL) * columns;
    for (let x = 0; x < width; x++) {
      const value = alpha[y * width + x];
      const cell = base + Math.floor(x / CELL);
      if (value < low[cell]) low[cell] = value;
      if (value > high[cell]) high[cell] = value;
    }
  }
  const empty = high.map((_, cell) => {
    const y = Math.floor(cell / columns);
    const x = cell % columns;
    for (let v = Math.max(0, y - 1); v <= Math.min(rows - 1, y + 1); v++) {
      for (let u = Math.max(0, x - 1); u <= Math.min(columns - 1, x + 1); u++) if (high[v * columns + u]) return 0;
    }
    return 1;
  });
  return { solid: low.map((value) => (value === 255 ? 1 : 0)), empty };
}

/** Tiles, in cells, that hold every wanted cell of a part: halved as long as that saves work. */
function cover(map, part, halo) {
  const found = bounds(map, part);
  if (!found) return [];
  const { box, count } = found;
  const height = box.bottom - box.top;
  const width = box.right - box.left;
  const large = Math.max(height, width) * CELL > LARGEST;
  const full = count > 0.7 * height * width;
  if (!large && (full || Math.max(height, width) === 1)) return [box];
  const halves = halved(box, height, width);
  const smaller = halves.flatMap((half) => cover(map, half, halo));
  const cost = smaller.reduce((sum, tile) => sum + work(tile, halo), 0);
  return large || cost < work(box, halo) ? smaller : [box];
}

function halved(box, height, width) {
  if (height >= width) {
    const middle = box.top + Math.floor(height / 2);
    return [{ ...box, bottom: middle }, { ...box, top: middle }];
  }
  const middle = box.left + Math.floor(width / 2);
  return [{ ...box, right: middle }, { ...box, left: middle }];
}

/** The smallest box around a part's wanted cells, and how many these are; null if there is none. */
function bounds({ wanted, columns }, part) {
  const box = { top: Infinity, bottom: 0, left: Infinity, right: 0 };
  let count = 0;
  for (let y = part.top; y < part.bottom; y++) {
    for (let x = part.left; x < part.right; x++) {
      if (!wanted[y * columns + x]) continue;
      count++;
      box.top = Math.min(box.top, y);
      box.bottom = Math.max(box.bottom, y + 1);
      box.left = Math.min(box.left, x);
      box.right = Math.max(box.right, x + 1);
    }
  }
  return count ? { box, count } : null;
}

/** About how long a tile takes. */
function work({ top, bottom, left, right }, halo) {
  const height = bottom - top;
  const width = right - left;
  return HALO_COST * (height + halo) * (width + halo) + (1 - HALO_COST) * height * width;
}

/** The wanted cells, as runs along the rows. */
function runs(wanted, rows, columns) {
  const found = [];
  for (let y = 0; y < rows; y++) {
    for (let x = 0; x < columns; x++) {
      if (!wanted[y * columns + x]) continue;
      const left = x;
      while (x < columns && wanted[y * columns + x]) x++;
      found.push({ top: y, bottom: y + 1, left, right: x });
    }
  }
  return found;
}
