// Small still pictures of shapes: each is drawn once, and copied to wherever it is shown.

import { Cloud } from "./cloud.js";
import { element } from "./elements.js";
import { shapesOf, showShape } from "./shapes.js";

const SIDE = 160; // pixels
const MOST = 512; // pictures that are kept

/** Pictures of rows of the library: load(rows), then picture(row) is a canvas. */
export function thumbnails() {
  const board = element("canvas", { class: "thumbnail-board", "aria-hidden": "true" }), kept = new Map();
  document.body.append(board); // a panel that is hidden gives it no size
  const cloud = new Cloud(board);
  cloud.set({ turning: false });
  return {
    async load(rows, signal) {
      const missing = [...new Set(rows)].filter((row) => !kept.has(row));
      if (!missing.length) return;
      const shapes = await shapesOf(missing, 1024, signal);
      board.getBoundingClientRect();
      cloud.fit();
      missing.forEach((row, place) => {
        showShape(cloud, shapes[place]);
        cloud.draw();
        const picture = element("canvas", { width: board.width, height: board.height });
        picture.getContext("2d").drawImage(board, 0, 0);
        kept.set(row, picture);
      });
      for (const row of [...kept.keys()].slice(0, Math.max(0, kept.size - MOST))) kept.delete(row);
    },
    /** A canvas of one's own with the picture of a row; empty where it is not loaded. */
    picture(row) {
      const source = kept.get(row), canvas = element("canvas", { width: source?.width ?? SIDE, height: source?.height ?? SIDE, "aria-hidden": "true" });
      if (source) canvas.getContext("2d").drawImage(source, 0, 0);
      return canvas;
    },
  };
}
