// The first look: those groups are open with which the graph is seen whole, and can be read.

const WELL_FILLED = 120; // boxes that are still read at a glance
const LEAST_AREA = 8000; // square pixels that a box takes at least, with the space about it
const MISSES = 3; // groups that do not fit after which no more are tried: each costs a layout

/** How many boxes may be read at a glance in a window. */
function roomIn({ width, height }) {
  return Math.min(WELL_FILLED, Math.floor((width * height) / LEAST_AREA));
}

/**
 * Opens the groups of `order` that fit together, the first ones rather than later ones; gives their
 * layout.
 *
 * Whether groups fit is known once they are laid out: first all together, then one after the other.
 * `layOut` gives null when another layout was asked for meanwhile, and then so does this.
 */
async function openWhatFits(model, order, layOut, fits) {
  const opened = (groups) => {
    model.openOnly(groups);
    return layOut();
  };
  const all = await opened(order);
  if (all === null || fits(all) || order.length === 0) return all;
  let open = [];
  let best = await opened(open);
  if (best === null) return null;
  let misses = 0;
  for (const group of order) {
    if (misses === MISSES) break;
    const { parent } = model.record.groups[group];
    if (parent !== null && !open.includes(parent)) continue;
    const layout = await opened([...open, group]);
    if (layout === null) return null;
    if (fits(layout)) [open, best] = [[...open, group], layout];
    else misses += 1;
  }
  model.openOnly(open);
  return best;
}
