// One view: a container with its record, put together from model, layout, picture and panel.
//
// What it is doing can be read on the container: data-state is "waiting", "working", "ready" or
// "failed"; data-selected the key of what is selected; data-matches how many things match.

class View {
  constructor(container) {
    this.container = container;
    this.record = gathered(JSON.parse(this.part("script[type='application/json']").textContent));
    this.model = new Model(this.record);
    this.search = new Search(this.record);
    this.engine = new Engine();
    this.drawing = null;
    this.selected = null;
    this.turn = 0;
    this.begun = false;
    this.camera = new Camera(this.part(".picture"), this.part(".scene"));
    this.camera.wheelIsOurs = () => this.#hasAttention();
    this.camera.zoomed = (scale) => this.drawing && nameGroups(this.drawing, scale);
    this.camera.moved = () => this.#sayWhere();
    this.panel = new Panel(this.part(".panel"), this.model, {
      go: (key) => this.visit(key),
      toggle: (key) => this.toggle(key),
      close: () => this.select(null),
    });
    fillLegend(this.part(".legend"), this.record);
    this.container.classList.toggle("flat", this.record.groups.length === 0);
    connect(this);
    new ResizeObserver(() => this.#begin()).observe(this.part(".picture"));
    this.refresh();
  }

  part(selector) {
    return this.container.querySelector(selector);
  }

  /** A wheel over a picture within a longer page scrolls the page until the picture is used. */
  #hasAttention() {
    const alone = this.container.classList.contains("alone") && window === window.top;
    return alone || this.container.contains(document.activeElement);
  }

  /** The first look, as soon as there is something to look at, and a window to see it in. */
  #begin() {
    if (this.begun || !this.drawing || !this.camera.window.width) return;
    this.begun = true;
    this.#lookAtStart();
  }

  #lookAtStart() {
    this.camera.begin(this.drawing.layout.boxes.get(this.model.firstBox));
  }

  /** Lays out what is seen and draws it; `still` is a box that keeps its place in the window. */
  async refresh(still = null) {
    const turn = ++this.turn;
    this.#say("working", `Laying out ${countInWords(this.model.boxes().length, "box")}…`);
    try {
      performance.mark("fxgraph-layout");
      const layout = await positions(this.model, this.engine, this.record.stage);
      if (turn !== this.turn) return;
      performance.measure("fxgraph layout", "fxgraph-layout");
      this.#draw(layout, still);
      this.#begin();
      this.#say("ready", "");
    } catch (error) {
      this.#say("failed", `The graph could not be laid out: ${error.message ?? error}`);
      throw error;
    }
  }

  #sayWhere() {
    this.part(".where").textContent = this.drawing ? whereInWords(this.drawing, this.camera) : "";
  }

  #say(state, words) {
    this.container.dataset.state = state;
    this.part(".progress").textContent = words;
  }

  #draw(layout, still) {
    performance.mark("fxgraph-draw");
    const focused = document.activeElement?.dataset?.key;
    const before = this.drawing?.layout.boxes.get(still);
    this.drawing = new Drawing(this.part(".scene"), this.model, layout, this.record.stage);
    this.camera.extent = { width: layout.width, height: layout.height };
    if (before && layout.boxes.has(still)) this.camera.holdStill(before, layout.boxes.get(still));
    if (focused) this.drawing.boxes.get(focused)?.focus({ preventScroll: true });
    this.drawing.match(this.search.matches);
    this.drawing.select(this.selected);
    nameGroups(this.drawing, this.camera.scale);
    this.#sayWhere();
    performance.measure("fxgraph draw", "fxgraph-draw");
  }

  select(key) {
    this.selected = key;
    if (key === null) delete this.container.dataset.selected;
    else this.container.dataset.selected = key;
    this.panel.show(key);
    this.drawing.select(key);
  }

  /** Selects a box, opens what hides it, and brings it into the middle. */
  async visit(key) {
    this.select(key);
    if (this.model.reveal(key)) await this.refresh();
    const place = this.drawing.layout.boxes.get(this.model.standIn(key));
    if (place) this.camera.lookAt(headOf(place));
  }

  toggle(key) {
    this.model.toggle(key);
    this.select(key);
    return this.refresh(key);
  }

  async showAll(open) {
    if (open) this.model.openAll();
    else this.model.closeAll();
    await this.refresh();
    this.#lookAtStart();
  }

  find(words) {
    this.search.find(words);
    this.container.dataset.matches = this.search.matches.length;
    this.part(".count").textContent = this.search.count;
    this.drawing?.match(this.search.matches);
  }

  step(by) {
    const key = this.search.step(by);
    this.part(".count").textContent = this.search.count;
    return key === null ? null : this.visit(key);
  }
}

/** The part of a box that is looked at: of a tall open group, its header. */
function headOf({ x, y, width, height }) {
  return { x, y, width, height: Math.min(height, 200) };
}
