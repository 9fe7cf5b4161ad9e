// The picture: frames of open groups, lines over them, boxes over those, and words beside lines.

const ROUND = 7;

class Drawing {
  constructor(scene, model, layout, stage) {
    Object.assign(this, { scene, model, layout, stage });
    this.boxes = new Map(); // key -> element
    this.linesAt = new Map(); // key -> the lines that begin or end at the box
    this.lit = { selected: [], hovered: [] };
    this.marked = { selected: [], hovered: [] };
    this.notes = svg("g", { class: "notes" });
    const keys = [...layout.boxes.keys()];
    const open = keys.filter((key) => model.isOpen(key));
    scene.replaceChildren(
      svg("g", {}, ...open.map((key) => this.#frame(key))),
      svg("g", {}, ...layout.lines.map((line) => this.#line(line))),
      svg("g", {}, ...keys.map((key) => this.#box(key))),
      svg("g", { class: "answers" }, ...layout.lines.map((line) => this.#answer(line))),
      this.notes,
    );
  }

  #frame(key) {
    const { x, y, width, height } = this.layout.boxes.get(key);
    const paint = paintOfGroup(this.model.totals[numberOf(key)], this.stage);
    const size = { x, y, width, height, rx: 8 };
    return svg("rect", { class: `frame ${paint}`, "data-frame": numberOf(key), ...size });
  }

  #line(line) {
    const ends = [line.source, line.target].map((key) => this.layout.boxes.get(key));
    line.drawn = svg("path", {
      class: this.#classOf(line),
      d: line.points ? roundedPath(line.points) : curve(...ends),
      "data-source": line.source,
      "data-target": line.target,
    });
    for (const key of new Set([line.source, line.target])) {
      if (!this.linesAt.has(key)) this.linesAt.set(key, []);
      this.linesAt.get(key).push(line);
    }
    return line.drawn;
  }

  #classOf(line) {
    const supply = this.model.isSupply(line.source) ? " supply" : "";
    return `line ${line.kind}${supply}${line.points ? "" : " far-reaching"}`;
  }

  #answer(line) {
    if (line.kind !== "answer") return "";
    const text = shortened(labelOfLine(line), LONGEST_NAME);
    if (line.label) return svg("text", { x: line.label.x, y: line.label.y + 12 }, text);
    const middle = line.drawn.getPointAtLength(line.drawn.getTotalLength() / 2);
    return svg("text", { x: middle.x, y: middle.y }, text);
  }

  #box(key) {
    const place = this.layout.boxes.get(key);
    const words = wordsOn(this.model, key, this.stage);
    const element = isGroup(key)
      ? drawGroup(this.model, numberOf(key), place, words, this.stage)
      : drawNode(this.model.thing(key), place, words, this.stage);
    this.boxes.set(key, element);
    return element;
  }

  /** Marks the box that stands for `key` as selected, its lines as lit, with what they carry. */
  select(key) {
    this.#mark("selected", key);
  }

  hover(key) {
    this.#mark("hovered", key);
  }

  #mark(how, key) {
    for (const element of this.marked[how]) element.classList.remove(how);
    const seen = key === null ? null : this.model.standIn(key);
    const box = this.boxes.get(seen);
    this.lit[how] = this.linesAt.get(seen) ?? [];
    this.marked[how] = [...(box ? [box] : []), ...this.lit[how].map((line) => line.drawn)];
    for (const element of this.marked[how]) element.classList.add(how);
    const lit = new Set([...this.lit.selected, ...this.lit.hovered]);
    this.notes.replaceChildren(...notesOn([...lit], this.#solid()));
  }

  /** What words upon lines must not cover: boxes, and the headers of open groups. */
  #solid() {
    return [...this.layout.boxes].map(([key, box]) =>
      this.model.isOpen(key) ? { ...box, height: HEADER } : box,
    );
  }

  /** Marks matches, and closed groups that hold some. */
  match(keys) {
    const seen = new Set(keys.map((key) => this.model.standIn(key)));
    for (const [key, element] of this.boxes) {
      element.classList.toggle("matched", seen.has(key));
    }
  }
}

/** A line through right angles with its corners rounded. */
function roundedPath(points) {
  const path = [`M${points[0].x} ${points[0].y}`];
  for (let i = 1; i < points.length - 1; i++) {
    const [before, corner, after] = points.slice(i - 1, i + 2);
    const start = towards(corner, before);
    const end = towards(corner, after);
    path.push(`L${start.x} ${start.y}Q${corner.x} ${corner.y} ${end.x} ${end.y}`);
  }
  const last = points.at(-1);
  return [...path, `L${last.x} ${last.y}`].join("");
}

function towards(from, to) {
  const length = Math.hypot(to.x - from.x, to.y - from.y) || 1;
  const share = Math.min(ROUND, length / 2) / length;
  return { x: from.x + share * (to.x - from.x), y: from.y + share * (to.y - from.y) };
}

function curve(source, target) {
  const from = { x: source.x + source.width / 2, y: source.y + source.height };
  const to = { x: target.x + target.width / 2, y: target.y };
  const reach = Math.min(160, 40 + Math.abs(to.y - from.y) / 3);
  return `M${from.x} ${from.y}C${from.x} ${from.y + reach} ${to.x} ${to.y - reach} ${to.x} ${to.y}`;
}
