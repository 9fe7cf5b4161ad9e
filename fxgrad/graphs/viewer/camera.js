// Pan and zoom: where the picture stands in its window.

const CLOSEST = 4;
const READABLE = 0.45; // below this scale the words on boxes cannot be read, and are not drawn
const EASY = 0.7; // from this scale on they are read without effort
const LEGIBLE = 0.55; // to see all of a picture at once is worth reading it at this scale
const MARGIN = 24; // about a picture that fits; also the room for a name above its first box

class Camera {
  constructor(picture, scene) {
    this.picture = picture;
    this.scene = scene;
    this.x = this.y = 0;
    this.scale = 1;
    this.extent = { width: 1, height: 1 };
    this.covered = 0; // pixels at the bottom of the window, by the legend
    this.wheelIsOurs = () => true;
    this.moved = () => {};
    this.#listen();
  }

  get window() {
    return { width: this.picture.clientWidth, height: this.picture.clientHeight };
  }

  get farthest() {
    return Math.min(0.2, 0.8 * this.scaleThatFits());
  }

  /** Where a point of the picture is in the window. */
  inWindow({ x, y }) {
    return { x: this.x + this.scale * x, y: this.y + this.scale * y };
  }

  moveTo(x, y, scale = this.scale) {
    Object.assign(this, { x, y, scale });
    this.scene.setAttribute("transform", `translate(${x} ${y}) scale(${scale})`);
    this.scene.classList.toggle("far", scale < READABLE);
    this.moved();
  }

  /** Zooms by a factor about a point of the window, by default its middle. */
  zoom(factor, at = { x: this.window.width / 2, y: this.window.height / 2 }) {
    const scale = Math.min(CLOSEST, Math.max(this.farthest, this.scale * factor));
    const ratio = scale / this.scale;
    this.moveTo(at.x - ratio * (at.x - this.x), at.y - ratio * (at.y - this.y), scale);
  }

  fit() {
    const scale = this.scaleThatFits();
    const { width, height } = this.window;
    this.moveTo(
      (width - scale * this.extent.width) / 2,
      (height - this.covered - scale * this.extent.height) / 2,
      scale,
    );
  }

  /** All of the picture if it can be read then; else its top, about the box `first`. */
  begin(first) {
    if (this.scaleThatFits() >= LEGIBLE) return this.fit();
    const { width, height } = this.window;
    const across = (width - 2 * MARGIN) / this.extent.width;
    const scale = Math.min(1, Math.max(across, EASY));
    const middle = across < scale && first ? first.x + first.width / 2 : this.extent.width / 2;
    const y = first ? Math.min(MARGIN, 0.6 * height - scale * first.y) : MARGIN;
    return this.moveTo(width / 2 - scale * middle, y, scale);
  }

  /** Brings a box into the middle, close enough to be read. */
  lookAt(box) {
    const scale = Math.max(this.scale, READABLE * 1.5);
    const middle = { x: box.x + box.width / 2, y: box.y + box.height / 2 };
    const { width, height } = this.window;
    this.moveTo(width / 2 - scale * middle.x, height / 2 - scale * middle.y, scale);
  }

  /** Moves no farther than it must for a box to be in sight. */
  keepInSight(box) {
    const { width, height } = this.window;
    const right = this.x + this.scale * (box.x + box.width) + 12 - width;
    const below = this.y + this.scale * (box.y + box.height) + 12 - height;
    this.moveTo(this.x - Math.max(0, right), this.y - Math.max(0, below));
  }

  /** Keeps a box where it is in the window although the picture was laid out anew. */
  holdStill(before, after) {
    this.moveTo(
      this.x + this.scale * (before.x - after.x),
      this.y + this.scale * (before.y - after.y),
    );
  }

  /** The scale that shows all of a picture, by default of this one. */
  scaleThatFits(extent = this.extent) {
    const { width, height } = this.window;
    const across = (width - 2 * MARGIN) / extent.width;
    const down = (height - this.covered - 2 * MARGIN) / extent.height;
    return Math.max(0.001, Math.min(1.25, across, down));
  }

  #listen() {
    this.picture.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    this.picture.addEventListener("keydown", (event) => this.#key(event));
    new Drag(this);
  }

  #wheel(event) {
    if (!event.ctrlKey && !this.wheelIsOurs()) return;
    event.preventDefault();
    const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 20 : 1;
    this.zoom(Math.exp(-0.0018 * lines * event.deltaY), this.pointOf(event));
  }

  #key(event) {
    const step = 60;
    const moves = {
      ArrowLeft: () => this.moveTo(this.x + step, this.y),
      ArrowRight: () => this.moveTo(this.x - step, this.y),
      ArrowUp: () => this.moveTo(this.x, this.y + step),
      ArrowDown: () => this.moveTo(this.x, this.y - step),
      "+": () => this.zoom(1.3),
      "=": () => this.zoom(1.3),
      "-": () => this.zoom(1 / 1.3),
      0: () => this.fit(),
    };
    if (event.ctrlKey || event.metaKey || event.altKey || !moves[event.key]) return;
    event.preventDefault();
    moves[event.key]();
  }

  pointOf(event) {
    const { left, top } = this.picture.getBoundingClientRect();
    return { x: event.clientX - left, y: event.clientY - top };
  }
}
