const data = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const count = data.entries.length;
const rows = [...document.querySelectorAll("[data-entry]")];
const sliders = rows.map((row) => row.querySelector("input"));
let strengths = [...data.strengths];
let by = data.blocks.length ? "blocks" : "kinds";
let chosen = null;

// ‖w Δ‖ of one entry, ‖Σ w Δ‖ of all, and what that would be with nothing in common.
const size = (group, at) => Math.abs(strengths[at]) * Math.sqrt(Math.max(group.gram[at][at], 0));
function together(group, at = strengths) {
  let energy = 0;
  for (let i = 0; i < count; i += 1) {
    for (let j = 0; j < count; j += 1) energy += at[i] * at[j] * group.gram[i][j];
  }
  return Math.sqrt(Math.max(energy, 0));
}
const apart = (group) => Math.hypot(...strengths.map((_, at) => size(group, at)));
function cosine(group, i, j) {
  const product = Math.sqrt(group.gram[i][i] * group.gram[j][j]);
  const sign = Math.sign(strengths[i] * strengths[j]) || 1;
  return product > 0 ? (sign * group.gram[i][j]) / product : null;
}

// Without a base, sizes are parts of the strongest entry as it was given.
const strongest = Math.max(...strengths.map((_, at) => size(data.all, at))) || 1;
// A text encoder beside the base has weights of sizes that are not known.
const whole = (group) => (data.all.base ? Math.sqrt(group.base || NaN) : strongest);
const percent = (part) => (Number.isFinite(part) ? `${fixed(100 * part, 2)} %` : "–");
function signed(value) {
  const digits = fixed(Math.abs(value), 3);
  return Number(digits) ? `${value < 0 ? "−" : "+"}${digits}` : digits;
}
// Scales stay as they are while a slider moves, so that what is seen can be compared.
let most = {};

function scale() {
  const largest = (group) => Math.max(together(group), ...strengths.map((_, at) => size(group, at))) / whole(group) || 0;
  most = { all: largest(data.all) || 1 };
  for (const name of ["blocks", "kinds"]) most[name] = Math.max(0, ...data[name].map(largest)) || 1;
}

function paint(cell, value, tint) {
  cell.style.setProperty("--v", Math.sqrt(Math.min(Math.max(value || 0, 0), 1)).toFixed(3));
  cell.style.setProperty("--tint", `var(--${tint})`);
}

function label(text, quiet) {
  const one = document.createElement("span");
  one.className = quiet ? "label quiet" : "label";
  one.textContent = text;
  return one;
}

function build() {
  const groups = data[by], map = $("map");
  map.replaceChildren();
  for (const [number, name] of [...data.entries.map((one) => one.label), "together", "sum"].entries()) {
    if (number >= count && count === 1) continue;
    map.append(label(name === "sum" ? "larger or smaller" : name, number > count));
    const strip = document.createElement("div");
    strip.className = "cells";
    groups.forEach((_, at) => {
      const cell = document.createElement("i");
      cell.dataset.at = at;
      strip.append(cell);
    });
    map.append(strip);
  }
  map.append(label("", true));
  const ruler = document.createElement("div");
  ruler.className = by === "blocks" ? "cells ruler" : "cells ruler words";
  ruler.append(...groups.map((group, at) => {
    const mark = document.createElement("span");
    mark.textContent = by === "kinds" || at % 5 === 0 ? group.name : "";
    return mark;
  }));
  map.append(ruler);
}

function draw() {
  const groups = data[by];
  [...$("map").querySelectorAll(".cells:not(.ruler)")].forEach((strip, row) => {
    groups.forEach((group, at) => {
      const cell = strip.children[at];
      cell.classList.toggle("on", at === chosen);
      if (row < count) paint(cell, size(group, row) / whole(group) / most[by], "heat");
      else if (row === count) paint(cell, together(group) / whole(group) / most[by], "ink");
      else {
        const effect = apart(group) ? together(group) / apart(group) - 1 : 0;
        // Two equal changes in one direction make a sum that is larger by 41 %; the root is not wanted here.
        paint(cell, (effect / 0.41) ** 2, effect < 0 ? "less" : "more");
      }
    });
  });
  tell();
}

