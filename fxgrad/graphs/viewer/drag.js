// Dragging with a mouse or a finger, and pinching with two.

const STILL = 4; // pixels that a click may wander

class Drag {
  constructor(camera) {
    this.camera = camera;
    this.fingers = new Map();
    this.wandered = 0;
    const { picture } = camera;
    picture.addEventListener("pointerdown", (event) => this.#down(event));
    picture.addEventListener("pointermove", (event) => this.#move(event));
    for (const end of ["pointerup", "pointercancel"]) {
      picture.addEventListener(end, (event) => this.fingers.delete(event.pointerId));
    }
    picture.addEventListener("click", (event) => this.#swallow(event), { capture: true });
  }

  #down(event) {
    if (event.button !== 0) return;
    if (this.fingers.size === 0) this.wandered = 0;
    this.fingers.set(event.pointerId, this.camera.pointOf(event));
  }

  #move(event) {
    const from = this.fingers.get(event.pointerId);
    if (!from) return;
    const to = this.camera.pointOf(event);
    this.wandered += Math.hypot(to.x - from.x, to.y - from.y);
    if (this.wandered > STILL) this.camera.picture.setPointerCapture(event.pointerId);
    const other = [...this.fingers].find(([finger]) => finger !== event.pointerId)?.[1];
    this.fingers.set(event.pointerId, to);
    if (other) this.#pinch(from, to, other);
    else this.#pan(from, to);
  }

  #pan(from, to) {
    this.camera.moveTo(this.camera.x + to.x - from.x, this.camera.y + to.y - from.y);
  }

  #pinch(from, to, other) {
    const before = Math.hypot(from.x - other.x, from.y - other.y);
    const after = Math.hypot(to.x - other.x, to.y - other.y);
    if (before > 0 && after > 0) this.camera.zoom(after / before, other);
  }

  /** The click at the end of a drag is none. */
  #swallow(event) {
    if (this.wandered > STILL) event.stopPropagation();
    this.wandered = 0;
  }
}
