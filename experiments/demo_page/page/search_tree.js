// Tree of a search as it stands after some evaluations: a node for each calibration, large where the search has been
// often, colored by what it earned; a tree of items for the keyboard and for screen readers.

import { signed, svg } from "./chart.js";

const SMALL = 150; // pixels of a column on a phone
const LINE = 26, MARGIN = 16, NARROWEST = 262, LETTER = 6.6, END = 270, FAN = 40; // pixels; END: room behind the last column; FAN: where edges part
export const MOST = 40; // nodes that are drawn, unless all are asked for

/**
 * What a search has found after some evaluations.
 * @param nodes Of the record, in the order in which they came.
 * @param frames Of the record: what each evaluation changed.
 * @param count Evaluations.
 * @returns {figures: Map(node → {visits, mean, best}), known: number of nodes, at: where the agent stands}
 */
export function after(nodes, frames, count) {
  const figures = new Map();
  let last = 0, at = 0;
  for (const frame of frames.slice(0, count)) {
    for (const [node, visits, mean, best] of frame.changed) figures.set(node, { visits, mean, best });
    last = Math.max(last, frame.node ?? 0, ...frame.changed.map(([node]) => node));
    at = frame.at;
  }
  return { figures, known: Math.min(last + 1, nodes.length), at };
}

/** Nodes from the root to one of them. */
export function pathTo(nodes, node) {
  const found = [];
  for (; node >= 0; node = nodes[node].parent) found.unshift(node);
  return found;
}

/** Nodes to draw: those asked for with all above them, then the most visited. */
function chosen(nodes, { figures, known }, wanted, most) {
  const kept = new Set([0]);
  for (const node of wanted) if (node < known) pathTo(nodes, node).forEach((one) => kept.add(one));
  const others = [...Array(known).keys()].filter((node) => !kept.has(node));
  others.sort((one, other) => (figures.get(other)?.visits ?? 0) - (figures.get(one)?.visits ?? 0) || one - other);
  for (const node of others) {
    if (kept.size >= most) break;
    if (kept.has(nodes[node].parent)) kept.add(node);
  }
  return kept;
}

/**
 * Draws the tree into a holder and tells of a node that is chosen by click, Enter or arrow keys.
 * @param holder Element that is filled.
 * @param search {nodes, actions}: of the record, and the actions in words.
 * @param state What `after` returns.
 * @param view {selected, line, all}: the node that is shown, those of the line that was decided on, and whether all
 *   nodes are drawn.
 * @param choose Called with a node.
 */
