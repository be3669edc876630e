// The same run in other places, the cleanest first.
import { el } from "./dom.js";
import { get } from "./server.js";

/** A table whose bars are as long as the grams. */
export async function elsewhereTable(run) {
  const answer = await get("elsewhere", { run }).catch(() => null);
  if (answer === null) return el("p", { class: "note" }, "This run has written no record of its energy here.");
  const most = Math.max(...answer.places.map((place) => place.co2e_g));
  const head = ["", "place", "CO2e", "", "95 % interval", "intensity", "year"].map((text) => el("th", { scope: "col" }, text || el("span", { class: "unseen" }, "rank or bar")));
  const rows = answer.places.map((place) => rowOf(place, most));
  const said = `${answer.energy} at the building's meter made ${answer.co2e}. Elsewhere, of ${answer.of} places in ${answer.basis} figures:`;
  const table = el("table", { class: "places" }, el("thead", {}, el("tr", {}, head)), el("tbody", {}, rows));
  return el("div", {}, el("p", { class: "note" }, said), el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "The same run elsewhere" }, table));
}

function rowOf(place, most) {
  const bar = el("span", { class: place.here ? "bar here" : "bar" });
  bar.style.width = `${Math.max(1, (100 * place.co2e_g) / most)}%`;
  return el(
    "tr",
    { class: place.here ? "here" : "" },
    el("td", { class: "number" }, String(place.rank)),
    el("th", { scope: "row" }, place.here ? `${place.name} (here)` : place.name),
    el("td", { class: "number" }, place.co2e),
    el("td", { class: "bars" }, bar),
    el("td", { class: "number" }, place.interval),
    el("td", { class: "number" }, place.intensity),
    el("td", { class: "number", title: place.source }, String(place.year)),
  );
}
