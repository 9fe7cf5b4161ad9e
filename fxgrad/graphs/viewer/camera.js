// Pan and zoom: where the picture stands in its window.

const CLOSEST = 4;
const READABLE = 0.45; // below this scale the words on boxes cannot be read, and are not drawn

class Camera {
  constructor(picture, scene) {
    this.picture = picture;
    this.scene = scene;
    this.x = this.y = 0;
    this.scale = 1;
    this.extent = { width: 1, height: 1 };
    this.wheelIsOurs = () => true;
    this.zoomed = () => {};
    this.moved = () => {};
    this.#listen();
  }

  get window() {
    return { width: this.picture.clientWidth, height: this.picture.clientHeight };
  }

  get farthest() {
    return Math.min(0.2, 0.8 * this.#scaleThatFits());
  }

  /** Whether a point of the picture is in the window. */
  sees(point) {
    const x = this.x + this.scale * point.x;
    const y = this.y + this.scale * point.y;
    return x >= 0 && y >= 0 && x < this.window.width && y < this.window.height;
  }

  moveTo(x, y, scale = this.scale) {
    const zoomed = scale !== this.scale;
    Object.assign(this, { x, y, scale });
    this.scene.setAttribute("transform", `translate(${x} ${y}) scale(${scale})`);
    this.scene.classList.toggle("far", scale < READABLE);
    if (zoomed) this.zoomed(scale);
    this.moved();
  }

  /** Zooms by a factor about a point of the window, by default its middle. */
  zoom(factor, at = { x: this.window.width / 2, y: this.window.height / 2 }) {
    const scale = Math.min(CLOSEST, Math.max(this.farthest, this.scale * factor));
    const ratio = scale / this.scale;
    this.moveTo(at.x - ratio * (at.x - this.x), at.y - ratio * (at.y - this.y), scale);
  }

  fit() {
    const scale = this.#scaleThatFits();
    const { width, height } = this.window;
    this.moveTo(
      (width - scale * this.extent.width) / 2,
      (height - scale * this.extent.height) / 2,
      scale,
    );
  }

  /** All of the picture if it can be read then; else its top, about the box `first`. */
  begin(first) {
    if (this.#scaleThatFits() >= READABLE) return this.fit();
    const { width } = this.window;
    const across = (width - 40) / this.extent.width;
    const scale = Math.min(1, Math.max(across, READABLE * 1.3));
    const middle = across < scale && first ? first.x + first.width / 2 : this.extent.width / 2;
    const y = first ? Math.min(20, 0.4 * this.window.height - scale * first.y) : 20;
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

  #scaleThatFits() {
    const { width, height } = this.window;
    const across = (width - 40) / this.extent.width;
    const down = (height - 40) / this.extent.height;
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
