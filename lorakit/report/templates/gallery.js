const data = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const cards = [...document.querySelectorAll(".card")];
const byAnchor = new Map(data.map((one, index) => [one.id, index]));
const order = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });
const chosen = new Map();
let sorted = [];
let shown = [];
let scrolled = 0;
let open = null;

// --- searching and sorting out

const facets = [...new Set(data.flatMap((one) => Object.keys(one.facets)))].map((name) => {
  const counts = new Map();
  for (const one of data) for (const value of new Set(one.facets[name])) counts.set(value, (counts.get(value) || 0) + 1);
  const values = [...counts.keys()].sort((a, b) => (name === "tag" && counts.get(b) - counts.get(a)) || order.compare(a, b));
  return { name, values: values.slice(0, 40) };
}).filter((facet) => facet.values.length > 1);

// Which of the chosen facets an adapter fails, and whether the words that are searched are in it.
function judged(one, words) {
  if (!words.every((word) => one.search.includes(word))) return null;
  return active().filter(([name, values]) => !one.facets[name].some((value) => values.has(value))).map(([name]) => name);
}

function active() {
  return [...chosen].filter(([, values]) => values.size);
}

function buildFacets() {
  for (const facet of facets) {
    const group = document.createElement("fieldset");
    group.append(Object.assign(document.createElement("legend"), { textContent: facet.name[0].toUpperCase() + facet.name.slice(1) }));
    facet.labels = facet.values.map((value) => {
      const label = document.createElement("label");
      const box = Object.assign(document.createElement("input"), { type: "checkbox" });
      box.dataset.facet = facet.name;
      box.value = value;
      box.addEventListener("change", () => {
        const values = chosen.get(facet.name) || new Set();
        if (box.checked) values.add(value); else values.delete(value);
        chosen.set(facet.name, values);
        update();
      });
      const count = document.createElement("small");
      label.append(box, Object.assign(document.createElement("span"), { textContent: value }), count);
      group.append(label);
      return { value, label, box, count };
    });
    $("facets").append(group);
  }
}

function sortCards() {
  const by = $("sort").value;
  sorted = data.map((_, index) => index);
  if (by !== "given") sorted.sort((a, b) => (by === "name" ? 0 : data[b].sort[by] - data[a].sort[by]) || order.compare(data[a].name, data[b].name));
  $("cards").append(...sorted.map((index) => cards[index]));
  update();
}

function update() {
  const words = $("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  const failed = data.map((one) => judged(one, words));
  shown = sorted.filter((index) => failed[index]?.length === 0);
  cards.forEach((card, index) => { card.hidden = failed[index]?.length !== 0; });
  for (const facet of facets) {
    // What could be chosen here, among what fits everything else.
    const counts = new Map();
    data.forEach((one, index) => {
      if (failed[index] === null || failed[index].some((name) => name !== facet.name)) return;
      for (const value of one.facets[facet.name]) counts.set(value, (counts.get(value) || 0) + 1);
    });
    for (const { value, label, count } of facet.labels) {
      count.textContent = counts.get(value) || 0;
      label.classList.toggle("empty", !counts.has(value));
    }
  }
  const number = active().reduce((sum, [, values]) => sum + values.size, 0);
  $("active").textContent = number ? ` (${number})` : "";
  $("clear").hidden = !number && !$("search").value;
  $("none").hidden = shown.length > 0;
  $("count").textContent = shown.length === data.length ? `${data.length} shown` : `${shown.length} of ${data.length}`;
}

function clearAll() {
  chosen.clear();
  $("search").value = "";
  for (const facet of facets) for (const { box } of facet.labels) box.checked = false;
  update();
}

// --- one adapter

function route() {
  const index = byAnchor.get(decodeURIComponent(location.hash.slice(1)));
  const before = open;
  if (open === null && index !== undefined) scrolled = window.scrollY;
  open = index === undefined ? null : index;
  $("gallery").hidden = open !== null;
  $("page").hidden = open === null;
  $("page").replaceChildren();
  if (open === null) {
    if (before !== null) {
      window.scrollTo(0, scrolled);
      cards[before].querySelector("a").focus({ preventScroll: true });
    }
    return;
  }
  $("page").append($(`t${open}`).content.cloneNode(true));
  for (const link of document.querySelectorAll("#page [data-step]")) {
    const next = neighbour(Number(link.dataset.step));
    link.hidden = next === undefined;
    if (next !== undefined) link.href = `#${data[next].id}`;
  }
  window.scrollTo(0, 0);
  $("page").focus({ preventScroll: true });
}

function neighbour(step) {
  return shown[shown.indexOf(open) + step];
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    $("status").textContent = `Copied: ${text}`;
    return true;
  } catch {
    return false;
  }
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("button[data-copy], button[data-text]");
  if (!button) return;
  const source = button.dataset.copy ? $(button.dataset.copy) : button;
  if (!(await copy(button.dataset.text ?? source.textContent))) {
    window.getSelection().selectAllChildren(source);
  } else if (button.dataset.copy) {
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 1200);
  }
});
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (open !== null) {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (event.key === "Escape") location.hash = "";
    else if (step && neighbour(step) !== undefined) location.hash = data[neighbour(step)].id;
  } else if (event.key === "/" && document.activeElement !== $("search")) {
    event.preventDefault();
    $("search").focus();
  }
});
$("search").addEventListener("input", update);
$("sort").addEventListener("change", sortCards);
$("clear").addEventListener("click", clearAll);
$("none-clear").addEventListener("click", clearAll);
$("filters").addEventListener("click", () => {
  $("filters").setAttribute("aria-expanded", String($("facets").classList.toggle("open")));
});
window.addEventListener("hashchange", route);
buildFacets();
sortCards();
route();
