const data = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const pairs = [...document.querySelectorAll(".pair")];
const buttons = [...document.querySelectorAll("[data-vote]")];
const votes = new Map();
let at = 0;

// Votes outlast a reload, where the browser lets a file keep anything.
function remember() {
  try {
    localStorage.setItem(data.name, JSON.stringify([...votes]));
  } catch { /* A private window keeps nothing; the votes are on the page. */ }
}

function recall() {
  try {
    for (const [pair, vote] of JSON.parse(localStorage.getItem(data.name) || "[]")) {
      if (pair >= 1 && pair <= pairs.length && ["a", "b", "same"].includes(vote)) votes.set(pair, vote);
    }
  } catch { /* As above. */ }
}

function show(number) {
  at = Math.min(Math.max(number, 0), pairs.length - 1);
  pairs.forEach((pair, index) => { pair.hidden = index !== at; });
  const { prompt, seed, width, height } = data.pairs[at];
  $("at").textContent = `Pair ${at + 1} of ${pairs.length}`;
  $("prompt").textContent = `${prompt || "(no prompt)"} · seed ${seed}`;
  root.style.setProperty("--ratio", width / height);
  $("before").disabled = at === 0;
  $("after").disabled = at === pairs.length - 1;
  root.classList.add("shows-a");
  paint();
}

function vote(choice) {
  votes.set(at + 1, choice);
  remember();
  paint();
  const next = pairs.findIndex((pair, index) => index > at && !votes.has(index + 1));
  $("status").textContent = `Pair ${at + 1}: ${choice}.`;
  if (next >= 0) show(next);
}

function paint() {
  for (const button of buttons) {
    button.setAttribute("aria-pressed", String(votes.get(at + 1) === button.dataset.vote));
  }
  const given = [...votes].sort(([one], [other]) => one - other);
  const words = given.map(([pair, choice]) => `${pair}=${choice}`);
  $("count").textContent = `${votes.size} of ${pairs.length} pairs voted.`;
  $("command").textContent = ["lorakit ab vote", data.name, ...words].join(" ");
  const document_ = { schema: data.schema, comparison: data.name, votes: Object.fromEntries(given) };
  $("file").href = `data:application/json,${encodeURIComponent(JSON.stringify(document_))}`;
}

function together(on) {
  root.classList.toggle("together", on);
  root.classList.add("shows-a");
  $("one").setAttribute("aria-pressed", String(on));
}

async function copy() {
  let done = true;
  try {
    await navigator.clipboard.writeText($("command").textContent);
  } catch {
    const range = document.createRange();
    range.selectNodeContents($("command"));
    getSelection().removeAllRanges();
    getSelection().addRange(range);
    done = document.execCommand("copy");
  }
  $("copy").textContent = done ? "Copied" : "Selected";
  setTimeout(() => { $("copy").textContent = "Copy"; }, 1500);
}

for (const view of document.querySelectorAll(".view")) {
  view.addEventListener("click", () => root.classList.contains("together") && root.classList.toggle("shows-a"));
}
for (const button of buttons) button.addEventListener("click", () => vote(button.dataset.vote));
$("before").addEventListener("click", () => show(at - 1));
$("after").addEventListener("click", () => show(at + 1));
$("one").addEventListener("click", () => together(!root.classList.contains("together")));
$("copy").addEventListener("click", copy);

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const keys = {
    a: () => vote("a"), b: () => vote("b"), "=": () => vote("same"),
    ArrowLeft: () => show(at - 1), ArrowRight: () => show(at + 1),
  };
  if (event.key in keys) keys[event.key]();
  else if (event.key === " " && !event.target.matches("button, a, summary")) {
    if (!root.classList.contains("together")) together(true);
    else root.classList.toggle("shows-a");
  } else if (!zoomKey(event.key)) return;
  event.preventDefault();
});

recall();
setZoom(1, 0, 0);
show(pairs.findIndex((pair, index) => !votes.has(index + 1)));
