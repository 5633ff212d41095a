// Page of a review. The server's state is the truth: what is shown comes from its last answer.

import { Cloud } from "./cloud.js";

const element = (id) => document.getElementById(id);
const cloud = new Cloud(element("cloud"));
const ready = new Map(); // points that were fetched ahead, by place
let session = null; // counts, reasons, limits
let shape = null; // what is shown
let chosen = 0; // index of the chosen caption
let editing = false;
let busy = true; // a second key must not decide about a shape that nobody has seen yet

// Requests

async function ask(path, body) {
  const options = body && {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  };
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new Error("The server does not answer: the command has ended. What was shown as decided is kept.");
  }
  if (answer.ok) return answer;
  const error = new Error((await answer.json()).error);
  error.status = answer.status;
  throw error;
}

/** Runs one thing at a time; what fails is told, and the state is fetched anew if it was out of date. */
async function alone(work) {
  if (busy) return;
  busy = true;
  element("alert").textContent = "";
  try {
    await work();
  } catch (error) {
    const place = shape?.place ?? 0;
    if (error.status === 409 || error.status === 404) {
      try {
        session = await (await ask("api/session")).json();
        await open(Math.min(place, session.total - 1));
      } catch { /* told below */ }
    }
    element("alert").textContent = sentence(error.message);
  } finally {
    busy = false;
  }
}

async function open(place) {
  const [texts, points] = await Promise.all([ask(`api/shape/${place}`).then((answer) => answer.json()), fetched(place)]);
  chosen = 0;
  editing = false;
  cloud.show(points, texts.points);
  render(texts);
}

async function fetched(place) {
  const points = ready.get(place) ?? (await (await ask(`api/points/${place}`)).arrayBuffer());
  ready.clear();
  return points;
}

/** Fetches the points of the shape that is likely to come next. */
async function ahead() {
  const place = session.next;
  if (place === null || place === shape.place || ready.has(place)) return;
  try {
    ready.set(place, await (await ask(`api/points/${place}`)).arrayBuffer());
  } catch { /* asked for again when it is shown */ }
}

async function decide(action, more = {}) {
  const body = { place: shape.place, item: shape.item, seen: session.seen, action, ...more };
  const answer = await (await ask("api/decide", body)).json();
  session = { ...session, ...answer };
  editing = false;
  render(answer.shape);
}

// Decisions

const accept = () => alone(async () => {
  await decide("accept");
  await goOn("Accepted");
});

const reject = (reason) => alone(async () => {
  await decide("reject", { reason });
  await goOn("Rejected");
});

async function goOn(said) {
  if (session.next === null) {
    say(`${said}. All ${session.total} shapes of the sample are decided; undo or choose others to look again.`);
  } else {
    await open(session.next);
    say(`${said}. ${where()}`);
  }
  ahead();
}

const undo = () => alone(async () => {
  const answer = await (await ask("api/undo", { seen: session.seen })).json();
  session = { ...session, ...answer };
  if (!answer.shape) {
    render(shape);
    say(`Taken back: ${words(answer.undone)} of ${answer.item}, which is not in this sample`);
    return;
  }
  if (answer.shape.place === shape.place) {
    editing = false;
    render(answer.shape);
  } else await open(answer.shape.place);
  say(`Taken back: ${words(answer.undone)}. ${where()}`);
});

const move = (by) => alone(async () => {
  await open((shape.place + by + session.total) % session.total);
  say(where());
});

const dropOrKeep = (index) => alone(async () => {
  choose(index);
  const { caption, state } = shape.captions[index];
  const action = state === "keep" ? "drop_caption" : "keep_caption";
  await decide(action, { caption });
  say(action === "drop_caption" ? "Caption dropped" : "Caption kept as it was");
});

const save = (index, text) => alone(async () => {
  const { caption } = shape.captions[index];
  const same = text.trim() === caption;
  await decide(same ? "keep_caption" : "edit_caption", same ? { caption } : { caption, text });
  say(same ? "Caption kept as it was" : "Caption changed");
  element(`edit-${index}`).focus();
});

function edit(index) {
  if (busy || !shape.captions.length) return;
  chosen = index;
  editing = true;
  render(shape);
  const field = element("field");
  field.focus();
  field.setSelectionRange(field.value.length, field.value.length);
}

