function draw() {
  data.forEach((figure, i) => {
    const { data: traces, layout } = structuredClone(figure);
    plot(document.getElementById(`figure${i}`), traces, layout);
  });
}
draw();
matchMedia("(prefers-color-scheme: dark)").onchange = draw;
