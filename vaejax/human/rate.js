"use strict";
// The rating page: one trial after the other; every answer is kept in the browser, and at the end in a file.
// What there is to show is plain data, in the block #page. Nothing here knows what is what.

const page = JSON.parse(document.getElementById("page").textContent);
const STORE = `vaejax-rating-${page.sheet}`;
const NARROW = 640; // pixels, below which the frames of a strip stand under each other
const WIDEST = 360; // pixels, of what one of two sides shows

let state = restored() ?? fresh(); // all that is kept, and what the file at the end holds
let here = 0; // the place in this rater's order, of the trial that is shown
let shown = null; // the trial on the screen; null: a page of text
let clock = { since: null, spent: 0 }; // milliseconds that the trial was to be seen

// --- what is kept

function fresh() {
  const [form, ...bytes] = crypto.getRandomValues(new Uint32Array(3));
  const rater = bytes.map((word) => word.toString(16).padStart(8, "0")).join("");
  return { sheet: page.sheet, rater, form: form % page.forms.length, answers: [] };
}

function restored() {
  try {
    const kept = JSON.parse(localStorage.getItem(STORE));
    return kept?.sheet === page.sheet && Array.isArray(kept.answers) ? kept : null;
  } catch {
    return null;
  }
}

function keep() {
  try {
    localStorage.setItem(STORE, JSON.stringify(state));
  } catch {
    byId("warning").hidden = false;
  }
}

function order() {
  return page.forms[state.form].order;
}

function answerOf(trial) {
  return state.answers.find((answer) => answer.trial === trial);
}

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

// --- a trial

function choicesOf(trial) {
  if (trial.task === "likert") {
    return page.scale.map((label, i) => ({ value: i + 1, label, key: String(i + 1) }));
  }
  if (trial.task === "turing") {
    return [
      { value: "real", label: "Real", key: "1" },
      { value: "generated", label: "Made by a computer", key: "2" },
    ];
  }
  const tie = { value: "tie", label: "No difference", key: "ArrowDown", sign: "\u2193" };
  return [
    { value: "left", label: "Left", key: "ArrowLeft", sign: "\u2190" },
    ...(page.ties ? [tie] : []),
    { value: "right", label: "Right", key: "ArrowRight", sign: "\u2192" },
  ];
}

function show(place) {
  here = place;
  const number = order()[place];
  const trial = page.trials[number];
  const sides = page.forms[state.form].swapped[number] ? [...trial.shown].reverse() : trial.shown;
  const names = sides.length === 2 ? ["Left", "Right"] : [""];
  shown = { number, choices: choicesOf(trial) };
  const beside = trial.reference.length ? [figure(trial.reference, "Input", trial)] : [];
  fill(
    element("h2", { textContent: trial.question }),
    ...beside,
    element("div", { className: "beside" }, ...sides.map((parts, i) => figure(parts, names[i], trial))),
    choiceButtons(trial),
  );
  byId("moves").hidden = false;
  byId("back").disabled = place === 0;
  byId("next").disabled = !answerOf(number);
  progress();
  size();
  start();
}

function figure(parts, name, trial) {
  const caption = name ? [element("figcaption", { textContent: name })] : [];
  const grid = element("div", { className: "parts" }, ...parts.map((part, i) => partOf(part, name, i, parts)));
  grid.dataset.square = trial.task === "diversity";
  return element("figure", {}, ...caption, grid);
}

function partOf(number, name, i, parts) {
  const part = page.parts[number];
  if (part.text !== undefined) return element("blockquote", { textContent: part.text });
  const alt = `${name || "The"} picture${parts.length > 1 ? ` ${i + 1} of ${parts.length}` : ""}`;
  return element("img", { alt, src: `data:image/png;base64,${part.png}`, draggable: false });
}

function choiceButtons(trial) {
  const before = answerOf(shown.number)?.answer;
  const buttons = shown.choices.map((choice) => {
    const key = element("kbd", { textContent: choice.sign ?? choice.key, "aria-hidden": "true" });
    const pressed = { type: "button", "aria-pressed": String(choice.value === before) };
    const button = element("button", pressed, key, ` ${choice.label}`);
    button.dataset.value = choice.value;
    button.addEventListener("click", () => choose(choice));
    return button;
  });
  const className = trial.task === "likert" ? "choices scale" : "choices";
  return element("div", { className, role: "group", "aria-label": trial.question }, ...buttons);
}

function choose(choice) {
  if (clock.since === null) return; // the pictures are not there yet
  const seconds = Math.round(spent()) / 1000;
  const before = answerOf(shown.number);
  if (before) {
    before.seconds = Math.round(1000 * (before.seconds + seconds)) / 1000;
    if (before.answer !== choice.value) before.changes += 1;
    before.answer = choice.value;
  } else {
    state.answers.push({ trial: shown.number, answer: choice.value, seconds, changes: 0 });
  }
  keep();
  go(here + 1);
}

