"use strict";
// Elements of the rating page, and the sizes of its pictures.

const NARROW = 640; // pixels, below which the frames of a strip stand under each other
const WIDEST = 360; // pixels, of what one of two sides shows

// --- elements; texts are always text, never markup

function byId(id) {
  return document.getElementById(id);
}

function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("aria-") || name === "role") made.setAttribute(name, value);
    else made[name] = value;
  }
  made.append(...children);
  return made;
}

function fill(...children) {
  const title = children[0];
  title.tabIndex = -1;
  byId("main").replaceChildren(...children);
  title.focus({ preventScroll: true }); // a screen reader begins with what is new
  window.scrollTo(0, 0);
}

// --- sizes: a picture's pixel is a whole number of the screen's, so that pixel art stays what it is

function pictures() {
  return Promise.all([...document.images].map((image) => image.decode().catch(() => {})));
}

function size() {
  pictures().then(() => {
    const crowded = window.innerWidth < NARROW && document.querySelector(".scale");
    const input = document.querySelector("main > figure > .parts");
    const high = window.innerHeight * (crowded ? (input ? 0.32 : 0.38) : 0.5);
    if (input) sizeGrid(input, 0.35 * high, 60);
    const left = input ? 0.65 * high : high;
    for (const grid of document.querySelectorAll(".beside .parts")) sizeGrid(grid, left, 120);
  });
}

function sizeGrid(grid, high, least) {
  const [first] = grid.querySelectorAll("img");
  const stacked = window.innerWidth < NARROW && grid.closest(".beside")?.children.length === 2;
  const number = grid.children.length;
  const square = grid.dataset.square === "true";
  const columns = square ? Math.ceil(Math.sqrt(number)) : stacked || !first ? 1 : number;
  const rows = Math.ceil(number / columns);
  grid.style.visibility = "visible"; // from when it has its size
  grid.style.gridTemplateColumns = `repeat(${columns}, auto)`;
  if (!first) return;
  const wide = Math.min(grid.parentElement.clientWidth, number > 1 ? 2 * WIDEST : WIDEST);
  const room = Math.min(
    (wide - 3 * (columns - 1)) / columns / first.naturalWidth,
    (Math.max(high, least) - 3 * (rows - 1)) / rows / first.naturalHeight,
  );
  const dense = window.devicePixelRatio || 1;
  const scale = room * dense >= 1 ? Math.floor(room * dense) / dense : room;
  for (const image of grid.querySelectorAll("img")) {
    image.style.width = `${Math.max(1, scale * image.naturalWidth)}px`;
    image.classList.toggle("smaller", scale * dense < 1);
  }
}

window.addEventListener("resize", size);
