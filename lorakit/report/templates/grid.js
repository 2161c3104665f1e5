const data = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const cells = [...document.querySelectorAll(".cell")];
const pages = [...document.querySelectorAll("section[data-page]")];
const tabs = [...document.querySelectorAll("[role=tab]")];
const dialog = $("dialog");
const chosen = { a: null, b: null, pinned: false };
let page = 0;
let focused = 0;

for (const image of document.querySelectorAll("img[data-twin]")) {
  image.src = cells[image.dataset.twin].querySelector("img").src;
}

// --- the grid

function at(column, row, onPage) {
  return (onPage * data.rows + row) * data.columns + column;
}

function place(number) {
  const column = number % data.columns;
  const row = Math.floor(number / data.columns) % data.rows;
  return { column, row, page: Math.floor(number / data.columns / data.rows) };
}

function moved(number, dx, dy) {
  const from = place(number);
  return at(clamp(from.column + dx, 0, data.columns - 1), clamp(from.row + dy, 0, data.rows - 1), from.page);
}

function focusCell(number, take = true) {
  cells[focused].tabIndex = -1;
  focused = number;
  cells[focused].tabIndex = 0;
  if (take) cells[focused].focus();
}

function showPage(number, take = false) {
  page = clamp(number, 0, pages.length - 1);
  pages.forEach((section, index) => { section.hidden = index !== page; });
  tabs.forEach((tab, index) => {
    tab.setAttribute("aria-selected", String(index === page));
    tab.tabIndex = index === page ? 0 : -1;
  });
  const { column, row } = place(focused);
  focusCell(at(column, row, page), take);
}

function choose(number) {
  if (number !== chosen.b) {
    if (!chosen.pinned && chosen.b !== null) chosen.a = chosen.b;
    if (number === chosen.a) chosen.a = null;
    chosen.b = number;
  }
  focusCell(number, false);
  paint();
}

function paint() {
  cells.forEach((cell, number) => {
    const [isA, isB] = [number === chosen.a, number === chosen.b];
    cell.classList.toggle("is-a", isA);
    cell.classList.toggle("is-b", isB);
    cell.setAttribute("aria-pressed", String(isA || isB));
    cell.querySelector(".badge").textContent = isA ? "A" : isB ? "B" : "";
  });
  $("compare").disabled = !comparable();
  $("pin").disabled = chosen.a === null;
  if (chosen.a === null) chosen.pinned = false;
  $("pin").setAttribute("aria-pressed", String(chosen.pinned));
  paintDetail();
}

function paintDetail() {
  const cell = data.cells[chosen.b];
  $("detail").classList.toggle("is-empty", !cell);
  if (!cell) return;
  $("detail-label").textContent = cell.label;
  $("detail-stack").textContent = cell.stack || "(no adapter)";
  $("detail-command").textContent = cell.command;
  $("detail-settings").replaceChildren(...Object.entries(cell.settings).flatMap(([name, value]) => {
    const [term, text] = [document.createElement("dt"), document.createElement("dd")];
    term.textContent = name;
    text.textContent = value;
    return [term, text];
  }));
}

function togglePin() {
  if (chosen.a === null) return;
  chosen.pinned = !chosen.pinned;
  paint();
}

async function copy(button) {
  const source = $(button.dataset.copy);
  let done = true;
  try {
    await navigator.clipboard.writeText(source.textContent);
  } catch {
    const range = document.createRange();
    range.selectNodeContents(source);
    getSelection().removeAllRanges();
    getSelection().addRange(range);
    done = document.execCommand("copy");
  }
  button.textContent = done ? "Copied" : "Selected";
  $("status").textContent = done ? "Copied." : "Selected; copy it with your keyboard.";
  setTimeout(() => { button.textContent = "Copy"; }, 1500);
}

// --- comparing

const compare = { mode: "flicker", showsB: false, timer: 0 };
const picture = (number) => (number === null ? null : cells[number].querySelector("img"));
const comparable = () => Boolean(picture(chosen.a) && picture(chosen.b));