function cancelEdit() {
  editing = false;
  render(shape);
  element(`edit-${chosen}`).focus();
}

function choose(index) {
  if (!shape.captions.length) return;
  chosen = Math.max(0, Math.min(shape.captions.length - 1, index));
  [...element("captions").children].forEach((item, at) => {
    if (at === chosen) item.setAttribute("aria-current", "true");
    else item.removeAttribute("aria-current");
  });
}

function step(by) {
  choose(chosen + by);
  element("captions").children[chosen]?.scrollIntoView({ block: "nearest" });
}

// What is shown

function render(texts) {
  const focused = document.activeElement?.id;
  shape = texts;
  element("title").textContent = `Review of ${session.dataset}, by ${session.reviewer}`;
  document.title = `${shape.item} – review of ${session.dataset}`;
  element("count").textContent =
    `${session.decided} of ${session.total} decided; shape ${shape.place + 1}`;
  element("bar").max = session.total;
  element("bar").value = session.decided;
  element("item").textContent = shape.item;
  const verdict = element("verdict");
  verdict.dataset.verdict = shape.verdict;
  verdict.textContent = { accept: "Accepted", reject: `Rejected, ${shape.reason}` }[shape.verdict] ?? "Not decided yet";
  element("facts").replaceChildren(...fact("Category", shape.category), ...fact("Size", sizes(shape.size_m)),
    ...fact("Parts", shape.parts.join(", ")), ...fact("License", shape.license));
  element("captions").replaceChildren(...shape.captions.map(captionItem));
  choose(chosen);
  element("cloud").setAttribute("aria-label", `Shape ${shape.item} as ${shape.points} points`);
  element("parts").disabled = !shape.parts.length;
  if (focused && focused !== document.activeElement?.id) element(focused)?.focus();
}

function captionItem({ caption, state, text }, index) {
  const item = make("li", { className: state });
  item.addEventListener("focusin", () => choose(index));
  if (editing && index === chosen) {
    item.classList.add("editing");
    item.append(editor(text || caption, index));
    return item;
  }
  const shown = make("p", { id: `caption-${index}`, className: "caption" });
  shown.append(make(state === "drop" ? "del" : "bdi", { textContent: state === "edit" ? text : caption }));
  item.append(shown);
  if (state === "edit") item.append(make("p", { className: "was", textContent: `Changed; it was: ${caption}` }));
  if (state === "drop") item.append(make("p", { className: "was", textContent: "Dropped" }));
  const tools = make("div", { className: "tools" });
  const change = make("button", { type: "button", id: `edit-${index}`, textContent: "Edit" });
  const drop = make("button", {
    type: "button", id: `drop-${index}`, textContent: { keep: "Drop", drop: "Keep", edit: "Keep as it was" }[state],
  });
  for (const button of [change, drop]) button.setAttribute("aria-describedby", shown.id);
  change.addEventListener("click", () => edit(index));
  drop.addEventListener("click", () => dropOrKeep(index));
  tools.append(change, drop);
  item.append(tools);
  return item;
}

function editor(text, index) {
  const form = make("form", {});
  const field = make("textarea", { id: "field", value: text, rows: 3, maxLength: session.longest_caption });
  const tools = make("div", { className: "tools" });
  const keep = make("button", { type: "submit", textContent: "Save " });
  const cancel = make("button", { type: "button", textContent: "Cancel " });
  keep.append(make("kbd", { textContent: "Enter" }));
  cancel.append(make("kbd", { textContent: "Esc" }));
  cancel.addEventListener("click", cancelEdit);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    save(index, field.value);
  });
  field.addEventListener("keydown", (event) => {
    if (event.isComposing) return;
    if (event.key === "Enter") {
      event.preventDefault();
      form.requestSubmit();
    } else if (event.key === "Escape") cancelEdit();
  });
  tools.append(keep, cancel);
  form.append(make("label", { htmlFor: "field", textContent: `Caption ${index + 1}` }), field, tools);
  return form;
}

function fact(name, value) {
  return value ? [make("dt", { textContent: name }), make("dd", { textContent: value })] : [];
}

