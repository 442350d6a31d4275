"use strict";
const choice = document.getElementById("pair");
const parts = document.querySelectorAll("[data-pair]");
function choose(number) {
  for (const part of parts) part.hidden = part.dataset.pair !== number;
}
if (choice) {
  choice.addEventListener("change", () => choose(choice.value));
  choose(choice.value);
}
function open() {
  const found = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (found instanceof HTMLDetailsElement) {
    found.open = true;
    found.scrollIntoView({ block: "start" });
  }
}
window.addEventListener("hashchange", open);
open();
