/** A drawing to try the page with, made here: a balloon before evening hills. No file, nobody's picture. */

const WIDTH = 960;
const HEIGHT = 720;

/** @returns {Promise<File>} */
export async function drawSample() {
  const canvas = new OffscreenCanvas(WIDTH, HEIGHT);
  const paint = canvas.getContext("2d");
  drawScene(paint);
  drawBalloon(paint, 480, 290, 190);
  const blob = await canvas.convertToBlob({ type: "image/png" });
  return new File([blob], "balloon.png", { type: "image/png" });
}

function gradient(paint, x0, y0, x1, y1, ...stops) {
  const made = paint.createLinearGradient(x0, y0, x1, y1);
  stops.forEach((colour, i) => made.addColorStop(i / (stops.length - 1), colour));
  return made;
}

function drawScene(paint) {
  paint.fillStyle = gradient(paint, 0, 0, 0, HEIGHT, "#8fb7d9", "#f3d9bd", "#f0b48c");
  paint.fillRect(0, 0, WIDTH, HEIGHT);
  const hills = [["#b98f95", 560, 40, 0.006], ["#8a6a80", 610, 34, 0.009], ["#564a63", 660, 26, 0.012]];
  for (const [colour, level, swing, pace] of hills) {
    paint.fillStyle = colour;
    paint.beginPath();
    paint.moveTo(0, HEIGHT);
    for (let x = 0; x <= WIDTH; x += 8) paint.lineTo(x, level + swing * Math.sin(x * pace + level));
    paint.lineTo(WIDTH, HEIGHT);
    paint.fill();
  }
}

function drawBalloon(paint, x, y, radius) {
  const outline = new Path2D();
  outline.moveTo(x - 34, y + radius * 1.32);
  outline.bezierCurveTo(x - radius * 0.6, y + radius * 0.9, x - radius, y + radius * 0.5, x - radius, y);
  outline.arc(x, y, radius, Math.PI, 0);
  outline.bezierCurveTo(x + radius, y + radius * 0.5, x + radius * 0.6, y + radius * 0.9, x + 34, y + radius * 1.32);
  outline.closePath();
  paint.save();
  paint.clip(outline);
  const stripes = ["#c8402f", "#e9b44c", "#c8402f", "#f1e3c6", "#c8402f", "#e9b44c", "#c8402f"];
  stripes.forEach((colour, i) => {
    const share = (at) => x - radius * Math.cos((Math.PI * at) / stripes.length);
    paint.fillStyle = colour;
    paint.fillRect(share(i), y - radius, share(i + 1) - share(i) + 1, radius * 2.4);
  });
  const light = paint.createRadialGradient(x - 70, y - 80, 20, x, y, radius * 1.5);
  light.addColorStop(0, "rgba(255, 255, 255, 0.4)");
  light.addColorStop(0.5, "rgba(255, 255, 255, 0)");
  light.addColorStop(1, "rgba(60, 10, 30, 0.5)");
  paint.fillStyle = light;
  paint.fillRect(x - radius, y - radius, radius * 2, radius * 2.5);
  paint.restore();
  drawBasket(paint, x, y + radius * 1.32);
}

function drawBasket(paint, x, y) {
  paint.strokeStyle = "#4a3426";
  paint.lineWidth = 3;
  for (const side of [-1, 1]) {
    paint.beginPath();
    paint.moveTo(x + side * 33, y);
    paint.lineTo(x + side * 26, y + 62);
    paint.stroke();
  }
  paint.fillStyle = gradient(paint, 0, y + 60, 0, y + 112, "#9a6a3c", "#6d4525");
  paint.beginPath();
  paint.roundRect(x - 30, y + 60, 60, 50, 9);
  paint.fill();
}
