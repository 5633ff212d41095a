// Point cloud on a canvas: every point a small lit ball, with a depth of its own for each pixel. It needs no
// graphics card: a few thousand points take about a millisecond.

const LARGEST = 900; // pixels of a side that are drawn; a larger canvas is scaled
const SPEED = 0.6; // radians a second
const FAR = 3.4; // distance of the eye, in radii of the shape
const START = { yaw: -Math.PI / 2 + 0.3, pitch: 0.3, zoom: 1 }; // fronts face -y: what is left is -x

export class Cloud {
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.view = { ...START };
    this.turning = !matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.count = 0;
    this.byPart = false;
    this.pointers = new Map();
    this.seen = true;
    new ResizeObserver(() => this.fit()).observe(canvas);
    new IntersectionObserver((entries) => (this.seen = entries.at(-1).isIntersecting)).observe(canvas);
    this.listen();
    this.fit();
    requestAnimationFrame((now) => this.frame(now, now));
  }

  /** Shows points f32[P, 3] with parts i16[P] and colors u8[P, 3], which stand behind each other in a buffer. */
  show(buffer, count) {
    this.count = count;
    this.points = new Float32Array(buffer, 0, 3 * count);
    this.part = new Int16Array(buffer, 12 * count, count);
    this.own = new Uint8Array(buffer, 14 * count, 3 * count);
    this.inParts = new Uint8Array(3 * count);
    for (let i = 0; i < count; i++) this.inParts.set(partColor(this.part[i]), 3 * i);
    this.fit();
  }

  set(change) {
    Object.assign(this, change);
    this.dirty = true;
  }

  turn(yaw, pitch) {
    this.view.yaw += yaw;
    this.view.pitch = Math.max(-1.57, Math.min(1.57, this.view.pitch + pitch));
    this.dirty = true;
  }

  zoom(factor) {
    this.view.zoom = Math.max(0.4, Math.min(8, this.view.zoom * factor));
    this.dirty = true;
  }

  reset() {
    this.view = { ...START };
    this.dirty = true;
  }

  /** Fits the picture to the canvas's place on the page. */
  fit() {
    const scale = Math.min(devicePixelRatio || 1, 2);
    const box = this.canvas.getBoundingClientRect();
    const shrink = Math.min(1, LARGEST / (Math.max(box.width, box.height, 1) * scale));
    this.width = Math.max(1, Math.round(box.width * scale * shrink));
    this.height = Math.max(1, Math.round(box.height * scale * shrink));
    this.canvas.width = this.width;
    this.canvas.height = this.height;
    this.image = this.context.createImageData(this.width, this.height);
    this.pixels = new Uint32Array(this.image.data.buffer);
    this.depth = new Float32Array(this.width * this.height);
    this.dirty = true;
  }

  frame(now, before) {
    if (!this.canvas.isConnected) return; // it was taken from the page
    const turns = this.turning && this.pointers.size === 0;
    if (turns) this.view.yaw += (SPEED * Math.min(now - before, 100)) / 1000;
    if (this.dirty || (turns && this.seen)) {
      this.draw();
      this.dirty = false;
    }
    requestAnimationFrame((next) => this.frame(next, now));
  }

  draw() {
    const { width, height, pixels, depth, points } = this;
    pixels.fill(0); // transparent: the page's own ground
    depth.fill(-Infinity);
    const side = Math.min(width, height);
    const radius = Math.max(1.5, Math.min(9, (0.6 * side) / Math.sqrt(this.count || 1))) * Math.sqrt(this.view.zoom);
    const ball = ballOf(Math.min(radius, 14));
    const colors = this.byPart ? this.inParts : this.own;
    const [cy, sy] = [Math.cos(this.view.yaw), Math.sin(this.view.yaw)];
    const [cp, sp] = [Math.cos(this.view.pitch), Math.sin(this.view.pitch)];
    for (let i = 0; i < this.count; i++) {
      const [x, y, z] = [points[3 * i], points[3 * i + 1], points[3 * i + 2]];
      const right = cy * y - sy * x;
      const ahead = cy * x + sy * y;
      const near = cp * ahead + sp * z;
      const scale = (0.46 * side * this.view.zoom * FAR) / (FAR - near);
      if (scale <= 0) continue;
      const column = Math.round(width / 2 + right * scale);
      const line = Math.round(height / 2 - (cp * z - sp * ahead) * scale);
      const dim = 0.72 + 0.28 * Math.max(0, Math.min(1, (near + 1) / 2));
      const [r, g, b] = [colors[3 * i] * dim, colors[3 * i + 1] * dim, colors[3 * i + 2] * dim];
      for (let k = 0; k < ball.length; k += 4) {
        const u = column + ball[k], v = line + ball[k + 1];
        if (u < 0 || v < 0 || u >= width || v >= height) continue;
        const at = v * width + u;
        const here = near + ball[k + 2] * 0.5 / scale;
        if (here <= depth[at]) continue;
        depth[at] = here;
        const light = ball[k + 3];
        pixels[at] = 0xff000000 | ((b * light) << 16) | ((g * light) << 8) | (r * light);
      }
    }
    this.context.putImageData(this.image, 0, 0);
  }

  listen() {
    const { canvas, pointers } = this;
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      pointers.set(event.pointerId, [event.clientX, event.clientY]);
    });
    canvas.addEventListener("pointermove", (event) => {
      const last = pointers.get(event.pointerId);
      if (!last) return;
      const here = [event.clientX, event.clientY];
      const other = [...pointers].find(([id]) => id !== event.pointerId)?.[1];
      if (other) this.zoom(distance(here, other) / Math.max(1, distance(last, other)));
      else this.turn((last[0] - here[0]) * 0.01, (here[1] - last[1]) * 0.01);
      pointers.set(event.pointerId, here);
    });
    for (const end of ["pointerup", "pointercancel", "lostpointercapture"])
      canvas.addEventListener(end, (event) => pointers.delete(event.pointerId));
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0015)));
    }, { passive: false });
  }
}

/** Pixels of a ball: across, down, height, light; its rim is darker, so that white shows on white. */
function ballOf(radius) {
  const pixels = [], reach = Math.ceil(radius);
  for (let v = -reach; v <= reach; v++)
    for (let u = -reach; u <= reach; u++) {
      const away = (u * u + v * v) / (radius * radius);
      if (away > 1) continue;
      const up = Math.sqrt(1 - away);
      const lit = (0.35 * -u) / radius + (0.55 * -v) / radius + 0.76 * up; // from above and the left
      pixels.push(u, v, up * radius, 0.62 + 0.38 * Math.max(0, Math.min(1, lit)));
    }
  return pixels;
}

/** Color of a part by its number; gray of none. */
export function partColor(part) {
  if (part < 0) return [128, 128, 128];
  const hue = (part * 0.618034) % 1, light = part % 2 ? 0.8 : 1;
  const wave = (shift) => Math.round(light * 255 * (0.62 + 0.38 * Math.cos(2 * Math.PI * (hue - shift))));
  return [wave(0), wave(1 / 3), wave(2 / 3)];
}

function distance(one, other) {
  return Math.hypot(one[0] - other[0], one[1] - other[1]);
}
