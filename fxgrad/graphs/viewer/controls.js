// What the buttons, the search box, and clicks in the picture do.

function connect(view) {
  const actions = {
    "zoom-in": () => view.camera.zoom(1.4),
    "zoom-out": () => view.camera.zoom(1 / 1.4),
    fit: () => view.camera.fit(),
    expand: () => view.showAll(true),
    collapse: () => view.showAll(false),
    next: () => view.step(1),
    previous: () => view.step(-1),
  };
  for (const button of view.container.querySelectorAll("button[data-do]")) {
    button.addEventListener("click", actions[button.dataset.do]);
  }
  connectSearch(view);
  connectPicture(view);
}

function connectSearch(view) {
  const box = view.part("input[type='search']");
  box.addEventListener("input", () => view.find(box.value));
  box.addEventListener("keydown", (event) => {
    if (event.key === "Enter") view.step(event.shiftKey ? -1 : 1);
  });
}

function connectPicture(view) {
  const picture = view.part(".picture");
  const keyAt = (event) => event.target.closest("[data-key]")?.dataset.key ?? null;
  picture.addEventListener("click", (event) => choose(view, keyAt(event)));
  picture.addEventListener("pointerover", (event) => view.drawing?.hover(keyAt(event)));
  picture.addEventListener("pointerleave", () => view.drawing?.hover(null));
  picture.addEventListener("keydown", (event) => {
    if (event.key === "Escape") view.select(null);
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    choose(view, keyAt(event));
  });
  picture.addEventListener("focusin", (event) => lookAtFocused(view, event.target));
}

function choose(view, key) {
  if (!view.drawing) return;
  if (key !== null && isGroup(key)) view.toggle(key);
  else view.select(key);
  // The panel takes a part of the window.
  if (key !== null && !isGroup(key)) view.camera.keepInSight(view.drawing.layout.boxes.get(key));
}

/** Brings a group that the Tab key has reached into sight. */
function lookAtFocused(view, element) {
  const place = view.drawing?.layout.boxes.get(element.dataset.key);
  if (place && element.matches(":focus-visible")) view.camera.lookAt(headOf(place));
}

function mountAll() {
  for (const container of document.querySelectorAll(".fxgraph[data-state='waiting']")) {
    new View(container);
  }
}

if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", mountAll);
else mountAll();