function openCompare(mode) {
  if (!comparable()) return;
  compare.mode = mode || compare.mode;
  if (!dialog.open) dialog.showModal();
  paintCompare();
  sharpen();
}

function paintCompare() {
  stop();
  for (const button of dialog.querySelectorAll("[data-mode]")) {
    button.setAttribute("aria-pressed", String(button.dataset.mode === compare.mode));
  }
  for (const group of dialog.querySelectorAll("[data-for]")) {
    group.hidden = group.dataset.for !== compare.mode;
  }
  $("name-a").textContent = data.cells[chosen.a].label;
  $("name-b").textContent = data.cells[chosen.b].label;
  $("differs").textContent = differing();
  const { width, height } = data.cells[chosen.a];
  dialog.style.setProperty("--ratio", width / height);
  if (compare.mode === "difference") paintDifference();
  else {
    const [a, b] = [picture(chosen.a), picture(chosen.b)].map((image) => image.cloneNode());
    for (const image of [a, b]) image.setAttribute("draggable", "false");
    b.style.position = "absolute";
    b.style.inset = "0";
    $("frame").replaceChildren(a, b);
    compare.showsB = false;
    showSide();
  }
}

function showSide() {
  const b = $("frame").children[1];
  const both = compare.mode !== "flicker";
  if (b) {
    b.style.visibility = both || compare.showsB ? "visible" : "hidden";
    b.style.clipPath = "";
    // The edge belongs to the window, so it is taken back into the zoomed picture.
    const edge = (zoom.x + Number($("edge").value) / 100 / zoom.z) * 100;
    if (compare.mode === "swipe") b.style.clipPath = `inset(0 0 0 ${edge}%)`;
  }
  dialog.querySelector(".name-a").classList.toggle("shown", both || !compare.showsB);
  dialog.querySelector(".name-b").classList.toggle("shown", both || compare.showsB);
}

function flip() {
  if (compare.mode !== "flicker") return;
  compare.showsB = !compare.showsB;
  showSide();
}

function stop() {
  clearInterval(compare.timer);
  compare.timer = 0;
  $("play").setAttribute("aria-pressed", "false");
}

function play() {
  const running = compare.timer;
  stop();
  if (running) return;
  // Three times a second at most: faster flashing is harmful to some.
  compare.timer = setInterval(flip, 500 / Number($("speed").value));
  $("play").setAttribute("aria-pressed", "true");
}

function differing() {
  const [a, b] = [data.cells[chosen.a], data.cells[chosen.b]];
  const found = [];
  if (a.stack !== b.stack) found.push(`stack: ${a.stack || "none"} → ${b.stack || "none"}`);
  for (const name of Object.keys({ ...a.settings, ...b.settings })) {
    const [one, other] = [a.settings[name] ?? "none", b.settings[name] ?? "none"];
    if (one !== other) found.push(`${name}: ${one} → ${other}`);
  }
  return found.length ? `Differs in ${found.join("; ")}` : "Made from the same.";
}

function pixels(image, width, height) {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0, width, height);
  return context.getImageData(0, 0, width, height);
}

function paintDifference() {
  const [a, b] = [picture(chosen.a), picture(chosen.b)];
  const [width, height] = [a.naturalWidth, a.naturalHeight];
  const gain = Number($("gain").value);
  const [one, other] = [pixels(a, width, height), pixels(b, width, height)];
  let sum = 0;
  let touched = 0;
  for (let i = 0; i < one.data.length; i += 4) {
    let most = 0;
    for (let c = i; c < i + 3; c += 1) {
      const difference = Math.abs(one.data[c] - other.data[c]);
      sum += difference;
      most = Math.max(most, difference);
      one.data[c] = Math.min(255, difference * gain);
    }
    touched += most > 0;
  }
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  canvas.getContext("2d").putImageData(one, 0, 0);
  $("frame").replaceChildren(canvas);
  $("gain-out").textContent = `${gain}×`;
  showSide();
  const count = width * height;
  const scaled = b.naturalWidth === width && b.naturalHeight === height ? "" : " B was scaled to the size of A.";
  const share = ((100 * touched) / count).toFixed(1);
  const mean = (sum / count / 3).toFixed(2);
  $("differs").textContent = `${share} % of the pixels differ, by ${mean} of 255 on average over the picture. ${differing()}${scaled}`;
}

