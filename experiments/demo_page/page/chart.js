// Line charts as SVG, in the page's colors: lines, steps and dots over a common axis.

const NS = "http://www.w3.org/2000/svg";
const LEAST = 1e-3; // of the vertical axis: what varies less counts as level
const WIDTH = 460, HEIGHT = 210, LEFT = 52, RIGHT = 12, TOP = 10, BOTTOM = 34;

/** An SVG element with attributes and children. */
export function svg(name, attributes = {}, ...children) {
  const found = document.createElementNS(NS, name);
  for (const [key, value] of Object.entries(attributes)) if (value !== null && value !== undefined) found.setAttribute(key, value);
  found.append(...children);
  return found;
}

/** A number with its sign, such as +0.0132; a true minus. */
export function signed(value, digits = 4) {
  const text = value.toFixed(digits);
  return Number(text) === 0 ? "0" : (value > 0 ? `+${text}` : text.replace("-", "−")).replace(/(\.\d*?)0+$/, "$1").replace(/\.$/, "");
}

/** At most so many round numbers from low to high. */
export function ticks(low, high, most = 5) {
  if (!(high > low)) return [low];
  const raw = (high - low) / most, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((one) => one >= raw * 0.999);
  const found = [];
  for (let place = Math.ceil(low / step - 1e-9); place * step <= high + step * 1e-9; place++) found.push(place * step);
  return found;
}

/**
 * A chart with its title and legend.
 * @param title Above it.
 * @param across Name of the horizontal axis, which has whole numbers.
 * @param series Objects {name, points: [[x, y]], kind: "line" | "step" | "dots"}, each in a color of its own.
 * @param at A place on the horizontal axis that is marked; null for none.
 */
export function chart(title, across, series, at = null) {
  const every = series.flatMap((one) => one.points);
  const xs = every.map(([x]) => x), ys = every.map(([, y]) => y);
  const right = Math.max(1, ...xs);
  let low = Math.min(0, ...ys), high = Math.max(0, ...ys);
  const flat = Math.max(0, (LEAST - (high - low)) / 2);
  [low, high] = [low - flat, high + flat];
  const room = 0.06 * (high - low);
  [low, high] = [low - room, high + room];
  const x = (value) => LEFT + (value / right) * (WIDTH - LEFT - RIGHT);
  const y = (value) => TOP + ((high - value) / (high - low)) * (HEIGHT - TOP - BOTTOM);
  const picture = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", class: "chart", "aria-label": spoken(title, series) });
  const lines = ticks(low, high), digits = Math.max(0, Math.min(6, -Math.floor(Math.log10((lines[1] ?? 1) - lines[0] || 1))));
  for (const value of lines) {
    picture.append(svg("line", { class: Math.abs(value) < 1e-9 ? "zero" : "grid", x1: LEFT, x2: WIDTH - RIGHT, y1: y(value), y2: y(value) }));
    picture.append(svg("text", { x: LEFT - 6, y: y(value) + 4, "text-anchor": "end" }, signed(value, digits)));
  }
  for (const value of ticks(0, right, 6).filter((one) => Number.isInteger(Math.round(one * 1e6) / 1e6)))
    picture.append(svg("text", { x: x(value), y: HEIGHT - BOTTOM + 15, "text-anchor": "middle" }, String(Math.round(value))));
  picture.append(svg("text", { x: (LEFT + WIDTH - RIGHT) / 2, y: HEIGHT - 4, "text-anchor": "middle", class: "axis" }, across));
  if (at !== null) picture.append(svg("line", { class: "at", x1: x(at), x2: x(at), y1: TOP, y2: HEIGHT - BOTTOM }));
  series.forEach(({ points, kind }, place) => {
    const style = `series series-${place % 5}`;
    if (kind === "dots") for (const [across, up] of points) picture.append(svg("circle", { class: `${style} dot`, cx: x(across), cy: y(up), r: 2.6 }));
    else if (points.length) picture.append(svg("path", { class: style, d: path(points, x, y, kind === "step") }));
    if (kind === "line" && points.length < 12) for (const [across, up] of points) picture.append(svg("circle", { class: `${style} dot`, cx: x(across), cy: y(up), r: 3 }));
  });
  const figure = document.createElement("figure"), caption = document.createElement("figcaption");
  caption.textContent = title;
  const legend = document.createElement("ul");
  legend.className = "legend";
  series.forEach(({ name, kind, points }, place) => {
    const entry = document.createElement("li"), key = svg("svg", { viewBox: "0 0 24 10", class: "key", "aria-hidden": "true" });
    key.append(kind === "dots" ? svg("circle", { class: `series series-${place % 5} dot`, cx: 12, cy: 5, r: 3 }) : svg("path", { class: `series series-${place % 5}`, d: "M1 5H23" }));
    const last = points.at(-1)?.[1];
    entry.append(key, `${name}${last === undefined ? "" : ` ${signed(last)}`}`);
    legend.append(entry);
  });
  figure.className = "charted";
  figure.append(caption, picture, legend);
  return figure;
}

function path(points, x, y, stepped) {
  return points.map(([across, up], place) => (place === 0 ? "M" : stepped ? `H${x(across).toFixed(1)}V` : "L") + (place && stepped ? y(up).toFixed(1) : `${x(across).toFixed(1)} ${y(up).toFixed(1)}`)).join("");
}

function spoken(title, series) {
  const ends = series.filter((one) => one.points.length).map((one) => `${one.name} ends at ${signed(one.points.at(-1)[1])}`);
  return ends.length ? `${title}: ${ends.join(", ")}` : title;
}
