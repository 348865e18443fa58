// Draws every figure of the page in the page's own colors, again when these change (dark, light, print).
(() => {
  "use strict";
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const narrow = () => window.innerWidth <= 600;
  const family = getComputedStyle(document.body).fontFamily;
  const figures = [...document.querySelectorAll("script.figure-data")].map((e) => JSON.parse(e.textContent));
  const plot = (figure) => document.getElementById("fig-" + figure.id);

  const paint = (layout) => {
    const ink = css("--ink"), soft = css("--soft"), grid = css("--grid"), line = css("--line");
    const look = structuredClone(layout);
    look.paper_bgcolor = look.plot_bgcolor = "rgba(0,0,0,0)";
    look.font = { family, size: 13, color: soft };
    look.hoverlabel = { bgcolor: css("--raised"), bordercolor: line, align: "left", font: { family, size: 13, color: ink } };
    look.autosize = true;
    if (narrow()) {
      look.margin = { ...look.margin, l: 40, r: 16 };
      if (look.dragmode !== "pan") look.dragmode = false; // a finger on a figure scrolls the page
    }
    for (const name of ["xaxis", "yaxis"]) {
      look[name] = { ...look[name], gridcolor: grid, linecolor: line, tickcolor: line };
      if (look[name].title) look[name].title = { ...look[name].title, font: { size: 13, color: soft } };
    }
    look.yaxis.ticks = "";
    return look;
  };
  const ink = (data) => data.map((trace) => {
    if (trace.line && trace.line.color === "ink") return { ...trace, line: { ...trace.line, color: css("--soft") } };
    if (trace.insidetextfont && trace.insidetextfont.color === "ink") return { ...trace, insidetextfont: { color: css("--ink") } };
    if (trace.colorscale === "page") return { ...trace, colorscale: [[0, css("--low")], [0.5, css("--mid")], [1, css("--high")]] };
    return trace;
  });
  const config = { responsive: true, displaylogo: false, displayModeBar: "hover", scrollZoom: false,
    modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"], showTips: false };

  const draw = (figure) => {
    const div = plot(figure);
    const hidden = (div.data || []).map((trace) => trace.visible);
    const range = div.layout && div.layout.xaxis ? div.layout.xaxis.range : null;
    const data = ink(figure.data).map((trace, i) => (hidden[i] === undefined ? trace : { ...trace, visible: hidden[i] }));
    const look = paint(figure.layout);
    if (range && div.dataset.drawn) look.xaxis = { ...look.xaxis, range, autorange: false };
    return Plotly.react(div, data, look, { ...config, displayModeBar: narrow() ? false : "hover" }).then(() => { div.dataset.drawn = "yes"; });
  };
  const drawAll = () => figures.reduce((before, figure) => before.then(() => draw(figure)), Promise.resolve())
    .then(() => { document.documentElement.dataset.ready = "yes"; });

  document.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-figure]");
    if (!button) return;
    const div = document.getElementById("fig-" + button.dataset.figure);
    if (button.dataset.traces !== undefined) {
      const shown = button.getAttribute("aria-pressed") !== "true";
      button.setAttribute("aria-pressed", String(shown));
      Plotly.restyle(div, { visible: shown }, button.dataset.traces.split(",").map(Number));
    } else {
      const zooms = figures.find((f) => f.id === button.dataset.figure).zooms;
      for (const other of button.parentElement.children) other.setAttribute("aria-pressed", String(other === button));
      Plotly.relayout(div, { "xaxis.range": zooms[Number(button.dataset.zoom)].slice() });
    }
  });
  for (const input of document.querySelectorAll("input[data-table]")) {
    input.addEventListener("input", () => {
      const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      let found = 0;
      for (const row of document.querySelectorAll("#table-" + input.dataset.table + " tbody tr")) {
        const text = row.textContent.toLowerCase();
        row.hidden = !words.every((word) => text.includes(word));
        found += row.hidden ? 0 : 1;
      }
      document.querySelector('[data-empty="' + input.dataset.table + '"]').hidden = found > 0;
    });
  }
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  matchMedia("print").addEventListener("change", drawAll);
  let wasNarrow = narrow();
  addEventListener("resize", () => { if (narrow() !== wasNarrow) { wasNarrow = narrow(); drawAll(); } });
  drawAll();
})();
