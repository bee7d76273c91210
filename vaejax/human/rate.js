"use strict";
// The rating page: one trial after the other; every answer is kept in the browser, and at the end in a file.
// What there is to show is plain data, in the block #page. Nothing here knows what is what.

const page = JSON.parse(document.getElementById("page").textContent);
const STORE = `vaejax-rating-${page.sheet}`;

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
  const each = parts.map((part, i) => partOf(part, name, i, parts.length));
  const grid = element("div", { className: "parts" }, ...each);
  grid.dataset.square = trial.task === "diversity";
  return element("figure", {}, ...caption, grid);
}

function partOf(number, name, i, total) {
  const part = page.parts[number];
  if (part.text !== undefined) return element("blockquote", { textContent: part.text });
  const alt = `${name || "The"} picture${total > 1 ? ` ${i + 1} of ${total}` : ""}`;
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
  const done = state.answers.length;
  byId("title").hidden = false;
  byId("done").hidden = false;
  byId("bar").max = all;
  byId("bar").value = done;
  byId("count").textContent = shown ? `${here + 1} of ${all}` : `${done} of ${all} answered`;
}

// --- time: only while the page is to be seen, and from when the pictures are there

function start() {
  const trial = shown;
  clock = { since: null, spent: 0 };
  pictures().then(() => {
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

// --- the first and the last page

function text(of) {
  const paragraphs = of.split(/\n\s*\n/).map((part) => element("p", { textContent: part }));
  return element("div", { className: "reading" }, ...paragraphs);
}

function mainButton(id, label) {
  return element("button", { type: "button", className: "main", id }, label);
}

function welcome() {
  shown = null;
  const done = state.answers.length;
  const all = order().length;
  const label = done ? `Go on: ${done} of ${all} are answered` : `Start: ${all} questions`;
  const button = mainButton("start", label);
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
  const save = mainButton("save", "Save the answers");
  const anew = { type: "button", id: "again", hidden: true };
  const again = element("button", anew, "Another person rates on this device");
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
  const summary = element("summary", {}, "No file? Copy the answers as text");
  const otherwise = element("details", {}, summary, whole);
  fill(element("h1", {}, "That was all. Thank you!"), text(page.outro), save, again, otherwise);
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
  // a key that is held down answers once
  if (event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.tagName === "TEXTAREA" || byId("moves").hidden) return;
  const choice = shown?.choices.find((each) => each.key === event.key);
  const onward = event.key === "Enter" && event.target.tagName !== "BUTTON" && !byId("next").disabled;
  if (choice) choose(choice);
  else if (event.key === "Backspace") go(here - 1);
  else if (onward) go(here + 1);
  else return;
  event.preventDefault();
});

keep();
welcome();