// --- what people do

function setSize(pixelsWide) {
  root.style.setProperty("--cell", `${pixelsWide}px`);
  $("size").value = pixelsWide;
  sharpen();
}

function sharpen() {
  const image = cells.map((cell) => cell.querySelector("img")).find(Boolean);
  const drawn = dialog.open ? $("frame").clientWidth : Number($("size").value);
  root.classList.toggle("pixels", Boolean(image) && zoom.z * drawn > 2 * Number(image.getAttribute("width")));
}

zoom.changed = () => {
  sharpen();
  if (dialog.open && compare.mode === "swipe") showSide();
};

cells.forEach((cell, number) => cell.addEventListener("click", () => choose(number)));
tabs.forEach((tab, number) => tab.addEventListener("click", () => showPage(number)));
for (const button of document.querySelectorAll("[data-copy]")) button.addEventListener("click", () => copy(button));
for (const button of document.querySelectorAll("[data-mode]")) {
  button.addEventListener("click", () => openCompare(button.dataset.mode));
}
$("size").addEventListener("input", (event) => setSize(Number(event.target.value)));
$("compare").addEventListener("click", () => openCompare());
$("pin").addEventListener("click", togglePin);
$("hide").addEventListener("click", () => { chosen.a = chosen.b = null; paint(); cells[focused].focus(); });
$("flip").addEventListener("click", () => { stop(); flip(); });
$("play").addEventListener("click", play);
$("speed").addEventListener("input", () => { if (compare.timer) { stop(); play(); } });
$("edge").addEventListener("input", showSide);
$("gain").addEventListener("input", paintDifference);
$("close").addEventListener("click", () => dialog.close());
dialog.addEventListener("close", () => { stop(); sharpen(); showPage(place(chosen.b).page); focusCell(chosen.b); });

const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const modes = { f: "flicker", s: "swipe", d: "difference" };

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input")) return;
  const onTab = event.target.matches("[role=tab]");
  const key = event.key;
  if (key in arrows) {
    const [dx, dy] = arrows[key];
    if (dialog.open) chooseNeighbour(dx, dy);
    else if (onTab && dx) { showPage(page + dx); tabs[page].focus(); }
    else if (document.activeElement.closest(".cell")) focusCell(moved(focused, dx, dy));
    else return;
  } else if (key === " " && dialog.open && !event.target.matches("button:not(#flip)")) { stop(); flip(); }
  else if (!dialog.open && (key === "[" || key === "]")) showPage(page + (key === "[" ? -1 : 1), true);
  else if (key === "p") togglePin();
  else if (key === "c") openCompare();
  else if (key in modes) openCompare(modes[key]);
  else if (!zoomKey(key)) return;
  event.preventDefault();
});

function chooseNeighbour(dx, dy) {
  const next = moved(chosen.b, dx, dy);
  if (next === chosen.a || !picture(next)) return;
  chosen.b = next;
  paint();
  paintCompare();
}

const side = document.querySelector("th.side");
const room = (document.querySelector(".scroll").clientWidth - (side ? side.offsetWidth : 0) - 24) / data.columns - 8;
const natural = Number(cells.map((cell) => cell.querySelector("img")).find(Boolean)?.getAttribute("width") ?? 256);
$("size").max = Math.max(256, natural);
setSize(Math.round(clamp(room, innerWidth < 600 ? 130 : 160, Math.max(natural, 200)) / 8) * 8);
setZoom(1, 0, 0);
showPage(0);
paint();
