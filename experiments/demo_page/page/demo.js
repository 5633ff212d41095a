// The page's frame: tabs, the address behind "#", messages. A tab is a module page/NAME.js that exports
//   mount(panel, shell): fills its panel when it is first opened and returns { shown(params), hidden() }, both optional;
//   params are the URLSearchParams of its part of the address, as in #search?q=oak+chair.
// shell has: page (what api/page says), go(tab, params), say(text), alert(error), clear().

import { get } from "./api.js";
import { element } from "./elements.js";

const status = document.getElementById("status"), alertLine = document.getElementById("alert");
const tabs = document.getElementById("tabs"), panels = document.getElementById("panels");
const opened = new Map();
let current = null, walking = null; // walking: the tab that arrow keys have come to, which keeps the focus

const shell = {
  page: null,
  /** Opens a tab with parameters, as an address that can be gone back to. */
  go(tab, params = {}) {
    const said = new URLSearchParams(params).toString(), hash = `#${tab}${said ? `?${said}` : ""}`;
    if (hash === location.hash) route();
    else location.hash = hash;
  },
  /** Says what was done, below the tabs. */
  say(text) {
    status.textContent = text;
    alertLine.textContent = "";
  },
  /** Says what went wrong; an aborted request is no fault. */
  alert(error) {
    if (error.name === "AbortError") return;
    status.textContent = "";
    alertLine.textContent = error.message ?? String(error);
    if (!(error instanceof Error)) return;
    console.warn(error);
  },
  clear() {
    shell.say("");
  },
};

async function start() {
  shell.page = await get("api/page");
  const { run, data, shapes } = shell.page;
  document.getElementById("about").textContent = `${shapes.toLocaleString("en")} shapes of ${data}, run ${run}`;
  document.title = `${run}: shapes by words`;
  for (const { name, title } of shell.page.tabs) {
    const tab = element("button", { type: "button", role: "tab", id: `tab-${name}`, "aria-controls": `panel-${name}`, "aria-selected": "false", tabindex: -1 }, title);
    tab.addEventListener("click", () => shell.go(name));
    tabs.append(tab);
    panels.append(element("section", { role: "tabpanel", id: `panel-${name}`, "aria-labelledby": `tab-${name}`, hidden: true }));
  }
  addEventListener("hashchange", route);
  await route();
}

/** What a tab's script returns once its panel is filled; one that cannot be loaded is tried anew. */
async function mounted(name) {
  try {
    const { mount } = await import(`./${name}.js`);
    return (await mount(document.getElementById(`panel-${name}`), shell)) ?? {};
  } catch (error) {
    opened.delete(name);
    throw error;
  }
}

async function route() {
  const here = location.hash, [asked, said = ""] = here.slice(1).split("?");
  const names = shell.page.tabs.map((tab) => tab.name), name = names.includes(asked) ? asked : names[0];
  for (const other of names) {
    document.getElementById(`panel-${other}`).hidden = other !== name;
    const tab = document.getElementById(`tab-${other}`);
    tab.setAttribute("aria-selected", other === name);
    tab.tabIndex = other === name ? 0 : -1;
  }
  if (name !== current) {
    shell.clear();
    opened.get(current)?.then((tab) => tab.hidden?.(), () => {});
  }
  current = name;
  try {
    if (!opened.has(name)) opened.set(name, mounted(name)); // a promise: several may ask before it is there
    const tab = await opened.get(name);
    if (name === current && location.hash === here) await tab.shown?.(new URLSearchParams(said));
  } catch (error) {
    shell.alert(error);
  }
  walking?.focus();
  walking = null;
}

tabs.addEventListener("keydown", (event) => {
  const all = [...tabs.children], here = all.indexOf(document.activeElement);
  const to = { ArrowRight: here + 1, ArrowLeft: here - 1, Home: 0, End: all.length - 1 }[event.key];
  if (to === undefined) return;
  event.preventDefault();
  const tab = all[(to + all.length) % all.length];
  walking = tab;
  tab.focus();
  tab.click();
});

start().catch((error) => shell.alert(error));