function go(place) {
  if (place < 0) return;
  if (place < order().length) show(place);
  else end();
}

function progress() {
  const all = order().length;
  byId("title").hidden = false;
  const done = state.answers.length;
  byId("done").hidden = false;
  byId("bar").max = all;
  byId("bar").value = done;
  byId("count").textContent = shown ? `${here + 1} of ${all}` : `${done} of ${all} answered`;
}

// --- time: only while the page is to be seen, and from when the pictures are there

function start() {
  const trial = shown;
  clock = { since: null, spent: 0 };
  const pictures = [...document.images].map((image) => image.decode().catch(() => {}));
  Promise.all(pictures).then(() => {
    if (shown === trial) clock.since = performance.now();
  });
}

function spent() {
  return clock.spent + (document.hidden ? 0 : performance.now() - clock.since);
}

document.addEventListener("visibilitychange", () => {
  if (!shown || clock.since === null) return;
  if (document.hidden) clock.spent += performance.now() - clock.since;
  else clock.since = performance.now();
});

// --- sizes: a picture's pixel is a whole number of the screen's, so that pixel art stays what it is

function size() {
  const trial = shown;
  if (!trial) return;
  const images = [...document.images];
  Promise.all(images.map((image) => image.decode().catch(() => {}))).then(() => {
    if (shown !== trial) return;
    const crowded = window.innerWidth < NARROW && document.querySelector(".scale");
    const input = document.querySelector("main > figure > .parts");
    const high = window.innerHeight * (crowded ? (input ? 0.32 : 0.38) : 0.5);
    if (input) sizeGrid(input, 0.35 * high, 60);
    for (const grid of document.querySelectorAll(".beside .parts")) sizeGrid(grid, input ? 0.65 * high : high, 120);
  });
}

function sizeGrid(grid, high, least) {
  const [first] = grid.querySelectorAll("img");
  const stacked = window.innerWidth < NARROW && grid.closest(".beside")?.children.length === 2;
  const number = grid.children.length;
  const square = grid.dataset.square === "true";
  const columns = square ? Math.ceil(Math.sqrt(number)) : stacked || !first ? 1 : number;
  const rows = Math.ceil(number / columns);
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

// --- the first and the last page

function text(of) {
  const paragraphs = of.split(/\n\s*\n/).map((part) => element("p", { textContent: part }));
  return element("div", { className: "reading" }, ...paragraphs);
}

function welcome() {
  shown = null;
  const done = state.answers.length;
  const label = done ? `Go on: ${done} of ${order().length} are answered` : `Start: ${order().length} questions`;
  const button = element("button", { type: "button", className: "main", id: "start", textContent: label });
  button.addEventListener("click", () => go(done));
  const keys = "With a keyboard: press the sign on an answer, Backspace to go back. Answers can be changed.";
  fill(element("h1", { textContent: page.title }), text(page.intro), text(keys), button);
  byId("title").hidden = true;
  byId("moves").hidden = true;
}

function end() {
  shown = null;
  here = order().length;
  const file = JSON.stringify(state, null, 1);
  const save = element("button", { type: "button", className: "main", id: "save", textContent: "Save the answers" });
  const again = element("button", { type: "button", id: "again", hidden: true, textContent: "Another person rates on this device" });
  const whole = element("textarea", { readOnly: true, value: file, "aria-label": "The answers as text" });
  save.addEventListener("click", () => {
    download(file);
    again.hidden = false;
  });
  again.addEventListener("click", () => {
    state = fresh();
    keep();
    byId("done").hidden = true;
    welcome();
  });
  const otherwise = element("details", {}, element("summary", { textContent: "No file? Copy the answers as text" }), whole);
  fill(element("h1", { textContent: "That was all. Thank you!" }), text(page.outro), save, again, otherwise);
  byId("moves").hidden = false;
  byId("back").disabled = false;
  byId("next").disabled = true;
  progress();
}

function download(file) {
  const address = URL.createObjectURL(new Blob([file], { type: "application/json" }));
  element("a", { href: address, download: `answers-${state.rater}.json` }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10000);
}

// --- keys

byId("back").addEventListener("click", () => go(here - 1));
byId("next").addEventListener("click", () => go(here + 1));
document.addEventListener("keydown", (event) => {
  if (event.repeat || event.ctrlKey || event.metaKey || event.altKey) return; // a key held down answers once
  if (event.target.tagName === "TEXTAREA" || byId("moves").hidden) return;
  const choice = shown?.choices.find((each) => each.key === event.key);
  if (choice) choose(choice);
  else if (event.key === "Backspace") go(here - 1);
  else if (event.key === "Enter" && event.target.tagName !== "BUTTON" && !byId("next").disabled) go(here + 1);
  else return;
  event.preventDefault();
});

keep();
welcome();
