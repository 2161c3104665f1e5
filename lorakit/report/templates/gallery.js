const data = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const cards = [...document.querySelectorAll(".card")];
const byAnchor = new Map(data.map((one, index) => [one.id, index]));
const order = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });
const chosen = new Map();
let shown = data.map((_, index) => index);
let scrolled = 0;
let open = null;

// --- searching and sorting out

const facets = [...new Set(data.flatMap((one) => Object.keys(one.facets)))].map((name) => {
  const counts = new Map();
  for (const one of data) for (const value of new Set(one.facets[name])) counts.set(value, (counts.get(value) || 0) + 1);
  const values = [...counts.keys()].sort((a, b) => (name === "tag" && counts.get(b) - counts.get(a)) || order.compare(a, b));
  return { name, values: values.slice(0, 40) };
}).filter((facet) => facet.values.length > 1);

function fits(one, but) {
  const words = $("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  if (!words.every((word) => one.search.includes(word))) return false;
  return [...chosen].every(([name, values]) =>
    name === but || !values.size || one.facets[name].some((value) => values.has(value)));
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

function update() {
  const by = $("sort").value;
  shown = data.map((_, index) => index).filter((index) => fits(data[index]));
  if (by !== "given") shown.sort((a, b) => (by === "name" ? 0 : data[b].sort[by] - data[a].sort[by]) || order.compare(data[a].name, data[b].name));
  const visible = new Set(shown);
  cards.forEach((card, index) => { card.hidden = !visible.has(index); });
  $("cards").append(...shown.map((index) => cards[index]));
  for (const facet of facets) {
    const rest = data.filter((one) => fits(one, facet.name));
    for (const { value, label, count } of facet.labels) {
      const number = rest.filter((one) => one.facets[facet.name].includes(value)).length;
      count.textContent = number;
      label.classList.toggle("empty", !number);
    }
  }
  const active = [...chosen.values()].reduce((sum, values) => sum + values.size, 0);
  $("active").textContent = active ? ` (${active})` : "";
  $("clear").hidden = !active && !$("search").value;
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
$("sort").addEventListener("change", update);
$("clear").addEventListener("click", clearAll);
$("none-clear").addEventListener("click", clearAll);
$("filters").addEventListener("click", () => {
  $("filters").setAttribute("aria-expanded", String($("facets").classList.toggle("open")));
});
window.addEventListener("hashchange", route);
buildFacets();
update();
route();