function sizes(extents) {
  const longest = Math.max(...extents);
  const [unit, factor] = longest < 0.01 ? ["mm", 1000] : longest < 1 ? ["cm", 100] : ["m", 1];
  return `${extents.map((extent) => Number((extent * factor).toPrecision(3))).join(" × ")} ${unit}`;
}

function make(tag, properties) {
  return Object.assign(document.createElement(tag), properties);
}

function say(text) {
  element("status").textContent = text;
}

const where = () => `Shape ${shape.place + 1} of ${session.total}: ${shape.item}`;
const words = (action) => action.replace("_", " ");
const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1);

// Controls

function pause() {
  cloud.set({ turning: !cloud.turning });
  showPause();
}

function showPause() {
  element("pause").firstChild.textContent = cloud.turning ? "Pause " : "Turn ";
}

function colorParts() {
  if (element("parts").disabled) return;
  cloud.set({ byPart: !cloud.byPart });
  element("parts").setAttribute("aria-pressed", String(cloud.byPart));
}

function askWhy() {
  if (busy) return;
  element("more").value = "";
  element("reasons").querySelector("input").checked = true;
  element("why").showModal();
  element("reasons").querySelector("input").focus();
}

const BUTTONS = {
  accept, reject: askWhy, undo, previous: () => move(-1), next: () => move(1), pause, parts: colorParts,
  larger: () => cloud.zoom(1.25), smaller: () => cloud.zoom(0.8), reset: () => cloud.reset(),
};
const KEYS = {
  a: accept, r: askWhy, u: undo, e: () => edit(chosen), d: () => dropOrKeep(chosen),
  ArrowUp: () => step(-1), ArrowDown: () => step(1),
  ArrowLeft: BUTTONS.previous, ArrowRight: BUTTONS.next,
  " ": pause, c: colorParts, "+": BUTTONS.larger, "=": BUTTONS.larger, "-": BUTTONS.smaller, 0: BUTTONS.reset,
};
const TURNS = { ArrowUp: [0, 0.1], ArrowDown: [0, -0.1], ArrowLeft: [-0.1, 0], ArrowRight: [0.1, 0] };
const ONCE = new Set(["a", "r", "u", "e", "d", "c", " "]); // a key that is held down does these once

function listen() {
  for (const [id, action] of Object.entries(BUTTONS)) element(id).addEventListener("click", action);
  document.addEventListener("keydown", (event) => {
    const target = event.target;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || element("why").open) return;
    if (target.matches("input, textarea") || (key === " " && target.matches("button"))) return;
    const turn = target.id === "cloud" && TURNS[key];
    if (turn) cloud.turn(...turn);
    else if (element("keys").checked && KEYS[key]) {
      if (!event.repeat || !ONCE.has(key)) KEYS[key]();
    } else return;
    event.preventDefault();
  });
  const why = element("why");
  why.querySelector("form").addEventListener("submit", (event) => {
    event.preventDefault();
    const more = element("more").value.trim();
    why.close();
    reject(`${why.querySelector("input:checked").value}: ${more}`);
  });
  element("not-why").addEventListener("click", () => why.close());
  why.addEventListener("keydown", (event) => {
    if (event.target.id === "more") return;
    const choice = element("reasons").querySelectorAll("input")[Number(event.key) - 1];
    if (choice && /^[1-9]$/.test(event.key)) {
      choice.checked = true;
      choice.focus();
    }
    if (event.key === "Enter" && event.target.matches("input")) {
      event.preventDefault();
      why.querySelector("form").requestSubmit();
    }
  });
}

async function begin() {
  session = await (await ask("api/session")).json();
  element("file").textContent = session.file;
  element("more").maxLength = session.longest_reason - 60;
  element("reasons").append(...session.reasons.map((reason, index) => {
    const label = make("label", {});
    label.append(make("input", { type: "radio", name: "reason", value: reason }),
      make("kbd", { textContent: index + 1 }), ` ${reason}`);
    return label;
  }));
  await open(session.next ?? 0);
  say(session.next === null ? `All ${session.total} shapes of the sample are decided.` : where());
}

showPause();
listen();
busy = false;
alone(begin);
