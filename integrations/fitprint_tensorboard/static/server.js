// What the plugin's routes answer. Addresses are relative to this file, so that any path prefix works.

/** JSON of a route; null where it has nothing. */
export async function get(route, query = {}) {
  const address = new URL(`../${route}`, import.meta.url);
  address.search = new URLSearchParams(query);
  const answer = await fetch(address);
  if (!answer.ok) throw new Error(`${route}: ${answer.status}`);
  return answer.json();
}

/** Calls `act` whenever TensorBoard reloads its data: its button, or its timer. */
export function onReload(act) {
  if (window.parent === window) return;
  const { port1, port2 } = new MessageChannel();
  port1.onmessage = (event) => {
    const message = JSON.parse(event.data);
    if (message.isReply) return;
    if (message.type === "experimental.DataReloaded") act();
    port1.postMessage(JSON.stringify({ type: message.type, id: message.id, payload: null, error: null, isReply: true }));
  };
  window.parent.postMessage("experimental.bootstrap", "*", [port2]);
}
