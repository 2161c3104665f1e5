// One zoom for all pictures: every .view shows the same part of its picture.
const root = document.documentElement;
const zoom = { z: 1, x: 0, y: 0, most: 16, changed: () => {} };
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

function setZoom(z, x, y) {
  zoom.z = clamp(z, 1, zoom.most);
  const room = 1 - 1 / zoom.z;
  zoom.x = clamp(x, 0, room);
  zoom.y = clamp(y, 0, room);
  root.style.setProperty("--z", zoom.z);
  root.style.setProperty("--x", zoom.x);
  root.style.setProperty("--y", zoom.y);
  root.classList.toggle("zoomed", zoom.z > 1);
  for (const output of document.querySelectorAll("output.zoom")) {
    output.textContent = `${Math.round(zoom.z * 10) / 10}×`;
  }
  for (const button of document.querySelectorAll("[data-zoom]")) {
    button.disabled = button.dataset.zoom === "in" ? zoom.z === zoom.most : zoom.z === 1;
  }
  zoom.changed();
}

// Zoom by a factor so that the point (u, v) of the visible part, each from 0 to 1, stays where it is.
function zoomBy(factor, u = 0.5, v = 0.5) {
  const next = clamp(zoom.z * factor, 1, zoom.most);
  const shift = 1 / zoom.z - 1 / next;
  setZoom(next, zoom.x + u * shift, zoom.y + v * shift);
}

function within(view, event) {
  const box = view.getBoundingClientRect();
  return [clamp((event.clientX - box.left) / box.width, 0, 1), clamp((event.clientY - box.top) / box.height, 0, 1)];
}

const fingers = new Map();
let dragged = 0;

document.addEventListener("pointerdown", (event) => {
  const view = event.target.closest(".view");
  if (!view || event.button > 0) return;
  if (!fingers.size) dragged = 0;
  fingers.set(event.pointerId, { view, x: event.clientX, y: event.clientY });
});
document.addEventListener("pointermove", (event) => {
  const finger = fingers.get(event.pointerId);
  if (!finger) return;
  const box = finger.view.getBoundingClientRect();
  const [dx, dy] = [event.clientX - finger.x, event.clientY - finger.y];
  if (fingers.size === 2) {
    const other = [...fingers].find(([id]) => id !== event.pointerId)[1];
    const before = Math.hypot(finger.x - other.x, finger.y - other.y);
    const after = Math.hypot(event.clientX - other.x, event.clientY - other.y);
    const middle = { clientX: (event.clientX + other.x) / 2, clientY: (event.clientY + other.y) / 2 };
    if (before > 0) zoomBy(after / before, ...within(finger.view, middle));
    dragged = 10;
  } else if (zoom.z > 1) {
    dragged += Math.abs(dx) + Math.abs(dy);
    setZoom(zoom.z, zoom.x - dx / box.width / zoom.z, zoom.y - dy / box.height / zoom.z);
  }
  finger.x = event.clientX;
  finger.y = event.clientY;
});
for (const name of ["pointerup", "pointercancel"]) {
  document.addEventListener(name, (event) => fingers.delete(event.pointerId));
}
// A drag is no click.
document.addEventListener("click", (event) => {
  if (dragged > 5 && event.target.closest(".view")) {
    event.preventDefault();
    event.stopPropagation();
  }
  dragged = 0;
}, true);
document.addEventListener("wheel", (event) => {
  const view = event.target.closest(".view");
  if (!view || !(event.ctrlKey || event.metaKey)) return;
  event.preventDefault();
  zoomBy(Math.exp(-event.deltaY / 200), ...within(view, event));
}, { passive: false });

function zoomKey(key) {
  if (key === "+" || key === "=") zoomBy(1.5);
  else if (key === "-" || key === "−") zoomBy(1 / 1.5);
  else if (key === "0") setZoom(1, 0, 0);
  else return false;
  return true;
}

const zooms = { in: () => zoomBy(1.5), out: () => zoomBy(1 / 1.5), off: () => setZoom(1, 0, 0) };
for (const button of document.querySelectorAll("[data-zoom]")) {
  button.addEventListener("click", zooms[button.dataset.zoom]);
}
