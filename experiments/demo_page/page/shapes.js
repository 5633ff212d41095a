// Shapes as clouds of points: read from the server, and drawn on canvases that turn.

import { bytes } from "./api.js";
import { Cloud } from "./cloud.js";
import { element } from "./elements.js";

const BYTES = 9; // of a point: three coordinates of two bytes, three colors
const LARGEST = 32767;
const MOST = 64; // shapes in a request

/** A shape {count, points f32[P, 3], colors u8[P, 3]} from bytes as experiments/demo_page/clouds.py packs them. */
export function unpacked(buffer, start, count) {
  const places = new Int16Array(buffer.slice(start, start + 6 * count));
  return {
    count,
    points: Float32Array.from(places, (value) => value / LARGEST),
    colors: new Uint8Array(buffer.slice(start + 6 * count, start + BYTES * count)),
  };
}

/** Bytes of base64. */
export const decoded = (text) => Uint8Array.from(atob(text), (one) => one.charCodeAt(0));

/** A shape from base64 of the same bytes. */
export function fromBase64(text) {
  const found = decoded(text);
  return unpacked(found.buffer, 0, found.length / BYTES);
}

/** Shapes of rows of the library, in their order, of at most so many points each. */
export async function shapesOf(rows, points = 1024, signal) {
  const found = [];
  for (let start = 0; start < rows.length; start += MOST) {
    const some = rows.slice(start, start + MOST);
    const buffer = await bytes(`api/clouds?rows=${some.join(",")}&points=${points}`, signal);
    const count = buffer.byteLength / some.length / BYTES;
    some.forEach((_, place) => found.push(unpacked(buffer, place * BYTES * count, count)));
  }
  return found;
}

/** Shows a shape on a Cloud, in colors u8[P, 3] of one's choice or its own. */
export function showShape(cloud, shape, colors = shape.colors) {
  const buffer = new ArrayBuffer(17 * shape.count);
  new Float32Array(buffer, 0, 3 * shape.count).set(shape.points);
  new Uint8Array(buffer, 14 * shape.count).set(colors);
  cloud.show(buffer, shape.count);
}

/** A Cloud on a canvas that can be turned by pointer and keys; the canvas has to stand on the page already. */
export function turnable(canvas, words) {
  canvas.tabIndex = 0;
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", `${words}. Arrow keys turn it, plus and minus zoom, space pauses.`);
  const cloud = new Cloud(canvas);
  const steps = { ArrowLeft: [-0.1, 0], ArrowRight: [0.1, 0], ArrowUp: [0, 0.1], ArrowDown: [0, -0.1] };
  canvas.addEventListener("keydown", (event) => {
    if (steps[event.key]) cloud.turn(...steps[event.key]);
    else if (event.key === "+" || event.key === "-") cloud.zoom(event.key === "+" ? 1.15 : 1 / 1.15);
    else if (event.key === " ") cloud.set({ turning: !cloud.turning });
    else if (event.key === "0") cloud.reset();
    else return;
    event.preventDefault();
  });
  return cloud;
}

/**
 * Fills a list with shapes that turn; a click on one calls open(answer, place).
 * @param list An <ol>, which is emptied.
 * @param answers Objects with row, caption, and what else lines() reads.
 * @param lines Texts below a shape, the first one in bold.
 */
export async function gallery(list, answers, lines, open, signal) {
  list.classList.add("gallery");
  const canvases = answers.map((answer, place) => {
    const canvas = element("canvas", { "aria-hidden": "true" });
    const texts = lines(answer).map((line, number) => element("span", { class: number ? "soft" : "strong" }, line));
    const button = element("button", { type: "button", class: "card" }, canvas, ...texts);
    button.addEventListener("click", () => open(answer, place));
    return [element("li", {}, button), canvas];
  });
  list.replaceChildren(...canvases.map(([item]) => item));
  const shapes = await shapesOf(answers.map((answer) => answer.row), 1024, signal);
  canvases.forEach(([, canvas], place) => canvas.isConnected && showShape(new Cloud(canvas), shapes[place]));
}
