// The layout engine, elkjs: unpacked once for the page, run in a worker where the browser lets it.

let unpacking = null;

function engineSource() {
  unpacking ??= unpack(document.querySelector("script[data-fxgraph-engine]").textContent);
  return unpacking;
}

async function unpack(text) {
  const bytes = Uint8Array.from(atob(text.trim()), (character) => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).text();
}

class Engine {
  #elk = null; // a promise of one
  #running = false;

  /** Positions for a graph in ELK's JSON. A layout that still runs is given up, without answer. */
  async layOut(graph) {
    if (this.#running) this.#stop();
    this.#running = true;
    const elk = (this.#elk ??= startElk());
    const result = await (await elk).layout(graph);
    if (elk === this.#elk) this.#running = false;
    return result;
  }

  #stop() {
    this.#elk.then((elk) => elk.terminateWorker());
    this.#elk = null;
  }
}

async function startElk() {
  const source = await engineSource();
  const library = { exports: {} };
  new Function("module", "exports", source)(library, library.exports);
  const worker = await startWorker(source);
  return new library.exports(worker ? { workerFactory: () => worker } : {});
}

/** A worker with the engine awake, or null where a page may not have one. */
function startWorker(source) {
  // In a worker, the first ELK that is made sets the worker's onmessage.
  const script = new Blob([source, "\nnew ELK();\npostMessage('awake');"], {
    type: "text/javascript",
  });
  return new Promise((resolve) => {
    try {
      const worker = new Worker(URL.createObjectURL(script));
      worker.onmessage = () => resolve(worker);
      worker.onerror = () => resolve(null);
    } catch {
      resolve(null);
    }
  });
}
