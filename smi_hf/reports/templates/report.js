"use strict";
(() => {
  const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  const theme = () => ({
    background: "transparent",
    font: "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', sans-serif",
    view: { stroke: null },
    axis: {
      labelColor: color("ink"), titleColor: color("soft"), gridColor: color("line"), domainColor: color("line"),
      tickColor: color("line"), labelFontSize: 12, titleFontSize: 12, titleFontWeight: "normal",
    },
    legend: { labelColor: color("ink"), titleColor: color("soft"), labelFontSize: 12, titleFontSize: 12, columns: innerWidth < 600 ? 2 : 4 },
    text: { color: color("ink"), fontSize: 12 },
    rule: { color: color("ink") },
    area: { color: color("first") },
    range: {
      category: ["first", "second", "third", "fourth", "fifth", "sixth"].map(color),
      ordinal: { scheme: "viridis" },
    },
  });

  // Charts.
  const figures = [...document.querySelectorAll("figure.chart")];
  const draw = async (figure) => {
    const spec = JSON.parse(figure.querySelector("script").textContent);
    await vegaEmbed(figure.querySelector(".plot"), spec, {
      actions: false, renderer: "svg", config: theme(), bind: figure.querySelector(".choices"),
    });
    figure.dataset.drawn = "yes";
  };
  const drawAll = () => figures.forEach((figure) => {
    figure.querySelector(".choices").replaceChildren();
    draw(figure).catch((error) => {
      console.error(error);
      figure.querySelector(".plot").textContent = "This chart could not be drawn; its numbers stand below.";
    });
  });
  if (figures.length) {
    drawAll();
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  }

  // Galleries.
  const orders = {
    number: (a, b) => a.dataset.number - b.dataset.number,
    label: (a, b) => a.dataset.label.localeCompare(b.dataset.label) || orders.number(a, b),
    falling: (a, b) => b.dataset.probability - a.dataset.probability,
    rising: (a, b) => a.dataset.probability - b.dataset.probability,
  };
  for (const gallery of document.querySelectorAll(".gallery")) {
    const form = gallery.querySelector("form");
    const list = gallery.querySelector(".tiles");
    const tiles = [...list.children];
    const update = () => {
      const chosen = form.elements.label.value;
      const slide = form.elements.stage;
      const stage = slide?.value ?? "0";
      if (slide) {
        const words = JSON.parse(slide.dataset.words)[stage];
        slide.nextElementSibling.textContent = words;
        slide.setAttribute("aria-valuetext", words);
      }
      let shown = 0;
      for (const tile of tiles) {
        tile.hidden = (chosen !== "" && tile.dataset.label !== chosen) || (stage !== "0" && tile.dataset.stage !== stage);
        shown += !tile.hidden;
      }
      list.append(...tiles.sort(orders[form.elements.sort.value]));
      list.classList.toggle("outlined", form.elements.outlines?.checked ?? false);
      list.style.setProperty("--size", `${form.elements.size.value}px`);
      form.querySelector("output").textContent = `${shown} of ${tiles.length} images`;
    };
    form.hidden = false;
    form.addEventListener("input", update);
    form.addEventListener("submit", (event) => event.preventDefault());
    update();
  }

  // Stages.
  for (const stages of document.querySelectorAll(".stages")) {
    const slide = stages.querySelector(".slide");
    const input = slide.querySelector("input");
    const shown = [...stages.querySelectorAll("figure")];
    const update = () => {
      shown.forEach((figure, place) => { figure.hidden = place !== Number(input.value); });
      const words = shown[Number(input.value)].dataset.words;
      slide.querySelector("output").textContent = words;
      input.setAttribute("aria-valuetext", words);
    };
    stages.querySelectorAll("figcaption").forEach((caption) => { caption.hidden = true; });
    slide.hidden = false;
    input.addEventListener("input", update);
    update();
  }

  // Commands.
  for (const button of document.querySelectorAll("button.copy")) {
    if (!navigator.clipboard) continue;
    button.hidden = false;
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(button.parentElement.querySelector("code").textContent);
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    });
  }
  document.documentElement.dataset.ready = "yes";
})();