function tell() {
  const group = chosen === null ? null : data[by][chosen];
  if (!group) {
    $("detail").textContent = "Choose a column to read its figures.";
    return;
  }
  const parts = data.entries.map((one, at) => `${one.label} ${percent(size(group, at) / whole(group))}`);
  let text = `${by === "blocks" ? "Block " : ""}${group.name}: ${parts.join(", ")}`;
  if (count > 1) {
    const effect = apart(group) ? together(group) / apart(group) - 1 : 0;
    text += `; together ${percent(together(group) / whole(group))}`;
    text += Math.abs(effect) < 0.005 ? "." : `, ${Math.abs(100 * effect).toFixed(0)} % ${effect < 0 ? "smaller" : "larger"} than with nothing in common.`;
    let far = null;
    for (let i = 0; i < count; i += 1) {
      for (let j = i + 1; j < count; j += 1) {
        const value = cosine(group, i, j);
        if (value !== null && (far === null || Math.abs(value) > Math.abs(far[0]))) far = [value, i, j];
      }
    }
    if (far && Math.abs(far[0]) >= 0.005) text += ` Cosine of ${data.entries[far[1]].label} and ${data.entries[far[2]].label}: ${signed(far[0])}.`;
  }
  $("detail").textContent = text;
}

function tabulate() {
  const table = $("cosines");
  if (!table) return;
  const cell = (kind, text, scope) => {
    const one = document.createElement(kind);
    one.textContent = text;
    if (scope) one.scope = scope;
    return one;
  };
  const head = document.createElement("tr");
  head.append(cell("td", ""), ...data.entries.map((one) => cell("th", one.label, "col")));
  const body = data.entries.map((one, i) => {
    const line = document.createElement("tr");
    line.append(cell("th", one.label, "row"));
    data.entries.forEach((_, j) => {
      const value = i === j ? null : cosine(data.all, i, j);
      const shown = cell("td", value === null ? "·" : signed(value));
      if (value !== null) paint(shown, value * value, value < 0 ? "less" : "more");
      line.append(shown);
    });
    return line;
  });
  table.replaceChildren(head, ...body);
}

const text = () => data.entries.map((one, at) => `${one.before}${number(strengths[at])}${one.behind}`).join(" ");

function update() {
  const all = data.all, sum = together(all), sizes = strengths.map((_, at) => size(all, at));
  rows.forEach((row, at) => {
    row.querySelector(".strength").textContent = number(strengths[at]);
    // What changes the text encoder alone is no part of the whole.
    row.querySelector(".size").textContent = percent(all.gram[at][at] ? sizes[at] / whole(all) : NaN);
    row.querySelector(".meter span").style.width = `${Math.min(100, (100 * sizes[at]) / whole(all) / most.all)}%`;
  });
  const largest = Math.max(...sizes);
  $("size").textContent = percent(sum / whole(all));
  $("total").style.width = `${Math.min(100, (100 * sum) / whole(all) / most.all)}%`;
  $("words").textContent = count > 1 && largest
    ? fill("sum", { sum: fixed(sum / largest, 2), apart: fixed(apart(all) / largest, 2) })
    : "";
  $("stack").textContent = text();
  draw();
  tabulate();
  advise();
}

function set(values) {
  strengths = [...values];
  sliders.forEach((slider, at) => {
    // A proposal may lie beyond a slider's end.
    const reach = Math.max(Number(slider.max), Math.abs(values[at]));
    [slider.min, slider.max, slider.value] = [-reach, reach, values[at]];
  });
  scale();
  update();
}

function choose(at) {
  chosen = at === null ? null : Math.min(Math.max(at, 0), data[by].length - 1);
  draw();
}

function show(name) {
  by = name;
  chosen = null;
  document.querySelectorAll("[data-by]").forEach((one) => one.setAttribute("aria-pressed", String(one.dataset.by === by)));
  build();
  draw();
}

sliders.forEach((slider, at) => slider.addEventListener("input", () => {
  strengths[at] = Number(slider.value);
  update();
}));
sliders.forEach((slider) => slider.addEventListener("change", () => { scale(); update(); }));
document.querySelectorAll("[data-by]").forEach((one) => {
  one.disabled = !data[one.dataset.by].length;
  one.addEventListener("click", () => show(one.dataset.by));
});
$("map").addEventListener("pointerover", (event) => {
  if (event.target.dataset.at) choose(Number(event.target.dataset.at));
});
$("map").addEventListener("click", (event) => {
  if (event.target.dataset.at) choose(Number(event.target.dataset.at));
});
$("map").addEventListener("keydown", (event) => {
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (!step) return;
  event.preventDefault();
  choose(chosen === null ? 0 : chosen + step);
});
$("given").addEventListener("click", () => set(data.strengths));
$("balance")?.addEventListener("click", () => set(data.balanced));
$("copy").addEventListener("click", async () => {
  try {
    await navigator.clipboard.writeText($("stack").textContent);
    $("status").textContent = "Copied";
    $("copy").textContent = "Copied";
    setTimeout(() => { $("copy").textContent = "Copy"; }, 1500);
  } catch {
    getSelection().selectAllChildren($("stack"));
  }
});

scale();
show(by);
update();
