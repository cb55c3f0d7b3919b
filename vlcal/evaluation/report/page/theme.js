// The switch between light and dark, and keyboard access to tables that are wider than the page.
"use strict";
{
  const key = "vlcal-report-theme";
  const root = document.documentElement;
  const stored = () => {
    try {
      return localStorage.getItem(key);
    } catch {
      return null; // a page from a file may have no storage
    }
  };
  const keep = (name) => {
    try {
      localStorage.setItem(key, name);
    } catch {
      return; // as above: the choice lasts as long as the page
    }
  };
  const choose = (name) => {
    root.dataset.theme = name;
  };
  const field = document.querySelector(".theme");
  field.hidden = false;
  for (const input of field.querySelectorAll("input")) {
    input.checked = input.value === (stored() ?? "auto");
    if (input.checked) choose(input.value);
    input.addEventListener("change", () => {
      choose(input.value);
      keep(input.value);
    });
  }
  const reach = () => {
    for (const region of document.querySelectorAll(".scroll")) {
      if (region.scrollWidth > region.clientWidth + 1) region.tabIndex = 0;
      else region.removeAttribute("tabindex");
    }
  };
  addEventListener("resize", reach);
  document.addEventListener("toggle", reach, true);
  reach();
}
