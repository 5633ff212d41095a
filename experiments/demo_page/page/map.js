// Tab of the map: the tree of the index as a treemap that can be gone into, the shapes of a node, and the index's health.

import { get } from "./api.js";
import { element } from "./elements.js";
import { largeView } from "./large_view.js";
import { thumbnails } from "./thumbnails.js";
import { treemap } from "./treemap.js";

const LARGEST = 128, LEAST = 44; // pixels of a shape in a node
const SMALLEST = 0.004; // share of the map below which a node has no text

export async function mount(panel, shell) {
  const crumbs = element("ol", { class: "crumbs", "aria-label": "Path in the tree" }), tiles = element("div", { class: "treemap", role: "group", "aria-label": "Nodes of the tree" });
  const facts = element("p", { id: "map-facts" }), legend = element("p", { class: "soft", id: "map-legend" });
  const table = element("details", { class: "figures" }, element("summary", {}, "Figures of these nodes"));
  const shapesTitle = element("h3", {}), shapes = element("ol", { class: "shapes", "aria-label": "Shapes of the node", id: "map-shapes" });
  const more = element("button", { type: "button" }, "More shapes"), health = element("section", { class: "health", "aria-label": "Health of the index" });
  panel.append(element("nav", { "aria-label": "Path" }, crumbs), facts, tiles, legend, table, shapesTitle, shapes, more, health);
  const large = largeView(panel), pictures = thumbnails();
  let current = null, waiting = null, focus = null;

  const go = ({ level, node }) => shell.go("map", level < 0 ? {} : { level, node });
  const share = (one) => (one.visits > 0 ? one.successes / one.visits : null);
  const many = (count, one, several = `${one}s`) => `${count.toLocaleString("en")} ${count === 1 ? one : several}`;

  /** Feedback on a node in words. */
  function feedback(one) {
    if (!one.visits) return "no feedback yet";
    return `found in ${one.successes.toLocaleString("en")} of ${one.visits.toLocaleString("en")} visits (${(100 * share(one)).toFixed(0)} %)`;
  }

  async function open(level, node) {
    waiting?.abort();
    waiting = new AbortController();
    const { signal } = waiting;
    panel.setAttribute("aria-busy", "true");
    try {
      current = await get(`api/map/node?level=${level}&node=${node}`, signal);
      drawCrumbs();
      drawTiles();
      drawTable();
      shapes.replaceChildren();
      await addShapes(signal);
      shell.clear();
    } catch (error) {
      shell.alert(error);
    } finally {
      if (!signal.aborted) panel.removeAttribute("aria-busy");
    }
  }

  function drawCrumbs() {
    crumbs.replaceChildren(...current.path.map((step, place) => {
      const here = place === current.path.length - 1;
      const button = element("button", { type: "button", "aria-current": here ? "location" : false, disabled: false }, step.name);
      button.addEventListener("click", () => go(step));
      return element("li", {}, button);
    }));
    facts.replaceChildren(element("strong", {}, current.name), `: ${many(current.size, "shape")}, ${feedback(current)}${current.children.length ? `, ${many(current.children.length + current.left_out, "node")} below` : ""}.`);
  }

  function drawTiles() {
    const filled = current.children.filter((one) => one.size > 0);
    tiles.hidden = legend.hidden = !filled.length;
    table.hidden = !current.children.length;
    if (!filled.length) return tiles.replaceChildren();
    const width = tiles.clientWidth, height = tiles.clientHeight;
    const places = treemap(filled.map((one) => one.size), width, height), total = filled.reduce((sum, one) => sum + one.size, 0);
    const taught = filled.some((one) => one.visits > 0);
    legend.textContent = taught
      ? "Areas are numbers of shapes; the bluer a node, the more often feedback found its answer below it. Escape goes up."
      : "Areas are numbers of shapes. Nobody has given feedback yet, so there are no success statistics. Escape goes up.";
    const strips = [];
    tiles.replaceChildren(...filled.map((one, place) => {
      const tone = share(one) === null ? "" : ` taught-${Math.min(3, Math.floor(4 * share(one)))}`;
      const tile = element("button", { type: "button", class: `tile${tone}`, "aria-label": `${one.name}: ${many(one.size, "shape")}, ${feedback(one)}`, title: `${one.name}\n${many(one.size, "shape")}, ${feedback(one)}` });
      const box = places[place];
      Object.assign(tile.style, { left: `${box.x}px`, top: `${box.y}px`, width: `${Math.max(box.width, 2)}px`, height: `${Math.max(box.height, 2)}px` });
      if (one.size / total >= SMALLEST && box.width > 44 && box.height > 26)
        tile.append(element("span", { class: "tile-name" }, one.name), element("span", { class: "tile-size" }, one.size.toLocaleString("en")), ...(one.visits && box.height > 64 ? [element("span", { class: "tile-size" }, `${(100 * share(one)).toFixed(0)} % found`)] : []));
      const [side, fit] = fitting(box.width - 16, box.height - 70, one.samples.length);
      const strip = element("span", { class: "tile-pictures", "aria-hidden": "true" });
      tile.append(strip);
      strips.push([strip, one.samples.slice(0, fit), side]);
      tile.addEventListener("click", () => {
        focus = "first";
        go(one);
      });
      return tile;
    }));
    fillStrips(strips).catch((error) => shell.alert(error));
    if (focus) tiles.firstElementChild?.focus();
    focus = null;
  }

  /** Pixels of a picture, and how many of some fit into a place. */
  function fitting(width, height, count) {
    const room = (side) => Math.max(0, Math.floor((width + 4) / (side + 4))) * Math.max(0, Math.floor((height + 4) / (side + 4)));
    let side = LARGEST;
    while (side > LEAST && room(side) < count) side -= 4;
    return [side, Math.min(count, room(side))];
  }

  /** Puts pictures of a few shapes into the tiles, once they are there. */
  async function fillStrips(strips) {
    await pictures.load(strips.flatMap(([, rows]) => rows), waiting?.signal);
    for (const [strip, rows, side] of strips)
      strip.replaceChildren(...rows.map((row) => {
        const picture = pictures.picture(row);
        Object.assign(picture.style, { width: `${side}px`, height: `${side}px` });
        return picture;
      }));
  }

  function drawTable() {
    const rows = current.children.map((one) => {
      const name = element("button", { type: "button", class: "small" }, one.name);
      name.addEventListener("click", () => go(one));
      const cells = [one.size.toLocaleString("en"), one.visits.toLocaleString("en"), one.successes.toLocaleString("en"), share(one) === null ? "–" : `${(100 * share(one)).toFixed(0)} %`];
      return element("tr", {}, element("td", {}, name), ...cells.map((cell) => element("td", { class: "number" }, cell)));
    });
    const heads = ["node", "shapes", "visits", "successes", "share"].map((head, place) => element("th", { scope: "col", class: place ? "number" : "" }, head));
    table.replaceChildren(table.firstElementChild, element("div", { class: "scrolled" }, element("table", {}, element("thead", {}, element("tr", {}, ...heads)), element("tbody", {}, ...rows))),
      ...(current.left_out ? [element("p", { class: "soft" }, `${current.left_out} smaller nodes are left out.`)] : []));
  }

  async function addShapes(signal) {
    const start = shapes.children.length;
    const found = await get(`api/map/shapes?level=${current.level}&node=${current.node}&start=${start}`, signal);
    shapesTitle.textContent = `Shapes: ${many(found.count, "shape")}`;
    const drawn = found.shapes.filter((one) => one.row !== null);
    await pictures.load(drawn.map((one) => one.row), signal);
    shapes.append(...found.shapes.map((one) => {
      const texts = [element("span", { class: "strong" }, one.caption || one.id), element("span", { class: "soft" }, one.category)];
      if (one.row === null) return element("li", { class: "plain" }, ...texts);
      const card = element("button", { type: "button", class: "card" }, pictures.picture(one.row), ...texts);
      card.addEventListener("click", () => large.open(one, { "Search for its caption": () => shell.go("search", { q: one.caption, k: 20 }) }));
      return element("li", {}, card);
    }));
    more.hidden = shapes.children.length >= found.count;
  }

  async function showHealth() {
    const found = await get("api/map/health");
    const percent = (value) => (value === null ? "–" : `${(100 * value).toFixed(1)} %`), count = (value) => value.toLocaleString("en");
    const rows = [
      ["Vectors", count(found.live)],
      ["Leaves", `${count(found.leaves)}; a fresh index would have ${count(found.wanted_leaves)}`],
      ["Vectors in a leaf", `${found.mean_leaf.toFixed(1)} on average, ${count(found.largest_leaf)} at most; ${count(found.empty_leaves)} leaves are empty`],
      ["Changed since it was built", `${count(found.changed)} vectors (${percent(found.changed_share)})`],
      ["To be split, merged or centered", `${count(found.owed_leaves)} leaves with ${percent(found.owed_share)} of the vectors`],
      ["Error of the codes", `${percent(found.code_error)}; ${percent(found.trained_code_error)} when they were trained`],
      ["Maintenance so far", `${count(found.restructured)} times leaves, ${count(found.retrained)} times codes, ${count(found.rebuilt)} times the whole; ${found.seconds.toFixed(1)} s, at most ${found.longest.toFixed(2)} s at a time`],
    ];
    health.replaceChildren(element("h3", {}, "Health of the index"), element("p", { class: found.owes ? "bad" : "" }, found.sentence),
      element("dl", {}, ...rows.flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)])));
  }

  more.addEventListener("click", () => {
    const at = shapes.children.length;
    addShapes().then(() => shapes.children[at]?.querySelector("button")?.focus()).catch((error) => shell.alert(error));
  });
  panel.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || large.dialog.open || !current || current.path.length < 2) return;
    focus = "first";
    go(current.path.at(-2));
  });
  addEventListener("resize", () => current && !panel.hidden && drawTiles());
  showHealth().catch((error) => shell.alert(error));

  return {
    shown: (said) => open(Number(said.get("level") ?? -1), Number(said.get("node") ?? 0)),
  };
}
