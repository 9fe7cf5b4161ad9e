// One view: a container with its record, put together from model, layout, picture and panel.
//
// What it is doing can be read on the container: data-state is "waiting", "working", "ready" or
// "failed"; data-selected the key of what is selected; data-matches how many things match.

class View {
  constructor(container) {
    this.container = container;
    this.camera = new Camera(this.part(".picture"), this.part(".scene"));
    this.record = gathered(withTellingHits(this.#data()), this.camera.window.width);
    this.model = new Model(this.record);
    this.search = new Search(this.record);
    this.engine = new Engine();
    this.drawing = null;
    this.selected = null;
    this.turn = 0;
    this.begun = false;
    this.camera.wheelIsOurs = () => this.#hasAttention();
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
    if (this.camera.window.width) this.#begin();
    else this.refresh();
  }

  #data() {
    return JSON.parse(this.part("script[type='application/json']").textContent);
  }

  part(selector) {
    return this.container.querySelector(selector);
  }

  /** A wheel over a picture within a longer page scrolls the page until the picture is used. */
  #hasAttention() {
    const alone = this.container.classList.contains("alone") && window === window.top;
    return alone || this.container.contains(document.activeElement);
  }

  /** The first look, as soon as there is a window to see it in. */
  async #begin() {
    if (this.begun || !this.camera.window.width) return;
    this.begun = true;
    this.camera.covered = this.part(".legend").offsetHeight;
    const order = this.model.openings(roomIn(this.camera.window));
    const fits = (layout) => this.camera.scaleThatFits(layout) >= EASY;
    const drawn = await this.#show((layOut) => openWhatFits(this.model, order, layOut, fits));
    if (drawn) this.#lookAtStart();
  }

  #lookAtStart() {
    this.camera.begin(this.drawing.layout.boxes.get(this.model.firstBox));
  }

  /** Lays out what is seen and draws it; `still` is a box that keeps its place in the window. */
  refresh(still = null) {
    return this.#show((layOut) => layOut(), still);
  }

  /** Draws the layout that `choose` makes, unless another is asked for meanwhile. */
  async #show(choose, still = null) {
    const turn = ++this.turn;
    const layOut = async () => {
      const layout = await this.#layOut();
      return turn === this.turn ? layout : null;
    };
    try {
      const layout = await choose(layOut);
      if (layout === null) return false;
      this.#draw(layout, still);
      this.#say("ready", "");
      return true;
    } catch (error) {
      this.#say("failed", `The graph could not be laid out: ${error.message ?? error}`);
      throw error;
    }
  }

  async #layOut() {
    this.#say("working", `Laying out ${countInWords(this.model.boxes().length, "box")}…`);
    performance.mark("fxgraph-layout");
    const layout = await positions(this.model, this.engine, this.record.stage);
    performance.measure("fxgraph layout", "fxgraph-layout");
    return layout;
  }

  #sayWhere() {
    if (!this.drawing) return;
    this.part(".where").textContent = whereInWords(this.drawing, this.camera);
    nameGroups(this.part(".names"), this.drawing, this.camera);
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
    this.#sayWhere();
    performance.measure("fxgraph draw", "fxgraph-draw");
  }

  select(key) {
    this.selected = key;
    if (key === null) delete this.container.dataset.selected;
    else this.container.dataset.selected = key;
    this.panel.show(key);
    this.drawing?.select(key);
  }

  /** Selects a box, opens what hides it, and brings it into the middle. */
  async visit(key) {
    this.select(key);
    if (this.model.reveal(key)) await this.refresh();
    const place = this.drawing?.layout.boxes.get(this.model.standIn(key));
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