export function drawTree(holder, { nodes, actions }, state, { selected, line, all }, choose) {
  const focused = holder.contains(document.activeElement);
  const kept = chosen(nodes, state, [selected, ...line], all ? Infinity : MOST);
  const children = new Map([...kept].map((node) => [node, []]));
  [...kept].sort((one, other) => one - other).forEach((node) => node && children.get(nodes[node].parent).push(node));
  const places = new Map(), order = [];
  let leaves = 0, deepest = 0;
  (function place(node, depth) {
    order.push(node);
    deepest = Math.max(deepest, depth);
    const below = children.get(node).map((child) => place(child, depth + 1));
    const across = below.length ? (below[0] + below.at(-1)) / 2 : leaves++;
    places.set(node, [depth, across]);
    return across;
  })(0, 0);
  const inside = Math.max(holder.clientWidth - 2 * MARGIN, 240);
  const column = Math.max(holder.clientWidth < 500 ? SMALL : NARROWEST, (inside - END) / Math.max(deepest, 1));
  const width = MARGIN * 2 + column * deepest + END, height = MARGIN * 2 + LINE * Math.max(leaves - 1, 1);
  const x = (node) => MARGIN + column * places.get(node)[0], y = (node) => MARGIN + LINE * places.get(node)[1];
  const most = Math.max(1, ...[...kept].filter((node) => node).map((node) => state.figures.get(node)?.visits ?? 0));
  const best = Math.max(1e-9, ...[...state.figures.values()].map((one) => Math.abs(one.mean)));
  const radius = (node) => (node ? 3 + 6 * Math.sqrt((state.figures.get(node)?.visits ?? 0) / most) : 9);
  const onLine = new Set(line), toSelected = new Set(pathTo(nodes, selected));
  const edges = svg("g"), items = svg("g");
  for (const node of order) {
    const [left, top] = [x(node), y(node)];
    if (node) {
      const [from, height] = [x(nodes[node].parent), y(nodes[node].parent)], turn = left - FAN; // labels stand before it
      const kind = onLine.has(node) ? "edge decided" : toSelected.has(node) ? "edge shown" : "edge";
      edges.append(svg("path", { class: kind, d: `M${from} ${height}H${turn}C${left - 14} ${height} ${turn + 8} ${top} ${left - 8} ${top}H${left}` }));
    }
    const found = state.figures.get(node) ?? { visits: 0, mean: 0, best: 0 };
    const words = node === 0 ? "nothing changed" : nodes[node].action < 0 ? "set as a whole" : actions[nodes[node].action];
    const item = svg("g", {
      role: "treeitem", class: "node", tabindex: node === selected ? 0 : -1, "data-node": node,
      "aria-level": places.get(node)[0] + 1, "aria-selected": node === selected,
      "aria-label": `${words}: ${found.visits} visits, mean return ${signed(found.mean)}`,
    });
    const strength = Math.round(3 * Math.min(1, Math.abs(found.mean) / best));
    const tone = found.mean > 1e-6 ? `gain-${strength}` : found.mean < -1e-6 ? `loss-${strength}` : "even";
    if (node === selected) item.append(svg("circle", { class: "ring", cx: left, cy: top, r: radius(node) + 4 }));
    item.append(svg("circle", { class: `spot ${tone}`, cx: left, cy: top, r: radius(node) }));
    if (node === state.at && node) item.append(svg("circle", { class: "stands", cx: left, cy: top, r: 2 }));
    const figures = node ? ` ${found.visits}× ${signed(found.mean, 3)}` : ` ${found.visits}×`;
    const inner = children.get(node).length > 0, wide = (inner ? column - FAN - 4 : END - 75) - radius(node);
    const room = Math.max(8, Math.floor(wide / LETTER) - (inner ? figures.length : 0));
    const shown = node === 0 ? "start" : words.length > room ? `${words.slice(0, room - 1)}…` : words;
    const text = svg("text", { x: left + (node ? radius(node) + 4 : 0), y: top + (node === 0 ? -14 : inner ? -5 : 4), class: onLine.has(node) && node ? "decided" : "" }, shown);
    text.append(svg("tspan", { class: "figures" }, figures));
    item.append(svg("title", {}, `${words}\n${found.visits} visits, mean return ${signed(found.mean)}, best ${signed(found.best)}`), text);
    item.addEventListener("click", () => choose(node));
    items.append(item);
  }
  const picture = svg("svg", { viewBox: `0 -12 ${width} ${height + 16}`, width, height: height + 16, class: "search-tree", role: "tree", "aria-label": "Tree of the search" }, edges, items);
  picture.addEventListener("keydown", (event) => {
    const here = order.indexOf(selected);
    const to = {
      ArrowDown: order[Math.min(here + 1, order.length - 1)], ArrowUp: order[Math.max(here - 1, 0)],
      ArrowLeft: Math.max(nodes[selected].parent, 0), ArrowRight: children.get(selected)?.[0] ?? selected, Home: 0, End: order.at(-1),
    }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    choose(to);
  });
  const [above, aside] = [holder.scrollTop, holder.scrollLeft];
  holder.replaceChildren(picture);
  [holder.scrollTop, holder.scrollLeft] = [above, aside];
  if (focused) picture.querySelector("[aria-selected=true]")?.focus({ preventScroll: true });
  keepInView(holder, x(selected), y(selected));
  return { left: state.known - kept.size };
}

/** Scrolls a holder, and nothing else, so that a place in it is seen. */
function keepInView(holder, x, y) {
  const room = 60;
  if (y < holder.scrollTop + 8) holder.scrollTop = Math.max(0, y - room);
  else if (y > holder.scrollTop + holder.clientHeight - 30) holder.scrollTop = y - holder.clientHeight + room;
  if (x < holder.scrollLeft + 8) holder.scrollLeft = Math.max(0, x - room);
  else if (x + 120 > holder.scrollLeft + holder.clientWidth) holder.scrollLeft = x + 180 - holder.clientWidth;
}
