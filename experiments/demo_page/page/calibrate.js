// Tab of calibrations: an agent calibrates a query's attention step by step. Its search is read from the server as it
// grows, and can be played, stopped and gone through here.

import { get, post } from "./api.js";
import { chart, signed } from "./chart.js";
import { element, labeled } from "./elements.js";
import { largeView } from "./large_view.js";
import { after, drawTree, MOST, pathTo } from "./search_tree.js";
import { thumbnails } from "./thumbnails.js";

const SHOWN = 8; // candidates of a ranking
const BUDGETS = [8, 16, 32, 64, 128, 256];
const SPEEDS = { slow: 900, medium: 300, fast: 60 }; // milliseconds of an evaluation
const POLL = 150, PATIENT = 500; // milliseconds

export async function mount(panel, shell) {
  const query = element("input", { type: "search", id: "calibrate-query", autocomplete: "off", maxlength: 500, placeholder: "Words that describe a shape" });
  const agent = element("select", { id: "calibrate-agent" }), hint = element("small", { id: "calibrate-hint" });
  agent.setAttribute("aria-describedby", hint.id);
  const budget = element("select", { id: "calibrate-budget" }, ...BUDGETS.map((n) => element("option", { value: n, selected: n === 64 }, String(n))));
  const speed = element("select", { id: "calibrate-speed" }, ...Object.keys(SPEEDS).map((name) => element("option", { value: name, selected: name === "medium" }, name)));
  const start = element("button", { type: "submit", class: "main" }, "Calibrate");
  const meant = element("p", { class: "meant", id: "calibrate-meant" });
  const known = element("button", { type: "button", id: "calibrate-known" }, "Take a known caption");
  const form = element("form", {},
    element("div", { class: "ask" }, labeled("Words", query), start),
    element("div", { class: "filters" }, labeled("Agent", agent), labeled("Budget, in evaluations", budget), labeled("Speed", speed)),
    hint, element("div", { class: "tools" }, known, meant));
  const notes = element("ul", { class: "soft notes" });
  const button = (id, text, label) => element("button", { type: "button", id: `calibrate-${id}`, "aria-label": label, title: label }, text);
  const first = button("first", "|◀", "To the start"), back = button("back", "◀", "One step back"), play = button("play", "Play", "Play or pause");
  const on = button("on", "▶", "One step on"), last = button("last", "▶|", "To the end"), cancel = button("cancel", "Break off", "Break the search off");
  const slider = element("input", { type: "range", id: "calibrate-at", min: 0, max: 0, value: 0, "aria-label": "Step of the search" });
  const place = element("output", { id: "calibrate-place", for: slider.id });
  const said = element("p", { class: "step", id: "calibrate-step" });
  const holder = element("div", { class: "tree-holder" }), charts = element("div", { class: "charts" });
  const everything = element("input", { type: "checkbox", id: "calibrate-all" }), hidden = element("span", { class: "soft" });
  const line = element("ol", { class: "decided-line", id: "calibrate-line" });
  const before = element("ol", { class: "ranking", id: "calibrate-before" }), now = element("ol", { class: "ranking", id: "calibrate-now" });
  const beforeTitle = element("h3", {}, "Ranking before"), nowTitle = element("h3", {}, "Ranking after");
  const result = element("div", { class: "watched", hidden: true },
    notes,
    element("div", { class: "tools player" }, first, back, play, on, last, slider, place, cancel),
    said,
    element("div", { class: "watched-columns" },
      element("section", { "aria-label": "Search tree" },
        element("h3", {}, "Search tree"), holder,
        element("div", { class: "tools" }, element("label", { class: "soft check" }, everything, " all nodes"), hidden),
        element("h3", {}, "What the agent decided"), line),
      element("section", { "aria-label": "Reward" }, element("h3", {}, "Reward"), charts)),
    element("section", { "aria-label": "Ranking" }, beforeTitle, before, nowTitle, now));
  panel.append(form, result);
  const large = largeView(panel);
  const pictures = thumbnails();

  let label = null, run = null, address = "", agents = [], timer = null, playing = false;

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    shell.go("calibrate", params());
  });
  agent.addEventListener("change", describe);
  everything.addEventListener("change", () => run && draw());
  known.addEventListener("click", async () => {
    try {
      const found = await get(`api/calibrate/caption?row=${Math.floor(Math.random() * shell.page.shapes)}`);
      query.value = found.caption;
      mean({ row: found.row, caption: found.caption });
      query.focus();
    } catch (error) {
      shell.alert(error);
    }
  });

  function params() {
    return { q: query.value.trim(), agent: agent.value, budget: budget.value, ...(label ? { label: label.row } : {}) };
  }

  /** Which shape is meant, so that there is a reward; null forgets it. */
  function mean(shape) {
    label = shape;
    const forget = element("button", { type: "button", class: "small" }, "Forget it");
    forget.addEventListener("click", () => {
      mean(null);
      known.focus();
    });
    meant.replaceChildren(...(label
      ? ["Meant: ", element("strong", {}, label.caption), " ", forget]
      : ["No shape is named as the one that is meant: there is no reward, and agents that plan by it cannot act."]));
    describe();
  }

  function describe() {
    const found = agents.find((one) => one.name === agent.value);
    hint.textContent = found?.needs_label && !label ? "This agent plans by the reward: take a known caption, or calibrate with another agent and say which candidate is meant." : "";
  }

  /** Asks for a calibration, and reads it as it grows. */
  async function calibrate() {
    stop();
    panel.setAttribute("aria-busy", "true");
    try {
      const body = { query: query.value.trim(), agent: agent.value, budget: Number(budget.value), label: label?.row ?? null };
      const begun = await post("api/calibrate/start", body);
      run = { ...begun, nodes: [], frames: [], moves: null, state: "waiting", at: 0, selected: 0 };
      if (label) mean({ row: label.row, caption: run.candidates.find((one) => one.row === label.row)?.caption ?? label.caption });
      notes.replaceChildren(...run.notes.map((text) => element("li", {}, text)));
      notes.hidden = !run.notes.length;
      result.hidden = false;
      playing = !matchMedia("(prefers-reduced-motion: reduce)").matches;
      shell.clear();
      await pictures.load(run.candidates.map((one) => one.row));
      read(run);
    } catch (error) {
      result.hidden = true;
      run = null;
      shell.alert(error);
    } finally {
      panel.removeAttribute("aria-busy");
    }
  }

  async function read(mine) {
    while (run === mine) {
      try {
        const found = await get(`api/calibrate/progress?nodes=${mine.nodes.length}&frames=${mine.frames.length}`);
        if (run !== mine) return;
        mine.nodes.push(...found.nodes);
        mine.frames.push(...found.frames);
        const fresh = mine.state !== found.state || found.frames.length > 0;
        Object.assign(mine, { state: found.state, moves: found.moves });
        if (found.message) shell.alert(found.message);
        const over = !["waiting", "running"].includes(found.state);
        if (!playing && over && fresh) mine.at = steps().length - 1;
        if (fresh) show(mine.at);
        if (playing && !timer) tick();
        if (over) return;
      } catch (error) {
        return shell.alert(error);
      }
      await new Promise((done) => setTimeout(done, document.hidden ? PATIENT : POLL));
    }
  }

  /** What can be gone through: the start, every evaluation, then every step that was decided on. */
  function steps() {
    const found = [{ kind: "start", node: 0, count: 0 }];
    run.frames.forEach((frame, place) => {
      const node = frame.node ?? run.frames.slice(0, place).findLast((one) => one.node !== null)?.node ?? 0;
      found.push({ kind: "evaluation", node, count: place + 1, again: frame.node === null });
    });
    if (run.moves) run.moves.slice(1).forEach((node, place) => found.push({ kind: "move", node, count: run.frames.length, move: place + 1 }));
    if (run.moves && run.moves.length === 1) found.push({ kind: "rest", node: 0, count: run.frames.length });
    return found;
  }

  function tick() {
    timer = setTimeout(() => {
      timer = null;
      if (!run || !playing) return;
      if (run.at < steps().length - 1) show(run.at + 1);
      else if (["done", "cancelled", "failed"].includes(run.state)) playing = false;
      if (playing) tick();
      label_play();
    }, SPEEDS[speed.value]);
  }

  function stop() {
    playing = false;
    clearTimeout(timer);
    timer = null;
  }

  function label_play() {
    play.textContent = playing ? "Pause" : "Play";
    play.setAttribute("aria-pressed", playing);
  }

  function show(at) {
    const all = steps();
    run.at = Math.max(0, Math.min(at, all.length - 1));
    run.selected = all[run.at].node;
    slider.max = all.length - 1;
    slider.value = run.at;
    draw();
  }

  /** Draws the step that is shown; a node that was chosen in the tree takes the place of the step's own. */
  function draw() {
    const all = steps(), step = all[run.at], { nodes, actions, terms } = run;
    if (!nodes.length) return;
    const state = after(nodes, run.frames, step.count), node = run.selected, parent = Math.max(nodes[node].parent, 0);
    const way = pathTo(nodes, node), over = ["done", "cancelled", "failed"].includes(run.state);
    const words = (one) => (nodes[one].parent < 0 ? "nothing is changed" : nodes[one].action < 0 ? "the calibration for all queries" : actions[nodes[one].action]);
    place.textContent = step.kind === "move" ? `decision ${step.move} of ${run.moves.length - 1}` : step.kind === "rest" ? "decision" : `evaluation ${step.count} of ${run.frames.length}${over ? "" : "…"}`;
    slider.setAttribute("aria-valuetext", place.textContent);
    const line_of = way.slice(1).map(words).join(", then ");
    const gained = run.labeled ? `: return ${signed(nodes[node].gain)}` : "";
    const own = node === step.node;
    said.replaceChildren(element("strong", {}, !own ? "Chosen in the tree: " : step.kind === "start" ? "Before any action: " : step.kind === "rest" ? "Decision: " : step.kind === "move" ? `Decision ${step.move}: ` : `Evaluation ${step.count}: `),
      own && step.kind === "rest" ? "the agent leaves the attention as it is" : `${line_of || words(0)}${step.again && own ? " (a line that has ended already, counted once more)" : ""}${gained}`);
    const decided = run.moves && step.count >= run.frames.length ? run.moves : [];
    const { left } = drawTree(holder, run, state, { selected: node, line: decided, all: everything.checked }, (chosen) => {
      stop();
      label_play();
      run.selected = chosen;
      draw();
    });
    hidden.textContent = left > 0 ? `${left} with fewer visits are left out` : "";
    everything.parentElement.hidden = state.known <= MOST;
    drawCharts(state, step, way, terms);
    drawLine(words);
    drawRankings(node, parent, words);
    first.disabled = back.disabled = run.at === 0;
    on.disabled = last.disabled = run.at >= all.length - 1;
    cancel.hidden = over;
    label_play();
  }

  function drawCharts(state, step, way, terms) {
    if (!run.labeled) {
      charts.replaceChildren(element("p", { class: "soft" }, "No shape is named as the one that is meant, so nothing is earned. Open a candidate and choose “This one is meant”."));
      return;
    }
    const told = run.frames.slice(0, step.count), tried = [], best = [];
    let most = 0, leader = 0;
    const parts = terms.map(() => [[0, 0]]);
    told.forEach((frame, at) => {
      const node = frame.node;
      if (node !== null) {
        tried.push([at + 1, run.nodes[node].gain]);
        if (run.nodes[node].gain > most + 1e-9) [most, leader] = [run.nodes[node].gain, node];
      }
      best.push([at + 1, most]);
      terms.forEach((term, place) => parts[place].push([at + 1, term.weight * run.nodes[leader].terms[place]]));
    });
    const weighed = terms.map((term, place) => ({ term, place })).filter(({ term }) => Math.abs(term.weight) > 0);
    const names = { internal: "internal (loss)", external: "external (rank)", kl: "divergence" };
    const named = ({ term }) => names[term.name] ?? term.name;
    charts.replaceChildren(
      chart("Return of each evaluation, and the best so far", "evaluation", [
        { name: "best so far", points: [[0, 0], ...best], kind: "step" },
        { name: "this evaluation", points: tried, kind: "dots" },
      ], step.count || null),
      chart("Parts of the best so far, weighted", "evaluation", weighed.map((one) => ({ name: named(one), points: parts[one.place], kind: "step" }))),
      chart("Parts along the line that is shown, weighted", "step", weighed.map((one) => ({
        name: named(one), kind: "line", points: way.map((node, at) => [at, one.term.weight * run.nodes[node].terms[one.place]]),
      }))));
  }

  function drawLine(words) {
    if (!run.moves) return line.replaceChildren(element("li", { class: "soft" }, run.state === "cancelled" ? "Broken off before it decided." : "Not decided yet."));
    if (run.moves.length === 1) return line.replaceChildren(element("li", {}, "To leave the attention as it is."));
    const all = steps();
    line.replaceChildren(...run.moves.slice(1).map((node, place) => {
      const at = all.findIndex((step) => step.kind === "move" && step.move === place + 1);
      const go = element("button", { type: "button", "aria-pressed": run.at === at }, words(node));
      go.addEventListener("click", () => {
        stop();
        show(at);
        line.querySelectorAll("button")[place]?.focus();
      });
      return element("li", {}, go, ...(run.labeled ? [element("span", { class: "soft" }, ` return ${signed(run.nodes[node].gain)}`)] : []));
    }));
  }

  /** Places of candidates by score, best first; equal ones in their order. */
  const ranked = (node) => run.nodes[node].scores.map((score, place) => [score, place]).sort(([a, i], [b, j]) => b - a || i - j).map(([, place]) => place);

  function drawRankings(node, parent, words) {
    const one = ranked(parent), other = ranked(node), start = ranked(0);
    beforeTitle.textContent = node === 0 ? "Ranking at the start" : parent === 0 ? "Before: at the start" : `Before: after “${words(parent)}”`;
    nowTitle.textContent = `After “${words(node)}”`;
    nowTitle.hidden = now.hidden = node === 0;
    fill(before, one, one, start);
    if (node) fill(now, other, one, start);
  }

  function fill(list, order, earlier, start) {
    const right = new Set(run.positives);
    const shown = order.slice(0, SHOWN), wanted = run.positives.map((one) => order.indexOf(one)).filter((rank) => rank >= SHOWN).sort((a, b) => a - b)[0];
    if (wanted !== undefined) shown.push(order[wanted]);
    list.replaceChildren(...shown.map((candidate) => {
      const own = run.candidates[candidate], rank = order.indexOf(candidate) + 1;
      const moved = earlier.indexOf(candidate) + 1 - rank, since = start.indexOf(candidate) + 1;
      const change = moved ? element("span", { class: moved > 0 ? "up" : "down" }, `${moved > 0 ? "▲" : "▼"}${Math.abs(moved)}`) : "";
      const open = element("button", { type: "button", class: "card", title: `${own.caption || own.id}; at the start: ${since}` },
        pictures.picture(own.row), element("span", { class: "strong" }, `${rank}. `, change, right.has(candidate) ? element("span", { class: "right" }, " meant") : ""),
        element("span", { class: "soft" }, own.caption || own.id));
      open.addEventListener("click", () => large.open(own, {
        "This one is meant": () => {
          mean(own);
          shell.go("calibrate", params());
        },
      }));
      return element("li", { class: right.has(candidate) ? "is-right" : "" }, open);
    }));
  }

  first.addEventListener("click", () => { stop(); show(0); });
  back.addEventListener("click", () => { stop(); show(run.at - 1); });
  on.addEventListener("click", () => { stop(); show(run.at + 1); });
  last.addEventListener("click", () => { stop(); show(steps().length - 1); });
  slider.addEventListener("input", () => { stop(); show(Number(slider.value)); });
  play.addEventListener("click", () => {
    if (playing) stop();
    else {
      playing = true;
      if (run.at >= steps().length - 1) show(0);
      tick();
    }
    label_play();
  });
  cancel.addEventListener("click", () => post("api/calibrate/cancel", {}).catch((error) => shell.alert(error)));
  addEventListener("resize", () => run && !panel.hidden && draw());

  ({ agents } = await get("api/calibrate/agents"));
  agent.replaceChildren(...agents.map(({ name, words }) => element("option", { value: name }, words)));
  mean(null);

  return {
    async shown(said) {
      if (!said.has("q")) {
        query.focus();
        return;
      }
      const asked = said.toString();
      if (asked === address && run) return;
      address = asked;
      query.value = said.get("q");
      if (agents.some((one) => one.name === said.get("agent"))) agent.value = said.get("agent");
      if (BUDGETS.includes(Number(said.get("budget")))) budget.value = said.get("budget");
      const row = said.get("label");
      if (row === null) mean(null);
      else if (String(label?.row) !== row) mean({ row: Number(row), caption: `shape ${row}` });
      describe();
      await calibrate();
    },
    hidden() {
      stop();
      if (run) label_play();
    },
  };
}
